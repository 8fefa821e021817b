"""Figures of transport and end to end, over a window and since the start."""

from __future__ import annotations

import numpy as np
import pytest

from edge_inference.core.runtime.latency import EndToEndLatency, LatencyReport, StageLatency
from edge_inference.observe.clock_faults import (
    CLOCK_FAULTS,
    count_clock_faults,
    describe_clock_faults,
)
from edge_inference.observe.frame_timeline import (
    CLOCKS_DIFFER,
    FrameTimeline,
    as_incomplete,
    join_timings,
)
from edge_inference.observe.pipeline_latency import PipelineLatency
from timeline_cases import perception, timing

S = 1_000_000_000


def frame(total_ms: float) -> FrameTimeline:
    """Return a frame that waits for decode until it has taken so long."""
    late = timing("decode", 30.5, total_ms - 8, total_ms - 2, total_ms)
    return join_timings([*perception()[:2], late])


def add(latency: PipelineLatency, timeline: FrameTimeline, now_ns: int) -> None:
    for each in timeline.stages:
        assert latency.add(each, now_ns)
    latency.add_timeline(timeline, now_ns)


def only_end(report: LatencyReport) -> EndToEndLatency:
    (end,) = report.ends
    return end


def stage(report: LatencyReport, name: str) -> StageLatency:
    return next(each for each in report.stages if each.stage == name)


def test_end_to_end_of_the_window_and_of_the_whole_run() -> None:
    latency = PipelineLatency(10.0, deadline_ms=100.0)
    totals = [40.0 + index for index in range(100)]
    for index, total in enumerate(totals):
        add(latency, frame(total), index * S)
    end = only_end(latency.report(99 * S))
    assert (end.stage, end.node, end.count) == ("decode", "/ai/decode", 100)
    assert end.whole.p50 == pytest.approx(np.percentile(totals, 50))
    assert end.whole.max == pytest.approx(139.0)
    # The window moves in steps of a tenth, so up to a second more is in it.
    assert end.recent.p50 == pytest.approx(np.percentile(totals[-10:], 50), abs=0.6)
    assert end.deadline_misses == sum(total > 100.0 for total in totals) == 39
    assert only_end(latency.report(1000 * S)).recent.p50 is None


def test_the_whole_run_as_window() -> None:
    latency = PipelineLatency(None)
    for index in range(50):
        add(latency, frame(40.0 + index), index * 100 * S)
    end = only_end(latency.report(10_000 * S))
    assert end.recent == end.whole
    assert end.recent.mean == pytest.approx(64.5)


def test_transport_is_apart_from_the_time_until_the_callback() -> None:
    latency = PipelineLatency(None)
    first, second, third = perception()
    received = first._replace(receive_ms=0.5)
    add(latency, join_timings([received, second, third]), 0)
    report = latency.report(S)
    transports = {each.stage: each.transport.p50 for each in report.stages}
    assert transports == {
        "preprocess": pytest.approx(1.5),
        "inference": pytest.approx(0.5),
        "decode": pytest.approx(0.5),
    }
    assert stage(report, "preprocess").receive.p50 == pytest.approx(0.5)


def test_the_means_of_all_segments_are_the_mean_from_end_to_end() -> None:
    latency = PipelineLatency(None)
    for total in (40.0, 70.0, 130.0):
        add(latency, frame(total), 0)
    report = latency.report(S)
    means = [part.mean for s in report.stages for part in (s.transport, s.queue, s.process)]
    publish = stage(report, "decode").publish.mean
    assert sum(mean or 0.0 for mean in [*means, publish]) == pytest.approx(80.0)
    assert only_end(report).recent.mean == pytest.approx(80.0)


def test_what_did_not_end_is_no_end() -> None:
    latency = PipelineLatency(None, deadline_ms=1.0)
    latency.add_timeline(as_incomplete(frame(40.0)), 0)
    dropped = timing("inference", 6.5, 25, 25, dropped="superseded")
    latency.add_timeline(join_timings([perception()[0], dropped]), 0)
    assert latency.report(S).ends == ()


def test_clock_faults_are_counted_and_have_no_age() -> None:
    latency = PipelineLatency(None, deadline_ms=1.0)
    bad = [each._replace(clock_fault="stamp_zero") for each in perception(captured=None)]
    for _ in range(3):
        add(latency, join_timings(bad), 0)
    hostile = join_timings([bad[2]._replace(clock_fault="x" * 1000)])
    latency.add_timeline(hostile, 0)
    report = latency.report(S)
    end = only_end(report)
    assert end.clock_faults == {"stamp_zero": 3, "other": 1}
    assert (end.whole.p50, end.deadline_misses, end.count) == (None, 0, 4)
    # Three stages report each frame; it is one frame.
    assert count_clock_faults(report) == {"stamp_zero": 3, "other": 1}


def test_the_number_of_stages_is_bounded() -> None:
    latency = PipelineLatency(10.0)
    for index in range(300):
        latency.add_timeline(join_timings([timing("decode", 1, 2, 3, node=f"/ai/d{index}")]), 0)
    assert len(latency.report(S).ends) == PipelineLatency.MAX_STAGES


@pytest.mark.parametrize("fault", sorted(CLOCK_FAULTS))
def test_every_fault_says_how_many_frames_and_what_to_do(fault: str) -> None:
    (sentence,) = describe_clock_faults({fault: 12, CLOCKS_DIFFER + "_": 0})
    assert sentence.startswith(f"clock fault {fault}: 12 frames ")
    assert "; " in sentence


def test_an_unknown_fault_is_named() -> None:
    assert describe_clock_faults({"other": 2}) == ["clock fault other: 2 frames"]
