"""Times of an engine in service are saved after enough steady inferences."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_inference.core.measured_costs import Measurement
from edge_inference.core.models.model_search import find_model
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.cache.artifacts import ShippedFile
from edge_inference.engines.cache.cost_cache import CostCache
from edge_inference.engines.serving.backend_table import EngineRequest
from edge_inference.engines.serving.engine import Engine
from edge_inference.engines.serving.selection import Selection
from edge_inference.engines.serving.service_costs import PERIOD_NS, RUNS, ServiceCosts


def engine(threads: int = 1) -> Engine:
    model = find_model("efficientnet_lite0")
    request = EngineRequest(model, "ort", "fp32", threads)
    artifact = ShippedFile(model.variants["fp32"])
    selection = Selection(request, "ort", "fp32", "a test", artifact, None)
    return Engine(request, selection, backend=None)  # type: ignore[arg-type]


@pytest.fixture
def cache(tmp_path: Path) -> ArtifactCache:
    return ArtifactCache(tmp_path)


@pytest.fixture
def costs(cache: ArtifactCache) -> ServiceCosts:
    def report(sentence: str) -> None:
        raise AssertionError(sentence)

    return ServiceCosts(cache, report)


def kept(costs: ServiceCosts, cache: ArtifactCache) -> tuple[Measurement, ...]:
    costs.close()
    return CostCache(cache.folder).read().measurements


def serve(costs: ServiceCosts, its: Engine, runs: int = RUNS, images: int = 1) -> None:
    for _ in range(runs):
        costs.add(its, images, 0.05, 0.02)


def test_enough_runs_are_saved(costs: ServiceCosts, cache: ArtifactCache) -> None:
    its = engine()
    serve(costs, its, RUNS - 1)
    costs.save_if_due(0, is_free=True)
    assert kept(costs, cache) == ()
    serve(costs, its, 1)
    costs.save_if_due(1, is_free=True)
    (measurement,) = kept(costs, cache)
    (cost,) = measurement.costs
    assert (measurement.by, cost.runs, cost.configuration.execution) == (
        "service",
        RUNS,
        "threads=1",
    )
    assert (cost.wall.median_s, cost.cpu.median_s) == (0.05, 0.02)
    assert cost.configuration.artifact == its.request.model.variants["fp32"].sha256


def test_with_several_threads_only_wall_time_is_saved(
    costs: ServiceCosts, cache: ArtifactCache
) -> None:
    serve(costs, engine(threads=2))
    costs.save_if_due(0, is_free=True)
    assert kept(costs, cache)[0].costs[0].cpu is None


def test_costs_are_saved_once_a_period(costs: ServiceCosts, cache: ArtifactCache) -> None:
    its = engine()
    serve(costs, its)
    costs.save_if_due(0, is_free=True)
    first = kept(costs, cache)
    serve(costs, its)
    costs.save_if_due(PERIOD_NS - 1, is_free=True)
    assert kept(costs, cache) == first
    costs.save_if_due(PERIOD_NS, is_free=True)
    assert len(kept(costs, cache)) == 1
    assert kept(costs, cache) != first


def test_times_under_a_limit_do_not_count(costs: ServiceCosts, cache: ArtifactCache) -> None:
    its = engine()
    serve(costs, its)
    costs.save_if_due(0, is_free=False)
    costs.save_if_due(1, is_free=True)
    assert kept(costs, cache) == ()
    serve(costs, its)
    costs.save_if_due(2, is_free=True)
    assert len(kept(costs, cache)) == 1


def test_unsteady_times_are_not_saved(costs: ServiceCosts, cache: ArtifactCache) -> None:
    its = engine()
    for run in range(RUNS):
        costs.add(its, 1, 0.05, 0.02 if run % 10 else 0.2)
    costs.save_if_due(0, is_free=True)
    assert kept(costs, cache) == ()
    serve(costs, its)
    costs.save_if_due(1, is_free=True)
    assert len(kept(costs, cache)) == 1


def test_another_engine_starts_again_and_batches_do_not_count(
    costs: ServiceCosts, cache: ArtifactCache
) -> None:
    serve(costs, engine(), RUNS - 1)
    other = engine()
    serve(costs, other, RUNS - 1)
    serve(costs, other, RUNS, images=2)
    costs.save_if_due(0, is_free=True)
    assert kept(costs, cache) == ()


def test_a_cache_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    reports: list[str] = []
    costs = ServiceCosts(ArtifactCache(tmp_path / "cache"), reports.append)
    serve(costs, engine())
    costs.save_if_due(0, is_free=True)
    costs.close()
    assert len(reports) == 1
    assert "cannot be written" in reports[0]
