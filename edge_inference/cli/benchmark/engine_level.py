"""Measures the engine alone: bare inference, without preprocessing and without ROS."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.backends.base import Backend
from edge_inference.cli.benchmark.benchmark_options import BenchmarkOptions
from edge_inference.cli.models.image_choice import choose_images
from edge_inference.core.images.preprocess import Preprocessor
from edge_inference.core.models.model import ModelDescription
from edge_inference.engines.cache.artifacts import default_cache
from edge_inference.engines.precision.int8_mode import EXACT, describe_int8_mode
from edge_inference.engines.serving.backend_table import EngineRequest
from edge_inference.engines.serving.selection import Selection, prepare
from edge_inference.errors import ConfigError, EdgeInferenceError
from edge_inference.observe.benchmark.benchmark_environment import hash_images, hash_source
from edge_inference.observe.benchmark.benchmark_report import BenchmarkResult, StreamingAgreement
from edge_inference.observe.benchmark.load_runner import LoadRunner, LoadSide
from edge_inference.observe.benchmark.resource_meter import ResourceMeter
from edge_inference.observe.benchmark.saturation import Saturation
from edge_inference.optimize.comparison import CompareRow

#: Inferences cycle through this many inputs.
_INPUTS = 8


@dataclass
class LevelResults:
    """What one level measured; ``candidates`` describes each of the ``rows`` by its name."""

    candidates: dict[str, dict[str, str]] = field(default_factory=dict)
    rows: list[CompareRow] = field(default_factory=list)
    results: list[BenchmarkResult] = field(default_factory=list)
    saturations: dict[str, Saturation] = field(default_factory=dict)
    agreements: dict[str, StreamingAgreement] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    source: dict[str, str] = field(default_factory=dict)


def measure_engines(
    options: BenchmarkOptions,
    model: ModelDescription,
    meter: ResourceMeter,
    cancelled: Callable[[], bool],
    progress: Callable[[str, float | None], None],
) -> LevelResults:
    """Measure every candidate; one that cannot run is a problem of the report.

    Raises the error of the first candidate if that cannot run.
    """
    found = LevelResults()
    inputs = _make_inputs(options, model, found)
    with ExitStack() as stack:
        sides: list[LoadSide] = []
        for engine in options.engines:
            progress(f"preparing {':'.join(engine)}", None)
            try:
                sides.append(_open_side(options, model, engine, inputs, stack, found, cancelled))
            except EdgeInferenceError as error:
                if not sides or cancelled():
                    raise
                found.problems.append(f"{':'.join(engine)} cannot be measured: {error}")
        runner = LoadRunner(sides, options.seconds, meter, cancelled=cancelled, progress=progress)
        found.results += runner.back_to_back()
        first_hz = {each.candidate: each.rate_hz or 1.0 for each in found.results}
        for rate_hz in options.rates:
            if not cancelled():
                found.results += runner.at_rate(rate_hz)
        if options.saturation and not cancelled():
            results, found.saturations = runner.saturate(first_hz)
            found.results += results
        found.problems += [f"{side.name}: {side.failure}" for side in sides if side.failure]
    return found


def prepare_candidate(
    options: BenchmarkOptions,
    model: ModelDescription,
    engine: tuple[str, str],
    found: LevelResults,
    cancelled: Callable[[], bool],
) -> tuple[Selection, str]:
    """Prepare an engine, not open yet, and describe it; return it with its name.

    Raises ConfigError for an engine that is a candidate already.
    """
    backend, precision = engine
    int8_mode = options.int8_mode or EXACT
    request = EngineRequest(
        model, backend, precision, options.threads, options.gpu, int8_mode=int8_mode
    )
    cache = default_cache()
    selection = prepare(request, cache, cancelled=cancelled)
    row = CompareRow(selection.name, selection.precision, int8_mode=selection.int8_mode)
    if row.name in found.candidates:
        raise ConfigError(f"it is the same engine as {row.name}, which is measured already")
    description = {
        "sha256": selection.artifact.digest(cache) or "unknown",
        "threads": str(options.threads),
    }
    if selection.int8_mode is not None:
        description["int8"] = describe_int8_mode(selection.int8_mode)
    found.rows.append(row)
    found.candidates[row.name] = description
    return selection, row.name


def _open_side(
    options: BenchmarkOptions,
    model: ModelDescription,
    engine: tuple[str, str],
    inputs: list[NDArray[Any]],
    stack: ExitStack,
    found: LevelResults,
    cancelled: Callable[[], bool],
) -> LoadSide:
    selection, name = prepare_candidate(options, model, engine, found, cancelled)
    assert selection.backend is not None
    opened = stack.enter_context(selection.backend)
    _check_batch(opened, model, options.batch)
    found.candidates[name]["engine"] = opened.describe()

    def call(number: int) -> None:
        opened.infer({model.input.name: inputs[number % len(inputs)]})

    call(0)
    return LoadSide(name, call, options.batch)


def _check_batch(backend: Backend, model: ModelDescription, batch: int) -> None:
    length = backend.inputs[0].shape[0]
    if length is not None and length != batch:
        raise ConfigError(
            f"--batch {batch}: the graph of {model.name} has a fixed batch of {length}; give "
            f"--batch {length}, or export the model with a batch of any length"
        )


def _make_inputs(
    options: BenchmarkOptions, model: ModelDescription, found: LevelResults
) -> list[NDArray[Any]]:
    """Return tensors of a whole batch each, made from the source or from the golden images."""
    images = choose_images(model, options.source, limit=_INPUTS)
    preprocess = Preprocessor(model.input)
    tensors = [preprocess(image)[0].copy() for image in images]
    found.source["source"] = options.source or images.description
    found.source["source sha256"] = (
        hash_images(tensors) if options.source is None else hash_source(options.source)
    )
    rows = [np.concatenate([tensors[(i + j) % len(tensors)] for j in range(options.batch)])
            for i in range(len(tensors))]  # fmt: skip
    return [np.ascontiguousarray(each) for each in rows]
