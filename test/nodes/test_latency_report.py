"""The report of the latency node from end to end: transport, deadlines and clock faults."""

from __future__ import annotations

import math

import pytest
from rclpy.parameter import Parameter

from edge_inference.composition.bus import Publisher
from edge_inference.core.runtime.latency import LatencyReport, StageTiming
from edge_inference.nodes import component
from edge_inference.nodes.component import RELIABLE
from edge_inference.nodes.conversions.timing import StageTimingAdapter
from edge_inference.nodes.observe import latency
from rig import Collected, Outside, Rig, wait_for

MS = 1_000_000
STAMP = 1_000_000_000_000


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Report ten times a second."""
    monkeypatch.setattr(latency, "REPORT_PERIOD_S", 0.1)
    monkeypatch.setattr(component, "DIAGNOSTICS_PERIOD_S", 0.1)


@pytest.fixture
def publisher(rig: Rig) -> Publisher:
    node = rig.container.node
    return rig.call(lambda: Publisher(node, StageTimingAdapter(), "/ai/stage_timing", RELIABLE))


def frame(number: int, total_ms: float) -> list[StageTiming]:
    """Return the timings of a frame: 2 ms to preprocess, 1 ms to inference, 1 ms to decode."""
    stamp_ns = STAMP + number * 1000 * MS

    def timing(stage: str, arrived: float, ended: float) -> StageTiming:
        return StageTiming(
            stage,
            f"/ai/{stage}",
            queue_ms=0.0,
            process_ms=ended - arrived,
            age_ms=ended,
            stamp_ns=stamp_ns,
            frame_id="cam",
            ended_ns=stamp_ns + round(ended * MS),
            clock_id=5,
            publish_ms=0.5,
        )

    return [
        timing("preprocess", 2.0, 5.0),
        timing("inference", 6.0, total_ms - 4.5),
        timing("decode", total_ms - 3.5, total_ms - 0.5),
    ]


def wait_for_end(reports: Collected, count: int) -> LatencyReport:
    wait_for(lambda: reports and any(e.count >= count for e in reports[-1].ends), f"{count} ends")
    return reports[-1]


def test_end_to_end_with_a_deadline(rig: Rig, publisher: Publisher, outside: Outside) -> None:
    node = rig.load("Latency", window_s=600.0, deadline_ms=60.0)
    reports = rig.tap("/ai/latency_report")
    messages = outside.listen("/ai/latency_report", "edge_inference/LatencyReport")
    rig.wait_for_subscribers(node, "/ai/latency_report")
    totals = [40.0, 50.0, 60.0, 70.0, 80.0]
    for number, total in enumerate(totals):
        # By reference a later stage may report first.
        for each in reversed(frame(number, total)):
            publisher.publish(each)
    report = wait_for_end(reports, len(totals))
    (end,) = report.ends
    assert (end.stage, end.node, end.count) == ("decode", "/ai/decode", 5)
    assert (end.recent.p50, end.recent.max) == (pytest.approx(60.0), pytest.approx(80.0))
    assert (end.whole, end.deadline_misses, report.deadline_ms) == (end.recent, 2, 60.0)
    transports = {stage.stage: stage.transport.p50 for stage in report.stages}
    assert transports == pytest.approx({"decode": 1.0, "inference": 1.0, "preprocess": 2.0})
    wait_for(lambda: messages and messages[-1]["ends"], "the message")
    (written,) = messages[-1]["ends"]
    assert (written["whole_p50_ms"], written["deadline_misses"]) == (pytest.approx(60.0), 2)
    assert messages[-1]["deadline_ms"] == 60.0
    rig.call(lambda: node.set_parameters([Parameter("deadline_ms", value=0.0)]))
    wait_for(lambda: reports[-1].deadline_ms is None, "no deadline any more")


def diagnostics_of_latency(seen: Collected) -> list[tuple[bytes, str]]:
    return [
        (status["level"], status["message"])
        for array in list(seen)
        for status in array["status"]
        if status["name"] == "/ai/latency"
    ]


def test_clock_faults_are_said_until_they_are_over(
    rig: Rig, publisher: Publisher, outside: Outside
) -> None:
    seen = outside.listen("/diagnostics", "diagnostic_msgs/DiagnosticArray")
    node = rig.load("Latency", window_s=1.0)
    reports = rig.tap("/ai/latency_report")
    rig.wait_for_subscribers(node, "/diagnostics")
    for number in range(3):
        for each in frame(number, 40.0):
            publisher.publish(each._replace(age_ms=None, clock_fault="stamp_in_past"))
    report = wait_for_end(reports, 3)
    (end,) = report.ends
    assert (end.clock_faults, end.whole.p50) == ({"stamp_in_past": 3}, None)
    start = "clock fault stamp_in_past: 3 frames"
    wait_for(
        lambda: any(message.startswith(start) for _, message in diagnostics_of_latency(seen)),
        "the sentence on /diagnostics",
    )
    wait_for(lambda: start not in diagnostics_of_latency(seen)[-1][1], "the end of the warning")


@pytest.mark.parametrize(
    "fields",
    [
        {"ended_ns": 2**63 - 1, "clock_id": 5},
        {"ended_ns": -(2**63), "clock_id": 5},
        {"queue_ms": float("nan")},
        {"process_ms": -1.0},
        {"publish_ms": float("inf")},
        {"clock_fault": "x" * 1000},
        {"stage": "x" * 1000, "node": "no_name"},
        {"header": {"stamp": {"sec": -1, "nanosec": 4_000_000_000}}},
    ],
)
def test_hostile_timings_from_outside(
    rig: Rig, publisher: Publisher, outside: Outside, fields: dict
) -> None:
    node = rig.load("Latency", window_s=600.0)
    reports = rig.tap("/ai/latency_report")
    send = outside.speak("/ai/stage_timing", "edge_inference/StageTiming")
    rig.wait_for_publishers(node, "/ai/stage_timing")
    header = {"stamp": {"sec": STAMP // 10**9, "nanosec": 0}, "frame_id": "cam"}
    usual = {"stage": "decode", "node": "/ai/decode", "process_ms": 1.0, "age_ms": 30.0}
    send(**{"header": header, **usual, **fields})
    for each in frame(1, 40.0):
        publisher.publish(each)
    (end,) = [end for end in wait_for_end(reports, 1).ends if end.whole.p50 is not None]
    assert end.whole.p50 == pytest.approx(40.0) or end.count > 1
    for stage in reports[-1].stages:
        assert all(ms is None or 0 <= ms < 1e6 for ms in vars(stage.transport).values())
        assert not any(math.isnan(ms) for ms in vars(stage.process).values() if ms is not None)
