"""From words in a configuration file to what runs a model, and why it is that."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

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
    find_or_none,
    onnx_for,
    precisions,
)
from edge_inference.engines.precision.int8_mode import (
    EXACT,
    FULL_BITS,
    in_words,
    mode_in_use,
    weight_bits,
)
from edge_inference.errors import BackendError, EdgeInferenceError, PluginError


@dataclass(frozen=True)
class EngineRequest:
    """What is asked for: ``backend`` of :data:`BACKEND_NAMES`, ``precision`` may be "auto".

    ``threads`` and ``int8_mode`` of :data:`INT8_MODES` are for engines that run on the CPU.
    ``gpu`` is the number of the GPU, ``stream_priority`` ("low", "normal", "high") and
    ``cuda_graph`` say how it is used.
    ``model_max_mb`` is the most memory, in MiB, that a model may declare to need; None for what
    this process may take. ``origin`` is the asker's own, handed back with what serves the request.
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
    origin: Any = None


@dataclass(frozen=True)
class Selection:
    """What runs a model, and the reason.

    ``backend`` is not open yet; it is None where its file has to be made first, see
    :func:`prepare`. ``damaged`` says what is wrong with a file that was there. ``int8_mode``
    is the one in which this processor computes int8, None where it has no two ways.
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
class EngineCandidate:
    """A backend by name: what keeps it from running here, what it opens, and how.

    ``make`` takes the precision in words. ``precision`` is what "auto" stands for where the
    model can be had in it; otherwise, and for None, that is the most accurate variant.
    """

    name: str
    obstacle: Callable[[], str | None]
    artifact: Callable[[EngineRequest, str], Artifact]
    make: Callable[[EngineRequest, str, Path], Backend]
    precision: str | None = None


def select_backend(request: EngineRequest, cache: ArtifactCache | None = None) -> Selection:
    """Choose what runs a model; nothing is made, opened or waited for.

    "auto" takes the first of TensorRT, ONNX Runtime with CUDA, ONNX Runtime on the
    CPU that can run here. Raises BackendError where what is asked for cannot run
    here, PluginError for an unknown name, ConfigError for an unknown mode of int8,
    ModelError for weights that are missing or altered, or need too much memory.
    """
    name = request.backend
    weight_bits(request.int8_mode)  # says what is wrong with it, whatever serves
    if name not in BACKEND_NAMES:
        raise PluginError(f"unknown backend {name!r}{suggestion(name, BACKEND_NAMES)}")
    refused: list[str] = []
    for candidate in _CANDIDATES if name == "auto" else (_by_name(name),):
        obstacle = candidate.obstacle()
        if obstacle is None:
            return _select(candidate, request, cache or default_cache(), refused)
        refused.append(f"{candidate.name} not available: {obstacle}")
    raise BackendError(
        f"backend {name!r} cannot run model {request.model.name!r} here: {'; '.join(refused)}"
    )


def prepare(
    request: EngineRequest,
    cache: ArtifactCache | None = None,
    progress: Progress = lambda phase, fraction: None,
    cancelled: Cancelled = lambda: False,
) -> Selection:
    """Choose as :func:`select_backend` does and make what is missing, however long it takes.

    The selection's backend is never None. Raises what making it can raise, too.
    """
    cache = cache or default_cache()
    selection = select_backend(request, cache)
    if selection.backend is None:
        selection.artifact.make(cache, progress, cancelled)
        selection = select_backend(request, cache)
    if selection.backend is None:
        raise BackendError(selection.damaged or f"{selection.reason}: what was made is gone again")
    return selection


def artifact_for(request: EngineRequest, backend: str, precision: str) -> Artifact:
    """Return how to get what ``backend``, which is not "auto", opens in a precision."""
    return _by_name(backend).artifact(request, precision)


def int8_mode_of(backend: str, precision: str, artifact: Artifact) -> str | None:
    """Return the mode in which this processor computes int8, None where it has no two ways."""
    if backend != "ort" or precision != "int8":
        return None
    return mode_in_use(artifact.weight_bits if isinstance(artifact, DerivedModel) else FULL_BITS)


def fallback(request: EngineRequest) -> EngineRequest:
    """Return what can serve at once while something better is made ready: ONNX Runtime."""
    return replace(request, backend="ort", precision="auto")


def _select(
    candidate: EngineCandidate, request: EngineRequest, cache: ArtifactCache, refused: list[str]
) -> Selection:
    for variant in request.model.variants.values():  # what serves is made of one of them
        check_memory(variant.file, request.model_max_mb, "the parameter model_max_mb")
    precision, why_precision = _choose_precision(candidate, request)
    artifact = candidate.artifact(request, precision)
    if isinstance(artifact, ShippedFile):
        artifact.variant.verify()
    file, damaged = find_or_none(artifact, cache)
    int8_mode = int8_mode_of(candidate.name, precision, artifact)
    computes = precision if int8_mode is None else in_words(int8_mode)
    why = "asked for" if request.backend != "auto" else "first of the automatic order that can run"
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


def _choose_precision(candidate: EngineCandidate, request: EngineRequest) -> tuple[str, str]:
    if request.precision != "auto":
        return request.precision, "asked for"
    if candidate.precision in precisions(request.model):
        return candidate.precision, f"usual for {candidate.name}"
    variants = request.model.variants
    best = next(name for name in PRECISIONS if name in variants)
    return best, "the only variant" if len(variants) == 1 else "the most accurate variant"


def _obstacle(check: Callable[[], object]) -> str | None:
    try:
        check()
    except EdgeInferenceError as error:
        return str(error)
    return None


def _tensorrt_obstacle() -> str | None:
    missing = importlib.util.find_spec("pycuda") is None
    pycuda = "Python module pycuda not installed; pip install pycuda" if missing else None
    return _obstacle(find_gpu) or pycuda or _obstacle(import_tensorrt)


def _onnxruntime_obstacle() -> str | None:
    return _obstacle(import_onnxruntime)


def _cuda_obstacle() -> str | None:
    obstacle = _onnxruntime_obstacle()
    if obstacle is not None:
        return obstacle
    if CUDA not in import_onnxruntime().get_available_providers():
        return f"the installed ONNX Runtime has no {CUDA}"
    return _obstacle(find_gpu)


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
    """Take the tensors of the real model, so that the rest of a pipeline cannot tell."""
    with OrtBackend(file, (CPU,), request.threads) as real:
        return NullBackend(real.inputs, real.outputs)


_CANDIDATES = (
    EngineCandidate("trt", _tensorrt_obstacle, _plan, _make_trt, precision="fp16"),
    EngineCandidate("ort-cuda", _cuda_obstacle, _onnx, _make_ort_cuda),
    EngineCandidate("ort", _onnxruntime_obstacle, _onnx_on_cpu, _make_ort),
)
_NULL = EngineCandidate("null", _onnxruntime_obstacle, _onnx, _make_null)

#: What a :class:`Request` takes as backend.
BACKEND_NAMES = ("auto", *(candidate.name for candidate in (*_CANDIDATES, _NULL)))


def _by_name(name: str) -> EngineCandidate:
    return next(candidate for candidate in (*_CANDIDATES, _NULL) if candidate.name == name)
