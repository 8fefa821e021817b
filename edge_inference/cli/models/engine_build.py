"""``edge-inference engine build``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_inference.backends.trt.metadata import EngineMetadata, read_sidecar
from edge_inference.backends.trt.vendor import import_tensorrt
from edge_inference.cli.exit_status import UsageError
from edge_inference.cli.models.engine_format import describe_plan
from edge_inference.cli.models.engine_plans import DEFAULT_PRECISION
from edge_inference.cli.perception.run_options import search_path
from edge_inference.cli.progress import show_progress
from edge_inference.cli.signals import cancel_on_signal
from edge_inference.core.models.model import ModelDescription, find_model
from edge_inference.core.settings import change
from edge_inference.engines.build.build_options import BuildOptions
from edge_inference.engines.build.builder import build_engine, write_engine
from edge_inference.engines.cache.artifacts import (
    Cancelled,
    EnginePlan,
    Progress,
    build_options,
    default_cache,
    engine_plan,
    environment_here,
    find_undamaged,
)
from edge_inference.engines.precision.calibration import Calibration
from edge_inference.errors import ConfigError


@dataclass(frozen=True)
class EngineBuildOptions:
    """What ``engine build`` was asked for; ``options`` are the build options given."""

    model: str | None
    onnx: str | None
    precision: str | None
    options: Mapping[str, Any]
    gpu: int
    output: str | None
    timing_cache: str | None
    model_path: str

    def check(self) -> None:
        """Raise UsageError for options that do not go together."""
        if (self.model is None) == (self.onnx is None):
            raise UsageError("engine build: expected either MODEL or --onnx FILE")
        if self.onnx is not None and self.output is None:
            raise UsageError("--onnx needs --output FILE: the cache is for models")
        if self.timing_cache is not None and self.output is None:
            raise UsageError("--timing-cache is for --output: the cache has one of its own")
        if self.output is not None and Path(self.output).is_dir():
            raise UsageError(f"--output {self.output}: this is a folder; name the plan's file")


@dataclass(frozen=True)
class _Outcome:
    plan: Path
    metadata: EngineMetadata
    was_there: bool
    notes: tuple[str, ...]


def build(order: EngineBuildOptions, as_json: bool) -> int:
    """Build an engine and say what it is; return the exit code."""
    order.check()
    title = f"building {order.model or order.onnx}"
    with cancel_on_signal() as cancelled, show_progress(title, sys.stdout, as_json) as progress:
        outcome = _built(order, progress, cancelled)
    if as_json:
        sys.stdout.write(json.dumps({"summary": _as_json(outcome)}) + "\n")
    else:
        _print(outcome)
    return 0


def _built(order: EngineBuildOptions, progress: Progress, cancelled: Cancelled) -> _Outcome:
    if order.onnx is not None:
        usual = BuildOptions(precision=order.precision or "fp32")
        options = _as_given(lambda: change(usual, order.options))
        return _into_file(order, Path(order.onnx), options, progress, cancelled)
    assert order.model is not None
    model = find_model(order.model, search_path(order.model_path))
    precision = order.precision or DEFAULT_PRECISION
    own = build_options(model, precision)
    options = _as_given(lambda: build_options(model, precision, order.options))
    artifact = engine_plan(model, options.precision, order.gpu, options)
    if order.output is not None:
        onnx_file = artifact.onnx.make(default_cache(), progress, cancelled)
        return _into_file(order, onnx_file, options, progress, cancelled, artifact.model)
    return _into_cache(artifact, progress, cancelled, is_usual=options == own)


def _into_file(
    order: EngineBuildOptions,
    onnx_file: Path,
    options: BuildOptions,
    progress: Progress,
    cancelled: Cancelled,
    model: ModelDescription | None = None,
) -> _Outcome:
    assert order.output is not None
    ranges = None
    if model is not None and options.precision == "int8" and model.calibration is not None:
        ranges = Calibration.load(model.calibration).ranges
    built = build_engine(
        onnx_file,
        options,
        vendor=import_tensorrt(),
        environment=environment_here(order.gpu),
        model=model.name if model is not None else "",
        ranges=ranges,
        timing_cache=None if order.timing_cache is None else Path(order.timing_cache),
        progress=lambda step: progress(step.phase, step.fraction),
        cancelled=cancelled,
    )
    plan = write_engine(built, Path(order.output))
    return _Outcome(plan, built.metadata, False, built.notes)


def _into_cache(
    artifact: EnginePlan, progress: Progress, cancelled: Cancelled, is_usual: bool
) -> _Outcome:
    cache = default_cache()
    there, damaged = find_undamaged(artifact, cache)
    plan = there or artifact.make(cache, progress, cancelled)
    notes = [f"built anew: {damaged}"] if damaged else []
    notes += artifact.notes(cache)
    if not is_usual:
        notes.append(
            "the inference node builds as the section engine of model.yaml says; for it to use "
            "this engine, write these options there"
        )
    return _Outcome(plan, read_sidecar(plan), there is not None, tuple(notes))


def _as_given(read: Callable[[], BuildOptions]) -> BuildOptions:
    """Blame the command line: what the model says was read before."""
    try:
        return read()
    except ConfigError as error:
        raise UsageError(f"engine build: {error}") from error


def _print(outcome: _Outcome) -> None:
    lines = [*describe_plan(outcome.plan, outcome.metadata)]
    if outcome.was_there:
        lines.append("  it was in the cache already; nothing was built")
    lines += [f"  note: {note}" for note in outcome.notes]
    sys.stdout.write("\n".join(lines) + "\n")


def _as_json(outcome: _Outcome) -> dict[str, Any]:
    metadata = outcome.metadata
    return {
        "plan": str(outcome.plan),
        "model": metadata.model,
        "precision": metadata.precision,
        "bytes": metadata.plan_bytes,
        "build_seconds": metadata.build_seconds,
        "was_there": outcome.was_there,
        "layers": dict(metadata.layer_precisions),
        "layers_from": metadata.layer_source,
        "notes": list(outcome.notes),
    }
