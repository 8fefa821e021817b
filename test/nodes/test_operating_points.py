"""What engines cost here decides what an inference node offers to the platform manager."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from edge_inference.composition.bus import Publisher
from edge_inference.core.directives.directive import Directive, DirectiveLevel, DirectiveLimits
from edge_inference.core.engine_configuration import EngineConfiguration
from edge_inference.core.measured_costs import Cost, Measurement, Spread
from edge_inference.core.models.model_search import find_model
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.cache.cost_cache import CostCache
from edge_inference.engines.serving import load_adaptation
from edge_inference.engines.serving.backend_table import EngineRequest
from edge_inference.engines.serving.cost_recording import engine_configuration
from edge_inference.nodes.component import RELIABLE
from edge_inference.nodes.conversions.performance import DirectiveAdapter
from edge_inference.nodes.perception.inference_settings import InferenceSettings
from edge_inference.nodes.perception.operating_points import OperatingPoints
from perception_rig import Pipeline
from rig import Outside, Rig, wait_for

SETTINGS = {"manager_timeout_s": 600.0}


@pytest.fixture
def costs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CostCache:
    monkeypatch.setenv("EDGE_INFERENCE_CACHE", str(tmp_path))
    return CostCache(tmp_path)


def point(model: str, costs: CostCache) -> EngineConfiguration:
    request = EngineRequest(find_model(model), "ort", "fp32")
    found = engine_configuration(request, "ort", "fp32", ArtifactCache(costs.file.parents[1]))
    assert found is not None
    return found


def ask(rig: Rig, **limits) -> None:
    publisher = rig.call(
        lambda: Publisher(
            rig.container.node, DirectiveAdapter(), "/ai/performance_directive", RELIABLE
        )
    )
    directive = Directive(
        1,
        "asker",
        "/ai/inference",
        DirectiveLevel.REDUCED,
        0.5,
        DirectiveLimits(**limits),
        "a test asks",
    )
    publisher.publish(directive)


def test_what_turns_out_to_be_slower_is_not_served_and_withdrawn(
    rig: Rig, costs: CostCache
) -> None:
    workloads = rig.tap("/ai/workload")
    settings = {**SETTINGS, "variants": ["nanodet:fp32"]}
    pipeline = Pipeline(rig, model="efficientnet_lite0", inference=settings)
    offered = workloads.wait(1)[0].operating_points
    assert [operating_point.model for operating_point in offered] == [
        "efficientnet_lite0",
        "nanodet",
    ]
    assert offered[1].process_ms is None
    pipeline.next(pipeline.classes)
    ask(rig, model="nanodet")
    wait_for(lambda: len(workloads[-1].operating_points) == 1, "one operating point", 60)
    assert workloads[-1].operating_points[0].model == "efficientnet_lite0"
    assert workloads[-1].operating_point == 0
    assert "nanodet fp32 is not faster here: it takes" in workloads[-1].problem
    assert pipeline.states[-1].model_name == "efficientnet_lite0"
    assert pipeline.states[-1].problem == ""  # what the user asked for runs
    assert pipeline.inference.health.take_errors() == []
    assert len(pipeline.next(pipeline.classes)) > 0
    assert pipeline.lost() == {}
    ratio = costs.read().ratio(point("nanodet", costs), point("efficientnet_lite0", costs))
    assert ratio is not None and ratio > 1.5


def test_a_slower_point_is_not_offered_but_served_on_request(
    rig: Rig, outside: Outside, costs: CostCache
) -> None:
    names = {"nanodet": 0.01, "efficientnet_lite0": 0.02}
    spreads = {point(name, costs): Spread(seconds, seconds) for name, seconds in names.items()}
    pair = tuple(Cost(each, 20, spread) for each, spread in spreads.items())
    costs.add(Measurement("a test", 1.0, pair))
    workloads = rig.tap("/ai/workload")
    settings = {**SETTINGS, "variants": ["efficientnet_lite0:fp32"]}
    pipeline = Pipeline(rig, model="nanodet", inference=settings)
    assert [operating_point.model for operating_point in workloads.wait(1)[0].operating_points] == [
        "nanodet"
    ]
    assert workloads[0].operating_points[0].process_ms == pytest.approx(10.0)
    ask(rig, model="efficientnet_lite0")
    wait_for(lambda: workloads[-1].directive_id == 1)
    assert "efficientnet_lite0 fp32 is not faster here: it takes 2.00" in workloads[-1].problem
    assert pipeline.inference._selector.server.preparation is None
    values = {"model": "efficientnet_lite0"}
    assert outside.set_parameters(node="/ai/inference", values=values) == [[True, ""]]
    wait_for(lambda: pipeline.states[-1].model_name == "efficientnet_lite0", "what the user names")
    assert pipeline.states[-1].problem == ""


def test_the_cost_of_an_operating_point_is_scaled_to_the_present(
    rig: Rig, costs: CostCache
) -> None:
    names = {"nanodet": 1.0, "efficientnet_lite0": 0.25}  # on a much slower machine
    spreads = {point(name, costs): Spread(seconds, seconds) for name, seconds in names.items()}
    pair = tuple(Cost(each, 20, spread) for each, spread in spreads.items())
    costs.add(Measurement("a test", 1.0, pair))
    workloads = rig.tap("/ai/workload")
    settings = {**SETTINGS, "variants": ["efficientnet_lite0:fp32"]}
    pipeline = Pipeline(rig, model="nanodet", inference=settings)
    assert [each.process_ms for each in workloads.wait(1)[0].operating_points] == pytest.approx(
        [1e3, 250]
    )
    count = len(pipeline.detections)
    pipeline.next(pipeline.detections)
    assert len(pipeline.detections) == count + 1
    wait_for(lambda: workloads[-1].operating_points[0].process_ms < 990, "a time of its own")
    own_ms, other_ms = (each.process_ms for each in workloads[-1].operating_points)
    assert other_ms == pytest.approx(0.25 * own_ms)


def test_load_moves_the_node_below_its_own_point_and_back(
    rig: Rig, costs: CostCache, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"nanodet": 1.0, "efficientnet_lite0": 0.25}
    spreads = {point(name, costs): Spread(seconds, seconds) for name, seconds in names.items()}
    costs.add(Measurement("a test", 1.0, tuple(Cost(p, 20, each) for p, each in spreads.items())))
    pipeline = Pipeline(
        rig, model="nanodet", inference={**SETTINGS, "variants": ["efficientnet_lite0:fp32"]}
    )
    pipeline.next(pipeline.detections)
    meter = pipeline.inference._throttle.meter
    monkeypatch.setattr(meter, "demand_hz", lambda now_ns: 1e4)
    monkeypatch.setattr(load_adaptation, "SPARE_NS", 0)
    states = len(pipeline.states) + 4
    wait_for(lambda: len(pipeline.states) > states, "some updates")
    assert pipeline.states[-1].model_name == "nanodet"  # only if the user wants it
    values = {"adapt_to_load": True}
    assert outside.set_parameters(node="/ai/inference", values=values) == [[True, ""]]
    wait_for(lambda: pipeline.states[-1].model_name == "efficientnet_lite0", "the cheaper point")
    assert outside.get_parameters(node="/ai/inference", names=["model"]) == ["nanodet"]
    assert len(pipeline.next(pipeline.classes)) > 0
    monkeypatch.setattr(meter, "demand_hz", lambda now_ns: 0.1)
    wait_for(lambda: pipeline.states[-1].model_name == "nanodet", "the own point")
    assert pipeline.lost() == {}


def test_a_variant_that_is_listed_already_is_left_out() -> None:
    variants = ("fp32", "fp16", "efficientnet_lite0:fp16", "nanodet:fp16", "int8", "fp16")
    points = OperatingPoints(InferenceSettings(model="efficientnet_lite0", variants=variants))
    listed = zip(points.requests, points.precisions, strict=True)
    assert [(request.model.name, precision) for request, precision in listed] == [
        ("efficientnet_lite0", "fp32"),
        ("efficientnet_lite0", "fp16"),
        ("nanodet", "fp16"),
        ("efficientnet_lite0", "int8"),
    ]


def test_the_points_of_the_model_are_offered_where_the_user_names_none(tmp_path: Path) -> None:
    folder = tmp_path / "lite"
    shutil.copytree(find_model("efficientnet_lite0").folder, folder)
    declared = ["fp32", "int8, int8_mode: fast", "fp16, model: nanodet", "int8, model: unknown"]
    entries = "".join(f"  - {{precision: {each}}}\n" for each in declared)
    with (folder / "model.yaml").open("a") as file:
        file.write(f"operating_points:\n{entries}")
    settings = InferenceSettings(model=str(folder), backend="ort", precision="fp32")
    reports: list[str] = []
    points = OperatingPoints(settings, reports.append)
    listed = [(each.model.name, each.precision, each.int8_mode) for each in points.requests]
    assert listed == [
        ("lite", "fp32", "exact"),
        ("lite", "int8", "fast"),
        ("nanodet", "fp16", "exact"),
    ]
    assert len(reports) == 1
    assert reports[0].startswith("lite, operating_points: unknown int8: unknown model 'unknown'")
    assert reports[0].endswith("; it is not offered")
    named = OperatingPoints(dataclasses.replace(settings, variants=("fp16",)))
    assert [*named.precisions] == ["fp32", "fp16"]
    cheapest = OperatingPoints(dataclasses.replace(settings, precision="int8"))
    assert [each.model.name for each in cheapest.requests] == ["lite", "nanodet"]
