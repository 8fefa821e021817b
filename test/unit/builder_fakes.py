"""Fakes of the TensorRT module, with the members of several releases."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from edge_inference.backends.trt.vendor import ErrorLog, Vendor

ALWAYS_FLAGS = (
    "GPU_FALLBACK",
    "TF32",
    "SPARSE_WEIGHTS",
    "VERSION_COMPATIBLE",
    "EXCLUDE_LEAN_RUNTIME",
)
WEAK_FLAGS = ("FP16", "INT8", "OBEY_PRECISION_CONSTRAINTS")
PLAN = b"a plan"


class DataType(enum.Enum):
    FLOAT = 0
    HALF = 1
    INT8 = 2
    INT64 = 3


class LayerType(enum.Enum):
    CONVOLUTION = 0
    SHUFFLE = 1
    QUANTIZE = 2
    DEQUANTIZE = 3


class Tensor:
    """``ranges`` is set if the release has dynamic ranges."""

    def __init__(
        self,
        name: str,
        shape: tuple[int, ...] = (1, 3, 8, 8),
        dtype: DataType = DataType.FLOAT,
        axes: tuple[str, ...] = (),
        is_shape_tensor: bool = False,
    ) -> None:
        self.name, self.shape, self.dtype = name, shape, dtype
        self.is_shape_tensor = is_shape_tensor
        self._axes = axes
        self.range: tuple[float, float] | None = None

    def get_dimension_name(self, axis: int) -> str | None:
        return self._axes[axis] if axis < len(self._axes) else None


class RangedTensor(Tensor):
    def set_dynamic_range(self, low: float, high: float) -> None:
        self.range = (low, high)


class Layer:
    def __init__(
        self, name: str, inputs: list[Tensor], outputs: list[Tensor], kind: str = "CONVOLUTION"
    ) -> None:
        self.name, self.type = name, LayerType[kind]
        self._inputs, self._outputs = inputs, outputs
        self.num_inputs, self.num_outputs = len(inputs), len(outputs)

    def get_input(self, index: int) -> Tensor:
        return self._inputs[index]

    def get_output(self, index: int) -> Tensor:
        return self._outputs[index]


class ConstrainableLayer(Layer):
    """A layer of a release with a precision per layer."""

    precision = DataType.FLOAT

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.precision = DataType.HALF
        self.output_types: dict[int, DataType] = {}

    def set_output_type(self, index: int, dtype: DataType) -> None:
        self.output_types[index] = dtype


@dataclass
class Network:
    inputs: list[Tensor]
    layers: list[Layer]
    outputs: list[Tensor]

    @property
    def num_inputs(self) -> int:
        return len(self.inputs)

    @property
    def num_outputs(self) -> int:
        return len(self.outputs)

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    def get_input(self, index: int) -> Tensor:
        return self.inputs[index]

    def get_output(self, index: int) -> Tensor:
        return self.outputs[index]

    def get_layer(self, index: int) -> Layer:
        return self.layers[index]


class TimingCache:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> bytes:
        return self.content + b"+measured"


class Config:
    def __init__(self, errors: ErrorLog) -> None:
        self.flags: set[str] = {"TF32"}
        self.pools: dict[str, int] = {}
        self.profiles: list[Any] = []
        self.timing_cache: TimingCache | None = None
        self._errors = errors

    def set_flag(self, flag: enum.Enum) -> None:
        self.flags.add(flag.name)

    def clear_flag(self, flag: enum.Enum) -> None:
        self.flags.discard(flag.name)

    def set_memory_pool_limit(self, pool: str, size: int) -> None:
        self.pools[pool] = size

    def add_optimization_profile(self, profile: Any) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def can_run_on_DLA(self, layer: Layer) -> bool:
        return layer.type is LayerType.CONVOLUTION

    def create_timing_cache(self, content: bytes) -> TimingCache | None:
        """``none``: an unknown format; ``logged``: an object and an error, as in some releases."""
        if content == b"none":
            return None
        if content == b"logged":
            self._errors.add("Error Code 1: Serialization (Magic tag does not match)")
        return TimingCache(content)

    def set_timing_cache(self, timing_cache: TimingCache, _ignore_mismatch: bool) -> bool:
        if timing_cache.content == b"another GPU":
            return False
        self.timing_cache = timing_cache
        return True

    def get_timing_cache(self) -> TimingCache | None:
        return self.timing_cache


class ConfigWithMonitor(Config):
    progress_monitor: Any = None


class PortableConfig(ConfigWithMonitor):
    """TensorRT-RTX: plans for several GPUs."""

    num_compute_capabilities = 0

    def __init__(self, errors: ErrorLog) -> None:
        super().__init__(errors)
        self.targets: dict[int, str] = {}

    def set_compute_capability(self, capability: enum.Enum, index: int) -> bool:
        self.targets[index] = capability.name
        return True


class Profile:
    def __init__(self) -> None:
        self.shapes: dict[str, tuple[Any, ...]] = {}
        self.values: dict[str, tuple[Any, ...]] = {}

    def set_shape(self, name: str, *sizes: Any) -> None:
        self.shapes[name] = sizes

    def set_shape_input(self, name: str, *sizes: Any) -> None:
        self.values[name] = sizes


class ProgressMonitor:
    """The base class, in releases that have one."""


@dataclass
class Release:
    """A release, and the calls that the fake received."""

    strongly_typed: int | None = None
    explicit_batch: bool = False
    weak_flags: bool = False
    monitor: bool = False
    portable: bool = False
    node_names: bool = True
    hardware_levels: tuple[str, ...] = ("NONE", "AMPERE_PLUS")
    dla_cores: int = 0
    network: Network = field(default_factory=lambda: convolution())
    parser_errors: list[Any] = field(default_factory=list)
    parser_log: list[str] = field(default_factory=list)
    build: Callable[[Release], bytes | None] = lambda _release: PLAN
    inspector_json: str | None = None
    creation_flags: int | None = None
    config: Any = None
    runtime: Any = None
    builds: int = 0
    errors: ErrorLog = field(default_factory=ErrorLog)

    def steps(self) -> Iterator[bool]:
        """Run TensorRT's phases through the monitor; yield its answers."""
        monitor = self.config.progress_monitor
        monitor.phase_start("Building", None, 2)
        for step in range(2):
            monitor.phase_start("Timing", "Building", 4)
            for inner in range(4):
                yield monitor.step_complete("Timing", inner)
            monitor.phase_finish("Timing")
            yield monitor.step_complete("Building", step)
        monitor.phase_finish("Building")

    def vendor(self) -> Vendor:
        """Return the fake as a vendor."""
        return Vendor(self._module(), "tensorrt", "0", object(), self.errors)

    def _module(self) -> Any:
        names = ALWAYS_FLAGS + (WEAK_FLAGS if self.weak_flags else ())
        creation = {}
        if self.explicit_batch:
            creation["EXPLICIT_BATCH"] = 0
        if self.strongly_typed is not None:
            creation["STRONGLY_TYPED"] = self.strongly_typed
        module = SimpleNamespace(
            BuilderFlag=enum.Enum("BuilderFlag", names),
            NetworkDefinitionCreationFlag=enum.IntEnum("CreationFlag", creation),
            HardwareCompatibilityLevel=enum.Enum("Level", self.hardware_levels),
            ProfilingVerbosity=SimpleNamespace(DETAILED="detailed"),
            MemoryPoolType=SimpleNamespace(WORKSPACE="workspace"),
            LayerInformationFormat=SimpleNamespace(JSON="json"),
            DeviceType=SimpleNamespace(DLA="dla"),
            DataType=DataType,
            Builder=self._make_builder,
            OnnxParser=self._make_parser,
            Runtime=self._make_runtime,
        )
        if self.portable:
            module.ComputeCapability = enum.Enum("ComputeCapability", ("SM75", "SM86", "SM120"))
        if self.monitor:
            module.IProgressMonitor = ProgressMonitor
        return module

    def _make_builder(self, _logger: Any) -> Any:
        def create_network(flags: int) -> Network:
            self.creation_flags = flags
            return self.network

        def create_builder_config() -> Config:
            monitored = ConfigWithMonitor if self.monitor else Config
            self.config = (PortableConfig if self.portable else monitored)(self.errors)
            return self.config

        def build_serialized_network(_network: Network, _config: Config) -> bytes | None:
            self.builds += 1
            return self.build(self)

        return SimpleNamespace(
            num_DLA_cores=self.dla_cores,
            create_network=create_network,
            create_builder_config=create_builder_config,
            create_optimization_profile=Profile,
            build_serialized_network=build_serialized_network,
        )

    def _make_parser(self, _network: Network, _logger: Any) -> Any:
        def parse_from_file(_file: str) -> bool:
            for line in self.parser_log:
                self.errors.add(line)
            return not self.parser_errors and not self.parser_log

        return SimpleNamespace(
            parse_from_file=parse_from_file,
            num_errors=len(self.parser_errors),
            get_error=lambda index: self.parser_errors[index],
        )

    def _make_runtime(self, _logger: Any) -> Any:
        def deserialize_cuda_engine(_plan: bytes) -> Any:
            if self.inspector_json is None:
                return None
            inspector = SimpleNamespace(get_engine_information=lambda _form: self.inspector_json)
            return SimpleNamespace(create_engine_inspector=lambda: inspector)

        self.runtime = SimpleNamespace(deserialize_cuda_engine=deserialize_cuda_engine)
        return self.runtime


