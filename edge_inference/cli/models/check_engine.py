"""``edge-inference engine check``: checks that an engine fits this machine and is correct."""

from __future__ import annotations

import sys
from pathlib import Path

from edge_inference.backends.base import Backend
from edge_inference.backends.gpu import find_gpu
from edge_inference.backends.trt.backend import TrtBackend
from edge_inference.backends.trt.metadata import (
    REBUILD_HINT,
    EngineMetadata,
    read_sidecar,
    verify_plan,
)
from edge_inference.cli.exit_status import EXIT_FAILED, UsageError, print_error
from edge_inference.cli.models.cost_format import ratio_to_reference
from edge_inference.cli.models.engine_plans import PlanFile, cached_plan, is_plan, plan_at
from edge_inference.cli.perception.run_options import search_path
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.model_search import command_argument, find_model
from edge_inference.engines.build.model_options import environment_here
from edge_inference.engines.cache.artifacts import default_cache
from edge_inference.engines.serving.backend_table import EngineRequest
from edge_inference.engines.serving.engine_check import check_engine, record_check
from edge_inference.engines.serving.selection import Selection, select_backend
from edge_inference.errors import BackendError, ModelError

_TRT = "trt"


def check_plan_or_model(
    text: str, backend: str | None, precision: str | None, gpu: int, model_path: str
) -> int:
    """Check a plan, or the engine of a model; return the exit code.

    Raises EdgeInferenceError where it cannot run here.
    """
    if is_plan(text):
        if backend is not None or precision is not None:
            raise UsageError(
                f"{text}: backend and precision of a plan are fixed; name a model instead"
            )
        return _check_plan(plan_at(text), None, gpu, model_path)
    model = find_model(text, search_path(model_path))
    if backend in (None, _TRT):
        return _check_plan(cached_plan(model, precision, gpu), model, gpu, model_path)
    request = EngineRequest(model, backend or _TRT, precision or "auto", gpu=gpu)
    selection = select_backend(request, default_cache())
    if selection.backend is None:
        raise BackendError(
            selection.damaged
            or f"model {model.name!r}: its {selection.precision} file for {selection.name} does "
            f"not exist yet; make and check it with: edge-inference models check "
            f"{command_argument(model)} --backend {selection.name} "
            f"--precision {selection.precision}"
        )
    sys.stdout.write(f"{model.name}: {selection.name}, {selection.precision}\n")
    return run_checks(selection, selection.backend)


def run_checks(selection: Selection, backend: Backend) -> int:
    """Open an engine, run both checks and print the results; return the exit code."""
    with backend as engine:
        _print(f"runs on: {engine.describe()}")
        checked = check_engine(selection, engine, golden="warn", agreement="warn")
        measured = record_check(selection, checked, default_cache(), print_error)
    for summary in checked.notes.values():
        _print(summary)
    if "self-check" not in checked.notes:
        has_reference = "fp32" in selection.request.model.variants
        why = "this engine is the reference" if has_reference else "no fp32 variant to compare with"
        _print(f"self-check: left out; {why}")
    if measured is not None:
        _print(f"time: {ratio_to_reference(measured)}")
    for warning in checked.warnings:
        print_error(warning)
    return EXIT_FAILED if checked.warnings else 0


def _check_plan(plan: Path, model: ModelDescription | None, gpu: int, model_path: str) -> int:
    metadata = read_sidecar(plan)
    verify_plan(plan, metadata)
    sys.stdout.write(f"{plan}: {metadata.model or 'model not named'}, {metadata.precision}\n")
    _print("files: verified (sha256)")
    here = environment_here(gpu)
    incompatibility = metadata.incompatibility(here)
    if incompatibility is not None:
        raise BackendError(f"{plan}: {incompatibility}; {REBUILD_HINT}")
    if here.compute_capability is None:
        _print(f"fits: TensorRT and system match; the GPU is unknown: {_gpu_error(gpu)}")
        return 0
    _print(f"fits: {here.device}, compute capability {here.compute_capability}")
    return _run_plan(plan, metadata, model or _model_of(metadata, model_path), gpu)


def _run_plan(
    plan: Path, metadata: EngineMetadata, model: ModelDescription | None, gpu: int
) -> int:
    backend: Backend = TrtBackend(plan, device=gpu)
    if model is None:
        with backend as engine:
            _print(f"runs on: {engine.describe()}")
        _print("golden check and self-check: left out; the model was not found")
        return 0
    selection = Selection(
        request=EngineRequest(model, _TRT, metadata.precision, gpu=gpu),
        name=_TRT,
        precision=metadata.precision,
        reason="the given plan",
        artifact=PlanFile(plan),
        backend=backend.fit_to(model),
    )
    return run_checks(selection, backend)


def _model_of(metadata: EngineMetadata, model_path: str) -> ModelDescription | None:
    try:
        return find_model(metadata.model, search_path(model_path)) if metadata.model else None
    except ModelError:
        return None


def _gpu_error(gpu: int) -> str:
    try:
        find_gpu(gpu)
    except BackendError as error:
        return str(error)
    return "it is available now"


def _print(line: str) -> None:
    sys.stdout.write(f"  {line}\n")
