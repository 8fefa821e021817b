"""Selects the backend, precision and file for a request, with the reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from edge_inference.backends.base import Backend
from edge_inference.core.models.variants import PRECISIONS
from edge_inference.core.onnx_format.onnx_memory import check_memory
from edge_inference.core.runtime.worker import format_error
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.cache.artifacts import (
    Artifact,
    Cancelled,
    DerivedModel,
    Progress,
    default_cache,
    find_undamaged,
    precisions,
)
from edge_inference.engines.precision.int8_mode import (
    FULL_BITS,
    describe_int8_mode,
    mode_in_use,
    weight_bits,
)
from edge_inference.engines.serving.backend_table import (
    AUTO,
    AUTOMATIC_ORDER,
    BACKENDS,
    BackendCandidate,
    EngineRequest,
)
from edge_inference.errors import BackendError, EdgeInferenceError, ModelError

Value = TypeVar("Value")


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


def select_backend(request: EngineRequest, cache: ArtifactCache | None = None) -> Selection:
    """Select a backend; nothing is made or opened.

    "auto" selects the first of TensorRT, ONNX Runtime with CUDA, and ONNX Runtime on the CPU
    that can run here and has a file for the model. Raises BackendError where the requested
    backend cannot run here, PluginError for an unknown name, ConfigError for an unknown int8
    mode, ModelError for weights that are missing, altered, or need too much memory.
    """
    name = request.backend
    weight_bits(request.int8_mode)  # checks the mode, also where no int8 engine serves
    refused: list[str] = []
    for candidate in AUTOMATIC_ORDER if name == AUTO else (BACKENDS.get(name),):
        reason = _call(candidate, "unavailable_reason", candidate.unavailable_reason)
        if reason is not None:
            refused.append(f"{candidate.name} not available: {reason}")
            continue
        precision, why = _choose_precision(candidate, request)
        try:
            artifact = _artifact_of(candidate, request, precision)
        except ModelError as error:
            if name != AUTO or candidate is AUTOMATIC_ORDER[-1]:
                raise
            refused.append(f"{candidate.name} not possible: {error}")
            continue
        file = _ChosenFile(precision, why, artifact)
        return _select(candidate, request, file, cache or default_cache(), refused)
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
        artifact = selection.artifact
        _call(selection, "making its file", lambda: artifact.make(cache, progress, cancelled))
        selection = select_backend(request, cache)
    if selection.backend is None:
        raise BackendError(
            selection.damaged or f"{selection.reason}: another process removed the new file"
        )
    return selection


def artifact_for(request: EngineRequest, backend: str, precision: str) -> Artifact:
    """Return the artifact of a backend by name (not "auto") in a precision."""
    return _artifact_of(BACKENDS.get(backend), request, precision)


def execution_of(request: EngineRequest, backend: str) -> str | None:
    """Return what decides a backend's times besides its file, None if they are not recorded."""
    candidate = BACKENDS.get(backend)
    function = candidate.execution
    return None if function is None else _call(candidate, "execution", lambda: function(request))


def int8_mode_of(backend: str, precision: str, artifact: Artifact) -> str | None:
    """Return the mode in which this CPU computes int8, None where it has one mode only."""
    if backend != "ort" or precision != "int8":
        return None
    return mode_in_use(artifact.weight_bits if isinstance(artifact, DerivedModel) else FULL_BITS)


def fallback(request: EngineRequest) -> EngineRequest:
    """Return the request that can serve at once during a preparation: ONNX Runtime."""
    return replace(request, backend="ort", precision="auto")


@dataclass(frozen=True)
class _ChosenFile:
    precision: str
    why_precision: str
    artifact: Artifact


def _select(
    candidate: BackendCandidate,
    request: EngineRequest,
    chosen: _ChosenFile,
    cache: ArtifactCache,
    refused: list[str],
) -> Selection:
    for variant in request.model.files():  # the artifact is one of them, or is derived from one
        check_memory(variant.file, request.model_max_mb, "the parameter model_max_mb")
    precision, artifact = chosen.precision, chosen.artifact
    if artifact.source is not None:  # a file in the cache may be of other weights, too
        artifact.source.verify()
    file, damaged = _call(candidate, "finding its file", lambda: find_undamaged(artifact, cache))
    int8_mode = int8_mode_of(candidate.name, precision, artifact)
    computes = precision if int8_mode is None else describe_int8_mode(int8_mode)
    why = "requested" if request.backend != AUTO else "first of the automatic order that can run"
    reasons = [f"backend {candidate.name}: {why}", f"precision {precision}: {chosen.why_precision}"]
    reasons += [artifact.reason] if artifact.reason else []
    backend = None if file is None else _make(candidate, request, computes, file)
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


def _artifact_of(candidate: BackendCandidate, request: EngineRequest, precision: str) -> Artifact:
    artifact = _call(candidate, "artifact", lambda: candidate.artifact(request, precision))
    if not isinstance(artifact, Artifact):
        raise _wrong_type(candidate, "artifact", "an Artifact", artifact)
    return artifact


def _make(
    candidate: BackendCandidate, request: EngineRequest, computes: str, file: Path
) -> Backend:
    backend = _call(candidate, "make", lambda: candidate.make(request, computes, file))
    if not isinstance(backend, Backend):
        raise _wrong_type(candidate, "make", "a Backend", backend)
    return backend.fit_to(request.model)


def _call(owner: BackendCandidate | Selection, what: str, function: Callable[[], Value]) -> Value:
    """Call a function that may be of another package; any exception becomes a BackendError."""
    try:
        return function()
    except EdgeInferenceError:
        raise
    except Exception as error:
        raise BackendError(
            f"backend {owner.name!r}: {what} failed: {format_error(error)}"
        ) from error


def _wrong_type(
    candidate: BackendCandidate, function: str, expected: str, got: object
) -> BackendError:
    return BackendError(
        f"backend {candidate.name!r}: {function} must return {expected}, got {type(got).__name__}"
    )


def _choose_precision(candidate: BackendCandidate, request: EngineRequest) -> tuple[str, str]:
    if request.precision != "auto":
        return request.precision, "requested"
    if candidate.precision in precisions(request.model):
        return candidate.precision, f"default of {candidate.name}"
    variants = request.model.variants
    best = next(name for name in PRECISIONS if name in variants)
    return best, "the only variant" if len(variants) == 1 else "the most accurate variant"