def tensorrt_8_6(**changes: Any) -> Release:
    return Release(explicit_batch=True, weak_flags=True, node_names=False, **changes)


def tensorrt_10(**changes: Any) -> Release:
    return Release(explicit_batch=True, weak_flags=True, strongly_typed=1, monitor=True, **changes)


def tensorrt_11(**changes: Any) -> Release:
    levels = ("NONE", "AMPERE_PLUS", "SAME_COMPUTE_CAPABILITY")
    return Release(strongly_typed=0, monitor=True, hardware_levels=levels, **changes)


def tensorrt_rtx(**changes: Any) -> Release:
    return tensorrt_11(portable=True, **changes)


def convolution(
    dtype: DataType = DataType.FLOAT, shape: tuple[int, ...] = (1, 3, 8, 8), axes: Any = ()
) -> Network:
    """One input, a convolution and a shuffle in one type."""
    image = RangedTensor("image", shape, dtype, axes)
    middle = RangedTensor("middle", shape, dtype)
    result = RangedTensor("result", shape, dtype)
    layers: list[Layer] = [
        ConstrainableLayer("conv", [image], [middle]),
        ConstrainableLayer("shuffle", [middle], [result], kind="SHUFFLE"),
    ]
    return Network([image], layers, [result])


def quantized() -> Network:
    """A convolution between quantized ends."""
    image = Tensor("image")
    eight_bits = Tensor("image_q", dtype=DataType.INT8)
    again = Tensor("image_dq")
    result = Tensor("result")
    layers = [
        Layer("q", [image], [eight_bits], kind="QUANTIZE"),
        Layer("dq", [eight_bits], [again], kind="DEQUANTIZE"),
        Layer("conv", [again], [result]),
    ]
    return Network([image], layers, [result])


def parser_error(node: int = 1, desc: str = "", **named: str) -> Any:
    """An error of the ONNX parser; ``node_name`` and ``node_operator`` if the release has them."""
    error = SimpleNamespace(
        node=lambda: node,
        desc=lambda: desc,
        code=lambda: SimpleNamespace(name=named.get("code", "")),
    )
    for name in ("node_name", "node_operator"):
        if name in named:
            setattr(error, name, lambda value=named[name]: value)
    return error
