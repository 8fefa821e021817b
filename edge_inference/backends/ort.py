"""ONNX Runtime: runs the same ONNX file on any machine, on the CPU or through CUDA."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.backends.base import Backend, TensorSpec
from edge_inference.backends.processor import Processor, find_processor
from edge_inference.core.bounded_file import is_plain_file
from edge_inference.core.models.onnx_cost import check_cost
from edge_inference.core.runtime.memory_limit import is_out_of_memory, memory_hint
from edge_inference.errors import BackendError, EngineFileError, ModelError

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(bool)": "bool",
    **{
        f"tensor({sign}int{bits})": f"{sign}int{bits}"
        for sign in ("", "u")
        for bits in (8, 16, 32, 64)
    },
}
_FATAL_ONLY = 4
_EXACT_INT8 = "session.x64quantprecision"


class OrtBackend(Backend):
    """Runs the ONNX file at ``path``.

    ``providers`` are ONNX Runtime's execution providers in order of wish; the
    first one must really serve, a silent fall-back to the CPU is refused.
    ``threads`` work inside one operator (one is often fastest on a small shared
    machine); they sleep between operators instead of spinning, so that the rest
    of the robot has the cores. ``precision`` is only told by ``describe``.
    ``keeps_memory`` false gives memory back after every run: where the lengths of
    inputs vary, as with speech, the longest one would set it for good.

    Arrays go in without a copy where they are contiguous, and every output is a
    fresh array of its own. Binding buffers of our own was measured and brought
    nothing over that on the CPU.
    """

    name = "ort"

    def __init__(
        self,
        path: Path,
        providers: Sequence[str] = (CPU,),
        threads: int = 1,
        precision: str = "",
        *,
        keeps_memory: bool = True,
    ) -> None:
        super().__init__()
        if threads < 1:
            raise BackendError(f"threads: expected an integer of at least 1, got {threads}")
        if not providers:
            raise BackendError(f"providers: expected at least one, such as {CPU}, got none")
        self._path = Path(path)
        self._providers = tuple(providers)
        self._threads = threads
        self._precision = precision
        self._keeps_memory = keeps_memory
        self._session: Any = None
        self._output_names: list[str] = []

    @property
    def file(self) -> Path:
        """The ONNX file."""
        return self._path

    def describe(self) -> str:
        """Say which execution providers serve, with how many threads, and which file."""
        engine = ", ".join(self._session.get_providers()) if self._session else "not open"
        parts = [f"ONNX Runtime ({engine})", f"{self._threads} thread(s)", self._path.name]
        return ", ".join(parts + ([self._precision] if self._precision else []))

    def _open(self) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec]]:
        session = self._make_session()
        inputs = [self._spec(node) for node in session.get_inputs()]
        outputs = [self._spec(node) for node in session.get_outputs()]
        self._output_names = [spec.name for spec in outputs]
        self._session = session
        return inputs, outputs

    def _infer(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        try:
            outputs = self._session.run(self._output_names, dict(inputs))
        except Exception as error:  # ONNX Runtime's errors share no base class
            raise BackendError(
                f"{self._path}: ONNX Runtime failed to run it: {why(error)}"
            ) from error
        return dict(zip(self._output_names, outputs, strict=True))

    def _close(self) -> None:
        self._session = None

    def _make_session(self) -> Any:
        onnxruntime = import_onnxruntime()
        self._check_providers(onnxruntime.get_available_providers())
        if not is_plain_file(self._path):
            raise BackendError(f"{self._path}: no such file; put the model's ONNX file there")
        try:
            check_cost(self._path)
        except ModelError as error:
            raise BackendError(str(error)) from error
        options = session_options(onnxruntime, self._threads)
        options.enable_cpu_mem_arena = self._keeps_memory
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = onnxruntime.InferenceSession(
                str(self._path),
                options,
                providers=list(self._providers),
                enable_fallback=0,  # it would tell of it on stdout, where results go
            )
        except Exception as error:  # ONNX Runtime's errors share no base class
            words = f"{self._path}: ONNX Runtime cannot open it: {why(error)}"
            if is_out_of_memory(error):
                raise BackendError(words) from error
            raise EngineFileError(f"{words}; {_hint(error)}") from error
        serving = session.get_providers()
        if self._providers[0] not in serving:
            raise BackendError(
                f"{self._providers[0]} is built into ONNX Runtime but did not start, "
                f"{', '.join(serving)} would run instead; install its driver and libraries, "
                "or ask for that provider"
            )
        return session

    def _check_providers(self, available: Sequence[str]) -> None:
        for provider in self._providers:
            if provider not in available:
                raise BackendError(
                    f"this ONNX Runtime has no {provider}, it has {', '.join(available)}; "
                    "install a build that has it, or ask for another backend"
                )

    def _spec(self, node: Any) -> TensorSpec:
        if node.type not in _DTYPES:
            raise BackendError(
                f"{self._path}: {node.name!r} is {node.type}; only tensors of "
                f"{', '.join(_DTYPES.values())} can be passed"
            )
        shape = tuple(length if isinstance(length, int) else None for length in node.shape)
        return TensorSpec(node.name, np.dtype(_DTYPES[node.type]), shape)


def session_options(onnxruntime: Any, threads: int = 1, processor: Processor | None = None) -> Any:
    """Return options that every session has, so that int8 is exact on every processor.

    ``processor`` is this machine's where it is None. Where its sums saturate, ONNX
    Runtime's slower kernels are asked for: weights that fit in 7 bits keep the quick ones.
    Elsewhere the option is left out, for ONNX Runtime obeys it with VNNI, too.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # What goes wrong is raised, too, and told by us; its own lines would stand beside ours.
    options.log_severity_level = _FATAL_ONLY
    if (processor or find_processor()).saturates:
        options.add_session_config_entry(_EXACT_INT8, "1")
    return options


def import_onnxruntime() -> Any:
    """Import ONNX Runtime. Raises BackendError where it is missing or broken.

    Its telemetry is off unless the user's environment says otherwise: from
    1.31 on it notes paths and a machine id in the user's cache folder.
    """
    # Read at import; disable_telemetry_events() comes too late.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendError(
            f"ONNX Runtime cannot be imported ({error}); pip install onnxruntime"
        ) from error
    return onnxruntime


def _hint(error: Exception) -> str:
    """Say what can be done about a file that cannot be opened."""
    if "AddInitializedOrtValue" in str(error):  # where it turns signed weights into unsigned ones
        return (
            "this processor has no VNNI, and ONNX Runtime computes int8 exactly there only where "
            "each layer has weights and a zero point of its own; give every layer its copy, or "
            "use another precision"
        )
    return "check that it is a complete ONNX file"


def why(error: Exception) -> str:
    """Say why ONNX Runtime failed: the first line of its error, without its code prefix."""
    if is_out_of_memory(error):
        return f"the memory does not suffice: {memory_hint()}"
    text = str(error).strip().splitlines()
    line = text[0] if text else type(error).__name__
    return line.rsplit(" : ", 1)[-1].rstrip(".") if line.startswith("[ONNXRuntimeError]") else line
