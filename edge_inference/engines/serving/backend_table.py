"""The table of backends: those of this package, and those of installed packages."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from edge_inference.backends.base import Backend
from edge_inference.backends.gpu import find_gpu
from edge_inference.backends.null import NullBackend
from edge_inference.backends.ort import CPU, CUDA, OrtBackend, import_onnxruntime
from edge_inference.backends.trt.vendor import import_tensorrt
from edge_inference.core.extension_table import ExtensionTable
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.variants import PRECISIONS
from edge_inference.engines.cache.artifacts import Artifact, engine_plan, onnx_for
from edge_inference.engines.precision.int8_mode import EXACT, weight_bits
from edge_inference.errors import EdgeInferenceError

#: Selects the first backend of :data:`AUTOMATIC_ORDER` that can run.
AUTO = "auto"


@dataclass(frozen=True)
class EngineRequest:
    """A model with the requested ``backend`` (of :data:`BACKENDS`) and precision, or "auto".

    ``threads`` and ``int8_mode`` (of :data:`INT8_MODES`) apply to engines on the CPU.
    ``gpu`` is the number of the GPU; ``stream_priority`` ("low", "normal", "high") and
    ``cuda_graph`` apply to engines on it.
    ``model_max_mb`` is the most memory, in MiB, that a model may declare to need; None for the
    limit of this process. A node extends the class with its settings.
    """

    model: ModelDescription
    backend: str = "auto"
    precision: str = "auto"
    threads: int = 1
    gpu: int = 0
    stream_priority: str = "normal"
    cuda_graph: bool = True
    int8_mode: str = EXACT
    model_max_mb: int | None = None

    def is_same(self, other: EngineRequest) -> bool:
        """Tell whether both request the same engine; a model may have been read again."""
        return replace(self, model=other.model) == other and (
            self.model.folder == other.model.folder
        )


@dataclass(frozen=True)
class BackendCandidate:
    """A row of the table: a backend by name, chosen by that name only, never by "auto".

    ``unavailable_reason`` returns why the backend cannot run here, None where it can.
    ``artifact`` returns the file to open in a precision, such as that of
    :func:`~edge_inference.engines.cache.artifacts.onnx_for`; it raises ModelError or BackendError
    for a precision that the backend does not have. ``make`` returns the backend, not open yet;
    its second parameter is the precision as text. ``precision`` is the choice for the precision
    "auto" if the model is available in it; otherwise, and for None, that is the most accurate
    variant. ``execution`` returns what else decides the time of an inference, such as the name of
    the device; costs are recorded under it, and for None they are not recorded.
    """

    name: str
    unavailable_reason: Callable[[], str | None]
    artifact: Callable[[EngineRequest, str], Artifact]
    make: Callable[[EngineRequest, str, Path], Backend]
    precision: str | None = None
    execution: Callable[[EngineRequest], str] | None = None


def _error_of(check: Callable[[], object]) -> str | None:
    try:
        check()
    except EdgeInferenceError as error:
        return str(error)
    return None


def _tensorrt_unavailable() -> str | None:
    missing = importlib.util.find_spec("pycuda") is None
    pycuda = "Python module pycuda not installed; pip install pycuda" if missing else None
    return _error_of(find_gpu) or pycuda or _error_of(import_tensorrt)


def _onnxruntime_unavailable() -> str | None:
    return _error_of(import_onnxruntime)


def _cuda_unavailable() -> str | None:
    reason = _onnxruntime_unavailable()
    if reason is not None:
        return reason
    if CUDA not in import_onnxruntime().get_available_providers():
        return f"the installed ONNX Runtime has no {CUDA}"
    return _error_of(find_gpu)


def _onnx(request: EngineRequest, precision: str) -> Artifact:
    return onnx_for(request.model, precision, "onnxruntime")


def _onnx_on_cpu(request: EngineRequest, precision: str) -> Artifact:
    bits = weight_bits(request.int8_mode)
    return onnx_for(request.model, precision, "onnxruntime", bits)


def _plan(request: EngineRequest, precision: str) -> Artifact:
    return engine_plan(request.model, precision, request.gpu)


def _make_ort(request: EngineRequest, precision: str, file: Path) -> Backend:
    return OrtBackend(file, (CPU,), request.threads, precision)


def _make_ort_cuda(request: EngineRequest, precision: str, file: Path) -> Backend:
    return OrtBackend(file, (CUDA, CPU), request.threads, precision)


def _make_trt(request: EngineRequest, precision: str, file: Path) -> Backend:
    from edge_inference.backends.trt.backend import TrtBackend

    return TrtBackend(
        file,
        device=request.gpu,
        stream_priority=request.stream_priority,
        use_graph=request.cuda_graph,
    )


def _make_null(request: EngineRequest, precision: str, file: Path) -> Backend:
    """Take the input and output tensors of the real model, so that the pipeline works with it."""
    with OrtBackend(file, (CPU,), request.threads) as real:
        return NullBackend(real.inputs, real.outputs)


def _cpu_threads(request: EngineRequest) -> str:
    return f"threads={request.threads}"


def _gpu_name(request: EngineRequest) -> str:
    return find_gpu(request.gpu).name


def _gpu_name_and_graph(request: EngineRequest) -> str:
    name = find_gpu(request.gpu).name
    return name if request.cuda_graph else f"{name}, without graph"


def _problem_of(row: BackendCandidate, rows: Mapping[str, BackendCandidate]) -> str | None:
    if row.name == AUTO:
        return f"the name {AUTO} stands for the automatic choice; choose another one"
    if row.precision not in (None, *PRECISIONS):
        return f"precision: expected one of {', '.join(PRECISIONS)} or None, got {row.precision!r}"
    for name in ("unavailable_reason", "artifact", "make"):
        if not callable(getattr(row, name)):
            return f"{name}: expected a function"
    if row.execution is not None and not callable(row.execution):
        return "execution: expected a function or None"
    return None


#: The backends among which "auto" chooses, in this order.
AUTOMATIC_ORDER = (
    BackendCandidate(
        "trt",
        _tensorrt_unavailable,
        _plan,
        _make_trt,
        precision="fp16",
        execution=_gpu_name_and_graph,
    ),
    BackendCandidate("ort-cuda", _cuda_unavailable, _onnx, _make_ort_cuda, execution=_gpu_name),
    BackendCandidate(
        "ort", _onnxruntime_unavailable, _onnx_on_cpu, _make_ort, execution=_cpu_threads
    ),
)
_NULL = BackendCandidate("null", _onnxruntime_unavailable, _onnx, _make_null)

BACKENDS = ExtensionTable(
    "backends", "backend", BackendCandidate, (*AUTOMATIC_ORDER, _NULL), _problem_of
)


def check_backend_name(name: str) -> None:
    """Raise PluginError for a name that is neither "auto" nor that of a usable backend."""
    if name != AUTO:
        BACKENDS.get(name)
