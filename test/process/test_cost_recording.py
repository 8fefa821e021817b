"""Costs are measured whenever engines run, and recorded in the shared cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edge_inference.backends.cpu_instructions import find_cpu_instructions
from edge_inference.core.measured_costs import (
    MINIMUM_RUNS,
    Cost,
    MeasuredCosts,
    Measurement,
    Spread,
)
from edge_inference.core.models.model import ModelDescription, load_model
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.cache.cost_cache import CostCache
from edge_inference.engines.interleaved_timing import WARM_UP_CALLS
from edge_inference.engines.serving import cost_recording
from edge_inference.engines.serving.backend_table import EngineRequest
from edge_inference.engines.serving.cost_recording import (
    TimedRuns,
    current_costs,
    engine_configuration,
    record_costs,
)
from edge_inference.engines.serving.engine_check import check_engine, record_check
from edge_inference.engines.serving.preparation import check_in_child
from edge_inference.engines.serving.selection import prepare
from edge_inference.optimize.compare import CompareRequest, compare
from edge_inference.optimize.images.image_set import ImageSet
from sensitive_model import load_sensitive, make_images
from small_model import write_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelDescription:
    return load_sensitive(tmp_path_factory.mktemp("models") / "sound", is_sensitive=False)


@pytest.fixture
def cache(tmp_path: Path) -> ArtifactCache:
    return ArtifactCache(tmp_path / "cache")


def never() -> bool:
    return False


def silent(sentence: str) -> None:
    raise AssertionError(sentence)


def kept(cache: ArtifactCache) -> tuple[Measurement, ...]:
    return CostCache(cache.folder).read(silent).measurements


def test_runs_are_timed_after_the_warm_up() -> None:
    by_cpu = TimedRuns(lambda inputs: inputs, by_cpu=True)
    for _ in range(WARM_UP_CALLS + 2):
        assert by_cpu({}) == {}
    samples = by_cpu.samples()
    assert (len(samples.wall_s), len(samples.cpu_s)) == (2, 2)
    assert TimedRuns(lambda inputs: inputs, by_cpu=False).samples().cpu_s is None


def test_compare_records_its_costs_and_reports_the_previous_ones(
    model: ModelDescription, cache: ArtifactCache
) -> None:
    order = CompareRequest(
        model, ImageSet(make_images(3), "three"), ("ort",), runs=WARM_UP_CALLS + MINIMUM_RUNS
    )
    first = compare(order, cache)
    (measurement,) = kept(cache)
    assert [cost.configuration.precision for cost in measurement.costs] == ["fp32", "fp16", "int8"]
    assert all(
        cost.cpu and cost.configuration.execution.startswith("threads=1")
        for cost in measurement.costs
    )
    assert measurement.by == "compare"
    assert [row.previous_cost for row in first.rows] == [None, None, None]
    assert [row.measured_cost[0] for row in first.rows] == list(measurement.costs)
    again = compare(order, cache)
    assert [row.previous_cost[0] for row in again.rows] == list(measurement.costs)
    assert len(kept(cache)) == 1  # the new measurement has replaced the old one
    assert kept(cache) != (measurement,)


def test_with_several_threads_there_is_no_cpu_time(
    model: ModelDescription, cache: ArtifactCache
) -> None:
    pair = ImageSet(make_images(2), "two")
    compare(
        CompareRequest(model, pair, ("ort",), ("int8",), WARM_UP_CALLS + MINIMUM_RUNS, threads=2),
        cache,
    )
    (measurement,) = kept(cache)
    assert [cost.cpu for cost in measurement.costs] == [None, None]
    assert all(cost.configuration.execution.startswith("threads=2") for cost in measurement.costs)


def test_costs_that_cannot_be_recorded_do_no_other_harm(
    model: ModelDescription, cache: ArtifactCache
) -> None:
    cache.folder.mkdir(parents=True)
    (cache.folder / "costs").write_text("in the way")
    runs = WARM_UP_CALLS + MINIMUM_RUNS
    found = compare(
        CompareRequest(model, ImageSet(make_images(2), "two"), ("ort",), ("fp32",), runs), cache
    )
    assert found.rows[0].latency is not None
    assert "cannot be written" in found.problems[-1]


def test_a_check_times_the_engine_and_the_reference(
    model: ModelDescription, cache: ArtifactCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    selection = prepare(EngineRequest(model, "ort", "int8"), cache)
    with selection.backend as backend:
        checked = check_engine(selection, backend, golden="off", agreement="warn")
    few = record_check(selection, checked, cache, silent)
    assert (few, kept(cache)) == (None, ())  # it has no golden images
    monkeypatch.setattr(
        "edge_inference.engines.serving.engine_check.self_check_images",
        lambda model: make_images(15),
    )
    with selection.backend as backend:
        checked = check_engine(selection, backend, golden="off", agreement="warn")
    measured = record_check(selection, checked, cache, silent)
    assert kept(cache) == (measured,)
    assert [cost.configuration.precision for cost in measured.costs] == ["int8", "fp32"]
    assert [cost.runs for cost in measured.costs] == [12, 12]


def test_a_child_times_an_engine_with_its_baseline(
    model: ModelDescription, cache: ArtifactCache
) -> None:
    request, baseline = EngineRequest(model, "ort", "int8"), EngineRequest(model, "ort", "fp32")
    prepare(request, cache)
    checked = check_in_child(request, cache, "off", "off", never, baseline)
    assert checked.warnings == ()
    (measured,) = kept(cache)
    configurations = [
        engine_configuration(each, "ort", each.precision, cache) for each in (request, baseline)
    ]
    assert [cost.configuration for cost in measured.costs] == configurations
    assert measured.by == "preparation"
    assert MINIMUM_RUNS <= measured.costs[0].runs <= cost_recording.MAX_RUNS
    check_in_child(request, cache, "off", "off", never)
    assert kept(cache) == (measured,)


def test_a_changed_model_is_another_configuration(
    model: ModelDescription, cache: ArtifactCache, tmp_path: Path
) -> None:
    other = load_model(write_model(tmp_path / model.name))
    here, there = (
        engine_configuration(EngineRequest(each, "ort", "fp32"), "ort", "fp32", cache)
        for each in (model, other)
    )
    assert here.model == there.model
    assert here != there
    assert here == replace(there, artifact=here.artifact)


@pytest.mark.parametrize(
    "change",
    [
        lambda request: replace(request, backend="null"),
        lambda request: replace(request, precision="int8"),  # not derived yet
        lambda request: replace(request, backend="trt", gpu=63),
    ],
)
def test_a_missing_file_has_no_configuration(
    change: Callable[[EngineRequest], EngineRequest], model: ModelDescription, cache: ArtifactCache
) -> None:
    request = change(EngineRequest(model, "ort", "fp32"))
    configuration = engine_configuration(request, request.backend, request.precision, cache)
    assert configuration is None
    runs = TimedRuns(lambda inputs: inputs, by_cpu=True)
    for _ in range(WARM_UP_CALLS + MINIMUM_RUNS):
        runs({})
    assert record_costs(cache, "test", {configuration: runs.samples()}, silent) is None


@pytest.mark.parametrize("flags", ["avx2", "avx2 avx512_vnni"])
def test_exact_and_fast_int8_are_two_configurations_without_vnni(
    flags: str,
    model: ModelDescription,
    cache: ArtifactCache,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cpu = tmp_path / "cpuinfo"
    cpu.write_text(f"flags\t: {flags}\n")
    instructions = find_cpu_instructions(cpu)
    monkeypatch.setattr(
        "edge_inference.engines.precision.int8_mode.find_cpu_instructions", lambda: instructions
    )
    requests = [EngineRequest(model, "ort", "int8", int8_mode=mode) for mode in ("exact", "fast")]
    for request in requests:
        prepare(request, cache)
    configurations = [engine_configuration(request, "ort", "int8", cache) for request in requests]
    assert len(set(configurations)) == (2 if instructions.saturates else 1)
    words = ["threads=1, exact", "threads=1, fast"] if instructions.saturates else ["threads=1"] * 2
    assert [configuration.execution for configuration in configurations] == words
    costs = tuple(
        Cost(configuration, 20, Spread(0.1, 0.2)) for configuration in dict.fromkeys(configurations)
    )
    known = MeasuredCosts((Measurement("a test", 1.0, costs),))
    assert [cost for cost, _ in current_costs(model, known, cache)] == list(costs)
