"""``edge-inference engine build``: builds an engine and prints its metadata."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_inference.backends.trt.metadata import EngineMetadata, read_sidecar, verify_plan
from edge_inference.backends.trt.vendor import import_tensorrt
from edge_inference.cli.exit_status import UsageError
from edge_inference.cli.models.engine_format import describe_plan
from edge_inference.cli.models.engine_plans import DEFAULT_PRECISION
from edge_inference.cli.perception.run_options import search_path
from edge_inference.cli.progress import show_progress
from edge_inference.cli.signals import cancel_on_signal
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.model_search import find_model
from edge_inference.core.settings import change
from edge_inference.engines.build.build_options import BuildOptions
from edge_inference.engines.build.builder import build_engine, write_engine
from edge_inference.engines.build.model_options import build_options, environment_here
from edge_inference.engines.cache.artifacts import (
    Cancelled,
    EnginePlan,
    Progress,
    default_cache,
    engine_plan,
    find_undamaged,
)
from edge_inference.engines.precision.calibration import Calibration
from edge_inference.errors import ConfigError, EngineFileError


@dataclass(frozen=True)
class EngineBuildOptions:
    """The options of ``engine build``; ``build_options`` are the given options of the build."""

    model: str | None
    onnx: str | None
    precision: str | None
    build_options: Mapping[str, Any]
    gpu: int
    output: str | None
    timing_cache: str | None
    model_path: str

    def check(self) -> None:
        """Raise UsageError for options that exclude each other."""
        if (self.model is None) == (self.onnx is None):
            raise UsageError("engine build: expected either MODEL or --onnx FILE")
        if self.onnx is not None and self.output is None:
            raise UsageError("--onnx needs --output FILE: the cache holds engines of models only")
        if self.timing_cache is not None and self.output is None:
            raise UsageError("--timing-cache needs --output: the cache has its own timing cache")
        if self.output is not None and Path(self.output).is_dir():
            raise UsageError(
                f"--output {self.output}: expected a file, got a folder; name the plan's file"
            )


@dataclass(frozen=True)
class _Outcome:
    plan: Path
    metadata: EngineMetadata
    from_cache: bool
    notes: tuple[str, ...]


def build(options: EngineBuildOptions, as_json: bool) -> int:
    """Build an engine and print its metadata; return the exit code."""
    options.check()
    title = f"building {options.model or options.onnx}"
    with cancel_on_signal() as cancelled, show_progress(title, sys.stdout, as_json) as progress:
        outcome = _build(options, progress, cancelled)
    if as_json:
        sys.stdout.write(json.dumps({"summary": _as_json(outcome)}) + "\n")
    else:
        _print(outcome)
    return 0


def _build(options: EngineBuildOptions, progress: Progress, cancelled: Cancelled) -> _Outcome:
    if options.onnx is not None:
        defaults = BuildOptions(precision=options.precision or "fp32")
        chosen = _from_command_line(lambda: change(defaults, options.build_options))
        return _build_file(options, Path(options.onnx), chosen, progress, cancelled)
    assert options.model is not None
    model = find_model(options.model, search_path(options.model_path))
    precision = options.precision or DEFAULT_PRECISION
    of_model = build_options(model, precision)
    chosen = _from_command_line(lambda: build_options(model, precision, options.build_options))
    artifact = engine_plan(model, chosen.precision, options.gpu, chosen)
    if options.output is not None:
        onnx_file = artifact.onnx.make(default_cache(), progress, cancelled)
        return _build_file(options, onnx_file, chosen, progress, cancelled, artifact.model)
    return _build_cached(artifact, progress, cancelled, is_default=chosen == of_model)


def _build_file(
    options: EngineBuildOptions,
    onnx_file: Path,
    chosen: BuildOptions,
    progress: Progress,
    cancelled: Cancelled,
    model: ModelDescription | None = None,
) -> _Outcome:
    assert options.output is not None
    ranges = None
    if model is not None and chosen.precision == "int8" and model.calibration is not None:
        ranges = Calibration.load(model.calibration).ranges
    built = build_engine(
        onnx_file,
        chosen,
        vendor=import_tensorrt(),
        environment=environment_here(options.gpu),
        model=model.name if model is not None else "",
        ranges=ranges,
        fixed_inputs=model.extra_inputs if model is not None else {},
        timing_cache=None if options.timing_cache is None else Path(options.timing_cache),
        progress=lambda step: progress(step.phase, step.fraction),
        cancelled=cancelled,
    )
    plan = write_engine(built, Path(options.output))
    return _Outcome(plan, built.metadata, False, built.notes)


def _build_cached(
    artifact: EnginePlan, progress: Progress, cancelled: Cancelled, is_default: bool
) -> _Outcome:
    cache = default_cache()
    cached, damaged = find_undamaged(artifact, cache)
    if cached is not None:
        try:
            verify_plan(cached, read_sidecar(cached))
        except EngineFileError as error:  # it claims to be intact, but no node would load it
            artifact.discard(cache)
            cached, damaged = None, str(error)
    plan = cached or artifact.make(cache, progress, cancelled)
    notes = [f"built again: {damaged}"] if damaged else []
    notes += [artifact.reason] if artifact.reason else []
    notes += artifact.notes(cache)
    if not is_default:
        notes.append(
            "the inference node uses the options in the section engine of model.yaml; write "
            "these options there to use this engine"
        )
    return _Outcome(plan, read_sidecar(plan), cached is not None, tuple(notes))


def _from_command_line(read: Callable[[], BuildOptions]) -> BuildOptions:
    """Turn a ConfigError into a UsageError: the options of model.yaml were read before."""
    try:
        return read()
    except ConfigError as error:
        raise UsageError(f"engine build: {error}") from error


def _print(outcome: _Outcome) -> None:
    lines = [*describe_plan(outcome.plan, outcome.metadata)]
    if outcome.from_cache:
        lines.append("  from the cache; nothing was built")
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
        "from_cache": outcome.from_cache,
        "layers": dict(metadata.layer_precisions),
        "layers_from": metadata.layer_source,
        "notes": list(outcome.notes),
    }
