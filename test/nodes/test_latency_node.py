"""Latency as everybody else sees it, and the plain numbers of the simple contract."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from rclpy.parameter import Parameter

from edge_inference.composition.bus import Publisher
from edge_inference.core.runtime.latency import StageTiming
from edge_inference.nodes import component
from edge_inference.nodes.component import RELIABLE
from edge_inference.nodes.conversions.timing import StageTimingAdapter
from edge_inference.nodes.observe import latency
from rig import Outside, Rig, wait_for

GOLDEN = Path(__file__).parents[2] / "models" / "nanodet" / "golden"


def timing(stage: str, ms: float | None, dropped: str = "") -> StageTiming:
    return StageTiming(stage, f"/ai/{stage}", 0.5, ms, ms, dropped, "m", 5, "cam")


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tell everything ten times a second."""
    monkeypatch.setattr(latency, "REPORT_PERIOD_S", 0.1)
    monkeypatch.setattr(component, "DIAGNOSTICS_PERIOD_S", 0.1)


@pytest.fixture
def publisher(rig: Rig) -> Publisher:
    node = rig.container.node
    return rig.call(lambda: Publisher(node, StageTimingAdapter(), "/ai/stage_timing", RELIABLE))


def test_a_report_on_every_stage(rig: Rig, publisher: Publisher, outside: Outside) -> None:
    node = rig.load("Latency", window_s=600.0)
    reports = outside.listen("/ai/latency_report", "edge_inference/LatencyReport")
    inferences = rig.tap("/ai/inference_latency")
    rig.wait_for_subscribers(node, "/ai/latency_report")
    for ms in (1.0, 2.0, 3.0, 4.0):
        publisher.publish(timing("inference", ms))
    publisher.publish(timing("inference", None, "too_old"))
    publisher.publish(timing("preprocess", None, "superseded"))
    publisher.publish(timing("preprocess", None, "superseded"))
    assert inferences == [1.0, 2.0, 3.0, 4.0]
    wait_for(lambda: reports and len(reports[-1]["stages"]) == 2, "a report on both stages")
    report = reports[-1]
    assert report["window_s"] == 600.0
    assert report["header"]["stamp"]["sec"] > 1_600_000_000
    inference, preprocess = report["stages"]
    assert (inference["stage"], inference["node"]) == ("inference", "/ai/inference")
    assert (inference["count"], inference["window_count"]) == (4, 4)
    assert inference["rate_hz"] > 0
    assert (inference["mean_ms"], inference["p50_ms"], inference["max_ms"]) == (2.5, 2.5, 4.0)
    assert inference["p90_ms"] == pytest.approx(3.7)
    assert inference["p95_ms"] == pytest.approx(3.85)
    assert inference["p99_ms"] == pytest.approx(3.97)
    assert (inference["queue_p50_ms"], inference["age_p50_ms"]) == (0.5, 2.5)
    assert inference["drop_reasons"] == ["too_old"]
    assert (preprocess["count"], preprocess["window_count"], preprocess["rate_hz"]) == (0, 0, 0.0)
    assert (preprocess["drop_reasons"], preprocess["drop_counts"]) == (["superseded"], [2])
    for name in ("mean", "p50", "p90", "p95", "p99", "max", "queue_p50", "age_p99"):
        assert math.isnan(preprocess[f"{name}_ms"])


def test_timings_from_outside_count_too(rig: Rig, outside: Outside) -> None:
    node = rig.load("Latency")
    inferences = rig.tap("/ai/inference_latency")
    send = outside.speak("/ai/stage_timing", "edge_inference/StageTiming")
    rig.wait_for_publishers(node, "/ai/stage_timing")
    send(stage="inference", node="/far/inference", process_ms=12.5, age_ms=float("nan"))
    assert inferences.wait() == [12.5]


def test_the_window_can_be_changed_and_reports_end_with_the_node(
    rig: Rig, publisher: Publisher
) -> None:
    node = rig.load("Latency")
    reports = rig.tap("/ai/latency_report")
    rig.call(lambda: node.set_parameters([Parameter("window_s", value=2.0)]))
    rig.call(node._report)
    assert reports[-1].window_s == 2.0
    for transition in ("deactivate", "activate", "deactivate", "cleanup", "configure", "activate"):
        rig.call(getattr(node, f"trigger_{transition}"))
    publisher.publish(timing("inference", 1.0))
    rig.call(node._report)
    assert [stage.count for stage in reports[-1].stages] == [1]


def test_what_takes_too_long_to_join_is_joined_later(
    rig: Rig, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency, "_JOINING_NS", 0)
    node = rig.load("Latency")
    reports = rig.tap("/ai/latency_report")
    for stage in ("preprocess", "inference", "decode"):
        publisher.publish(timing(stage, 1.0))
    rig.call(node._report)
    assert not reports[-1].ends
    assert [stage.count for stage in reports[-1].stages] == [1, 1, 1]
    monkeypatch.setattr(latency, "_JOINING_NS", 10**12)
    rig.call(node._report)
    assert not node._timings


def test_the_simple_contract_seen_from_another_process(rig: Rig, outside: Outside) -> None:
    latency = rig.load("Latency")
    decode = rig.load("Decode", when_full="wait")
    rig.load("Inference", when_full="wait", golden_check="off")
    rig.load("Preprocess", "-r", "image_raw:=/camera/image_raw", when_full="wait")
    milliseconds = outside.listen("/ai/inference_latency", "std_msgs/Float32")
    scores = outside.listen("/ai/inference_result", "std_msgs/Float32")
    rig.wait_for_subscribers(latency, "/ai/inference_latency")
    rig.wait_for_subscribers(decode, "/ai/inference_result")
    rig.load("MediaSource", source=str(GOLDEN), pace="as_fast_as_possible")
    milliseconds.wait(2)
    scores.wait(2)
    assert all(0 < message["data"] < 60_000 for message in milliseconds)
    assert all(0.4 < message["data"] <= 1 for message in scores)
    types = outside.topics()
    assert (
        types["/ai/inference_latency"] == types["/ai/inference_result"] == ["std_msgs/msg/Float32"]
    )
    assert (len(milliseconds), len(scores)) == (2, 2)


def test_every_component_is_on_diagnostics(rig: Rig, outside: Outside) -> None:
    seen = outside.listen("/diagnostics", "diagnostic_msgs/DiagnosticArray")
    rig.load("Latency")
    rig.load("Decode")

    def names() -> set[str]:
        return {status["name"] for array in seen for status in array["status"]}

    wait_for(lambda: names() >= {"/ai/latency", "/ai/decode"}, "both on /diagnostics")
    (status,) = next(a["status"] for a in seen if a["status"][0]["name"] == "/ai/decode")
    assert {"key": "model", "value": "nanodet"} in status["values"]
    assert {"key": "decoder", "value": "nanodet"} in status["values"]


def test_diagnostics_do_not_need_simulated_time_to_pass(rig: Rig, outside: Outside) -> None:
    seen = outside.listen("/diagnostics", "diagnostic_msgs/DiagnosticArray")
    rig.load("Latency", use_sim_time=True)
    seen.wait()
