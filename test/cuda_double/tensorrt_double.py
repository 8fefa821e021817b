"""TensorRT's Python interface as far as the backend uses it; ONNX Runtime computes.

A plan is a JSON header and an ONNX file. The stream of the CUDA double runs the work on the given
addresses. The double refuses what TensorRT refuses: an address that is not set, a shape outside the
profile, a run on the default stream, a recording without a plain run before it. See ``make_plan``.
"""

from __future__ import annotations

import ctypes
import json
import threading
from collections.abc import Mapping
from enum import Enum
from typing import Any

import numpy as np
import onnxruntime

from double_control import Double

__version__ = "10.3.0"
_MARK = b"a plan of the double\n"

double = Double()

#: Live objects by class; a backend must free them.
alive: dict[str, int] = {"Runtime": 0, "ICudaEngine": 0, "IExecutionContext": 0}
#: Errors in callbacks, where nothing can be raised.
errors: list[str] = []


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class DataType(Enum):
    FLOAT = "float32"
    HALF = "float16"
    BF16 = "bfloat16"
    INT8 = "int8"
    INT32 = "int32"
    INT64 = "int64"
    UINT8 = "uint8"
    BOOL = "bool"


TensorIOMode = Enum("TensorIOMode", "NONE INPUT OUTPUT")
TensorLocation = Enum("TensorLocation", "DEVICE HOST")
TensorFormat = Enum("TensorFormat", "LINEAR CHW32")
LayerInformationFormat = Enum("LayerInformationFormat", "ONELINE JSON")


class IOutputAllocator:
    pass


class IProfiler:
    pass


class _Counted:
    def __init__(self) -> None:
        alive[type(self).__name__] += 1

    def __del__(self) -> None:
        alive[type(self).__name__] -= 1
        if not double.count("stack"):
            errors.append(f"{type(self).__name__} is freed without a context")


def make_plan(onnx_file: Any, **header: Any) -> bytes:
    """Return a plan.

    ``profiles``: input to (minimum, optimum, maximum); ``types``: tensor to the
    name of the engine's DataType; ``on_host``: tensors in host memory; ``late``:
    output to its shape with -1 where it depends on the data; ``formats``: tensor
    to a TensorFormat; ``contexts``: how many fit in memory; ``layers``: of the inspector;
    ``layer_ms``: what a profiler is told of each layer after a run.
    """
    head = json.dumps(header).encode()
    return b"%s%08d%s%s" % (_MARK, len(head), head, onnx_file.read_bytes())


class Runtime(_Counted):
    def __init__(self, logger: Any) -> None:
        super().__init__()
        self._logger = logger
        self.engine_host_code_allowed = False

    def deserialize_cuda_engine(self, content: bytes) -> ICudaEngine | None:
        if not content.startswith(_MARK):
            self._logger.log(ILogger.ERROR, "the magic tag does not match")
            return None
        start = len(_MARK) + 8
        end = start + int(content[len(_MARK) : start])
        return ICudaEngine(self, self._logger, json.loads(content[start:end]), content[end:])


class ICudaEngine(_Counted):
    def __init__(self, runtime: Any, logger: Any, header: Mapping[str, Any], onnx: bytes) -> None:
        super().__init__()
        self.runtime, self.logger, self.header = runtime, logger, header
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        self.session = onnxruntime.InferenceSession(onnx, options)
        self._inputs = {node.name: node for node in self.session.get_inputs()}
        self._outputs = {node.name: node for node in self.session.get_outputs()}
        self._nodes = {**self._inputs, **self._outputs}
        self.contexts = 0

    @property
    def num_io_tensors(self) -> int:
        return len(self._nodes)

    def get_tensor_name(self, number: int) -> str:
        return list(self._nodes)[number]

    def get_tensor_mode(self, name: str) -> Any:
        return TensorIOMode.INPUT if name in self._inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> DataType:
        wanted = self.header.get("types", {}).get(name)
        return DataType[wanted] if wanted else DataType(self.onnx_dtype(name).name)

    def get_tensor_location(self, name: str) -> Any:
        on_host = name in self.header.get("on_host", ())
        return TensorLocation.HOST if on_host else TensorLocation.DEVICE

    def get_tensor_format(self, name: str) -> Any:
        return TensorFormat[self.header.get("formats", {}).get(name, "LINEAR")]

    def get_tensor_shape(self, name: str) -> list[int]:
        shape = self._nodes[name].shape
        return [length if isinstance(length, int) else -1 for length in shape]

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[list[int]]:
        if profile_index != 0:
            raise IndexError(profile_index)
        shape = self.get_tensor_shape(name)
        return self.header.get("profiles", {}).get(name) or [shape] * 3

    def create_execution_context(self) -> IExecutionContext | None:
        if self.contexts >= self.header.get("contexts", 100):
            self.logger.log(ILogger.ERROR, "out of memory for one more context")
            return None
        return IExecutionContext(self)

    def create_engine_inspector(self) -> Any:
        return self

    def get_engine_information(self, form: Any) -> str:
        return json.dumps(self.header.get("layers", {"Layers": ["a layer"]}))

    def onnx_dtype(self, name: str) -> np.dtype[Any]:
        onnx_type = self._nodes[name].type.removeprefix("tensor(").removesuffix(")")
        return np.dtype({"float": "float32", "double": "float64"}.get(onnx_type, onnx_type))


