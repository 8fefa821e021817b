"""Selects the backend, precision and file for a request, with the reason."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from edge_inference.backends.base import Backend
from edge_inference.backends.gpu import find_gpu
from edge_inference.backends.null import NullBackend
from edge_inference.backends.ort import CPU, CUDA, OrtBackend, import_onnxruntime
from edge_inference.backends.trt.vendor import import_tensorrt
from edge_inference.core.models.model import PRECISIONS, ModelDescription
from edge_inference.core.models.onnx_memory import check_memory
from edge_inference.core.settings import suggestion
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.cache.artifacts import (
    Artifact,
    Cancelled,
    DerivedModel,
    Progress,
    ShippedFile,
    default_cache,
    engine_plan,
    find_undamaged,
    onnx_for,
    precisions,
)
from edge_inference.engines.precision.int8_mode import (
    EXACT,
    FULL_BITS,
    describe_int8_mode,
    mode_in_use,
    weight_bits,
)
from edge_inference.errors import BackendError, EdgeInferenceError, PluginError


@dataclass(frozen=True)
class EngineRequest:
    """A model with the requested ``backend`` (of :data:`BACKEND_NAMES`) and precision, or "auto".

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
class Selection:
    """The backend, precision and artifact for a request, and the reason.

    ``backend`` is not open yet; it is None where its file does not exist yet, see
    :func:`prepare`. ``damaged`` describes the damage of an existing file. ``int8_mode`` is the
    mode in which this CPU computes int8, None where it has one mode only.
    """

    request: EngineRequest
    name: str
    precision: str
    reason: str
    artifact: Artifact
    backend: Backend | None
    damaged: str = ""
    int8_mode: str | None = None


@dataclass(frozen=True)
class BackendCandidate:
    """A backend by name.

    ``unavailable_reason`` returns why the backend cannot run here, None where it can.
    ``artifact`` returns the file to open, ``make`` the backend; its second parameter is the
    precision as text. ``precision`` is the choice for "auto" if the model is available in it;
    otherwise, and for None, "auto" is the most accurate variant.
    """

    name: str
    unavailable_reason: Callable[[], str | None]
    artifact: Callable[[EngineRequest, str], Artifact]
    make: Callable[[EngineRequest, str, Path], Backend]
    precision: str | None = None


def select_backend(request: EngineRequest, cache: ArtifactCache | None = None) -> Selection:
    """Select a backend; nothing is made or opened.

    "auto" selects the first of TensorRT, ONNX Runtime with CUDA, and ONNX Runtime on the CPU
    that can run here. Raises BackendError where the requested backend cannot run here,
    PluginError for an unknown name, ConfigError for an unknown int8 mode, ModelError for
    weights that are missing, altered, or need too much memory.
    """
    name = request.backend
    weight_bits(request.int8_mode)  # checks the mode, also where no int8 engine serves
    if name not in BACKEND_NAMES:
        raise PluginError(f"unknown backend {name!r}{suggestion(name, BACKEND_NAMES)}")
    refused: list[str] = []
    for candidate in _CANDIDATES if name == "auto" else (_by_name(name),):
        reason = candidate.unavailable_reason()
        if reason is None:
            return _select(candidate, request, cache or default_cache(), refused)
        refused.append(f"{candidate.name} not available: {reason}")
    raise BackendError(
        f"backend {name!r} cannot run model {request.model.name!r} here: {'; '.join(refused)}"
    )


def prepare(
    request: EngineRequest,
    cache: ArtifactCache | None = None,
    progress: Progress = lambda phase, fraction: None,
    cancelled: Cancelled = lambda: False,
) -> Selection:
    """Select as :func:`select_backend` does, and make a missing artifact; that may take minutes.

    The selection's backend is never None. Raises the errors of making the artifact, too.
    """
    cache = cache or default_cache()
    selection = select_backend(request, cache)
    if selection.backend is None:
        selection.artifact.make(cache, progress, cancelled)
        selection = select_backend(request, cache)
    if selection.backend is None:
        raise BackendError(
            selection.damaged or f"{selection.reason}: another process removed the new file"
        )
    return selection


def artifact_for(request: EngineRequest, backend: str, precision: str) -> Artifact:
    """Return the artifact of a backend by name (not "auto") in a precision."""
    return _by_name(backend).artifact(request, precision)


def int8_mode_of(backend: str, precision: str, artifact: Artifact) -> str | None:
    """Return the mode in which this CPU computes int8, None where it has one mode only."""
    if backend != "ort" or precision != "int8":
        return None
    return mode_in_use(artifact.weight_bits if isinstance(artifact, DerivedModel) else FULL_BITS)


def fallback(request: EngineRequest) -> EngineRequest:
    """Return the request that can serve at once during a preparation: ONNX Runtime."""
    return replace(request, backend="ort", precision="auto")


def _select(
    candidate: BackendCandidate, request: EngineRequest, cache: ArtifactCache, refused: list[str]
) -> Selection:
    for (
        variant
    ) in request.model.variants.values():  # the artifact is one of them, or is derived from one
        check_memory(variant.file, request.model_max_mb, "the parameter model_max_mb")
    precision, why_precision = _choose_precision(candidate, request)
    artifact = candidate.artifact(request, precision)
    if isinstance(artifact, ShippedFile):
        artifact.variant.verify()
    file, damaged = find_undamaged(artifact, cache)
    int8_mode = int8_mode_of(candidate.name, precision, artifact)
    computes = precision if int8_mode is None else describe_int8_mode(int8_mode)
    why = "requested" if request.backend != "auto" else "first of the automatic order that can run"
    reasons = [f"backend {candidate.name}: {why}", f"precision {precision}: {why_precision}"]
    backend = candidate.make(request, computes, file) if file is not None else None
    return Selection(
        request,
        candidate.name,
        precision,
        "; ".join([*reasons, *refused]),
        artifact,
        backend,
        damaged,
        int8_mode,
    )


def _choose_precision(candidate: BackendCandidate, request: EngineRequest) -> tuple[str, str]:
    if request.precision != "auto":
        return request.precision, "requested"
    if candidate.precision in precisions(request.model):
        return candidate.precision, f"default of {candidate.name}"
    variants = request.model.variants
    best = next(name for name in PRECISIONS if name in variants)
    return best, "the only variant" if len(variants) == 1 else "the most accurate variant"


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


_CANDIDATES = (
    BackendCandidate("trt", _tensorrt_unavailable, _plan, _make_trt, precision="fp16"),
    BackendCandidate("ort-cuda", _cuda_unavailable, _onnx, _make_ort_cuda),
    BackendCandidate("ort", _onnxruntime_unavailable, _onnx_on_cpu, _make_ort),
)
_NULL = BackendCandidate("null", _onnxruntime_unavailable, _onnx, _make_null)

#: Values of ``EngineRequest.backend``.
BACKEND_NAMES = ("auto", *(candidate.name for candidate in (*_CANDIDATES, _NULL)))


def _by_name(name: str) -> BackendCandidate:
    return next(candidate for candidate in (*_CANDIDATES, _NULL) if candidate.name == name)