class IExecutionContext(_Counted):
    def __init__(self, engine: ICudaEngine) -> None:
        super().__init__()
        engine.contexts += 1
        self._engine = engine
        names = [engine.get_tensor_name(number) for number in range(engine.num_io_tensors)]
        self._inputs = [n for n in names if engine.get_tensor_mode(n) == TensorIOMode.INPUT]
        self._outputs = [name for name in names if name not in self._inputs]
        self._shapes = {
            name: tuple(engine.get_tensor_shape(name))
            for name in self._inputs
            if -1 not in engine.get_tensor_shape(name)
        }
        self._addresses: dict[str, int] = {}
        self._allocators: dict[str, Any] = {}
        self._inferred: dict[str, tuple[int, ...]] = {}
        self._plain_runs: set[Any] = set()
        self.profiler: IProfiler | None = None
        self._user = threading.Lock()

    def __del__(self) -> None:
        self._engine.contexts -= 1
        super().__del__()

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        return profile_index == 0 and stream_handle != 0

    def set_input_shape(self, name: str, shape: Any) -> bool:
        low, _, high = self._engine.get_tensor_profile_shape(name, 0)
        within = len(shape) == len(low) and all(
            a <= length <= b for a, length, b in zip(low, shape, high, strict=True)
        )
        if not within:
            return self._refuse(f"{name}: {list(shape)} is outside {low} to {high}")
        self._shapes[name] = tuple(shape)
        self._inferred = {}
        return True

    def set_tensor_address(self, name: str, memory: int) -> bool:
        if name not in (*self._inputs, *self._outputs) or not memory:
            return self._refuse(f"{name}: no such tensor, or no address")
        self._addresses[name] = memory
        return True

    def set_output_allocator(self, name: str, output_allocator: Any) -> bool:
        self._allocators[name] = output_allocator
        return True

    def get_tensor_shape(self, name: str) -> list[int]:
        if name in self._inputs:
            return list(self._shapes.get(name, self._engine.get_tensor_shape(name)))
        late = self._engine.header.get("late", {}).get(name)
        return late or list(self._inferred.get(name, self._engine.get_tensor_shape(name)))

    def infer_shapes(self) -> list[str]:
        unknown = [
            name
            for name in self._inputs
            if name not in self._shapes or (self._on_host(name) and name not in self._addresses)
        ]
        if unknown:
            return unknown
        if not self._inferred or any(self._on_host(name) for name in self._inputs):
            feed = {
                name: self._read(name, self._addresses[name], self._shapes[name])
                if self._on_host(name)
                else np.zeros(self._shapes[name], self._engine.onnx_dtype(name))
                for name in self._inputs
            }
            try:
                found = self._engine.session.run(self._outputs, feed)
            except Exception as error:
                self._refuse(f"shapes do not fit together: {str(error).splitlines()[0]}")
                raise RuntimeError("shape inference failed") from error
            self._inferred = {
                name: tensor.shape for name, tensor in zip(self._outputs, found, strict=True)
            }
        return []

    def execute_async_v3(self, stream_handle: int) -> bool:
        if not self._user.acquire(blocking=False):
            errors.append("two threads use one context")
            return False
        try:
            return self._execute(stream_handle)
        finally:
            self._user.release()

    def _execute(self, stream: int) -> bool:
        header, capturing = self._engine.header, double.is_capturing(stream)
        if not stream or not self._ready():
            return self._refuse("the default stream, or inputs that are not complete")
        state = tuple(sorted(self._shapes.items()))
        if capturing and (state not in self._plain_runs or header.get("late")):
            return self._refuse("a run cannot be recorded that was not run before")
        if header.get("fails"):
            return self._refuse(header["fails"])
        self._plain_runs.add(state)
        addresses, shapes = dict(self._addresses), dict(self._shapes)
        if header.get("late"):
            return double.synchronize(stream) and self._run_late(stream, addresses, shapes)

        def work() -> None:
            for name, tensor in self._computed(addresses, shapes).items():
                self._write(name, addresses[name], tensor)

        if not double.enqueue(stream, work):
            return False
        return self._report_layers(stream)

    def _report_layers(self, stream: int) -> bool:
        """With a profiler a run is not asynchronous, and cannot be recorded."""
        if self.profiler is None:
            return True
        if double.is_capturing(stream) or not double.synchronize(stream):
            return self._refuse("a run with a profiler cannot be recorded")
        for name, ms in self._engine.header.get("layer_ms", {}).items():
            self.profiler.report_layer_time(name, ms)
        return True

    def _run_late(
        self, stream: int, addresses: dict[str, int], shapes: Mapping[str, tuple[int, ...]]
    ) -> bool:
        computed = self._computed(addresses, shapes)
        for name in self._engine.header["late"]:
            tensor = self._stored(name, computed[name])
            allocator = self._allocators[name]
            address = allocator.reallocate_output_async(
                name, addresses[name], tensor.nbytes, 256, stream
            )
            if not address or address % 256:
                return self._refuse(f"{name}: the allocator gave no memory")
            addresses[name] = address
            allocator.notify_shape(name, tensor.shape)

        def work() -> None:
            for name, tensor in computed.items():
                self._write(name, addresses[name], tensor)

        return double.enqueue(stream, work)

    def _computed(
        self, addresses: Mapping[str, int], shapes: Mapping[str, tuple[int, ...]]
    ) -> dict[str, Any]:
        feed = {name: self._read(name, addresses[name], shapes[name]) for name in self._inputs}
        return dict(zip(self._outputs, self._engine.session.run(self._outputs, feed), strict=True))

    def _ready(self) -> bool:
        late = self._engine.header.get("late", {})
        if self.infer_shapes():
            return False
        shapes = {**self._inferred, **self._shapes}
        for name in (*self._inputs, *self._outputs):
            if name in late and name in self._allocators:
                continue
            if name in late or name not in self._addresses:
                return False
            size = self._stored(name, np.zeros(shapes[name], np.float32)).nbytes
            if not double.holds(self._addresses[name], size, on_host=self._on_host(name)):
                errors.append(f"{name}: {size} bytes are not in live memory of its kind")
                return False
        return True

    def _on_host(self, name: str) -> bool:
        return self._engine.get_tensor_location(name) == TensorLocation.HOST

    def _read(self, name: str, address: int, shape: tuple[int, ...]) -> Any:
        dtype = self._engine.get_tensor_dtype(name)
        stored = np.dtype("uint16" if dtype is DataType.BF16 else dtype.value)
        count = int(np.prod(shape, dtype=np.int64))
        content = ctypes.string_at(address, count * stored.itemsize)
        values = np.frombuffer(content, stored).reshape(shape)
        if dtype is DataType.BF16:
            values = (values.astype(np.uint32) << 16).view(np.float32)
        return values.astype(self._engine.onnx_dtype(name))

    def _stored(self, name: str, tensor: Any) -> Any:
        dtype = self._engine.get_tensor_dtype(name)
        if dtype is DataType.BF16:
            bits = np.ascontiguousarray(tensor, np.float32).view(np.uint32) >> 16
            return bits.astype(np.uint16)
        return np.ascontiguousarray(tensor).astype(dtype.value)

    def _write(self, name: str, address: int, tensor: Any) -> None:
        stored = self._stored(name, tensor)
        if not double.holds(address, stored.nbytes, on_host=self._on_host(name)):
            errors.append(f"{name} is written outside live memory")
            return
        ctypes.memmove(address, stored.ctypes.data, stored.nbytes)

    def _refuse(self, reason: str) -> bool:
        self._engine.logger.log(ILogger.ERROR, reason)
        return False
