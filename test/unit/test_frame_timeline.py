"""The segments of a frame's way, and what is unknown where clocks are wrong."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_inference.core.runtime.capture_stamps import STAMP_IN_FUTURE
from edge_inference.core.runtime.latency import StageTiming
from edge_inference.observe.frame_timeline import (
    CLOCKS_DIFFER,
    STEADY_CLOCK,
    FrameTimeline,
    SegmentKind,
    join_timings,
    share_clock,
)
from edge_inference.observe.timeline_collector import TimelineCollector
from timeline_cases import CLOCK, EPOCH_NS, MS, perception, timing


def written(timeline: FrameTimeline) -> list[tuple[str, str, float | None]]:
    return [
        (each.kind.value, each.stage, None if each.ms is None else round(each.ms, 6))
        for each in timeline.segments
    ]


def test_the_segments_of_a_frame_from_capture_to_publication() -> None:
    timeline = join_timings(random.Random(1).sample(perception(), 3))
    assert written(timeline) == [
        ("transport", "preprocess", 2.0),
        ("queue", "preprocess", 1.0),
        ("process", "preprocess", 3.0),
        ("transport", "inference", 0.5),
        ("queue", "inference", 3.5),
        ("process", "inference", 20.0),
        ("transport", "decode", 0.5),
        ("queue", "decode", 0.5),
        ("process", "decode", 7.0),
        ("publish", "decode", 2.0),
    ]
    assert timeline.end_to_end_ms == pytest.approx(40.0)
    assert timeline.sum_ms == pytest.approx(40.0)
    assert (timeline.stamp_ns, timeline.frame_id, timeline.dropped) == (EPOCH_NS, "cam", "")
    assert timeline.last.stage == "decode"


def test_moments_that_are_not_given_are_unknown() -> None:
    plain = StageTiming("decode", "/ai/decode", 0.5, 2.0, 3.0)
    assert not share_clock(plain, plain)
    assert not share_clock(plain._replace(clock_id=CLOCK), plain._replace(clock_id=CLOCK))
    known = plain._replace(clock_id=CLOCK, ended_ns=10 * MS)
    assert share_clock(known, known)
    assert known.published_ns == known.ended_ns


def test_a_long_time_in_a_message_is_rounded() -> None:
    """The next stage arrives 2 us after the end; 400 s as float32 are up to 16 us too long."""
    first = timing("preprocess", 0, 1, 2)
    process_ms = float(np.float32(400_000.02))
    assert process_ms > 400_000.02 + 0.002
    second = timing("inference", 2.002, 2.002, 400_002.022)._replace(process_ms=process_ms)
    timeline = join_timings([first, second])
    assert timeline.clock_fault == ""
    assert written(timeline)[3] == ("transport", "inference", 0.0)
    collector = TimelineCollector()
    for each in (first, second):
        collector.add(each, 0)
    (found,) = collector.finish()
    assert [each.stage for each in found.stages] == ["preprocess", "inference"]


@given(
    st.lists(st.floats(0.0, 500.0, allow_subnormal=False), min_size=13, max_size=13),
    st.booleans(),
)
def test_the_sum_of_the_segments_is_the_age_at_publication(
    durations: list[float], is_behind_a_network: bool
) -> None:
    moments = [sum(durations[: index + 1]) for index in range(len(durations))]
    timings = []
    for index, stage in enumerate(("preprocess", "inference", "decode")):
        arrived, started, ended, published = moments[4 * index : 4 * index + 4]
        is_far = is_behind_a_network and stage == "inference"
        timings.append(
            timing(stage, arrived, started, ended, published, clock=8 if is_far else CLOCK)
        )
    timeline = join_timings(timings)
    # The last publication, on the clock of the capture.
    assert timeline.end_to_end_ms == pytest.approx(moments[11], abs=1e-4)
    assert timeline.sum_ms == pytest.approx(moments[11], abs=0.3)


def test_the_time_until_the_callback_is_apart_from_the_transport() -> None:
    first = timing("preprocess", 5, 5, 6, 7, receive_ms=3.5)
    assert written(join_timings([first]))[:2] == [
        ("transport", "preprocess", 1.5),
        ("receive", "preprocess", 3.5),
    ]
    # A step of the system clock between reception and callback makes it longer than the transport.
    stepped = join_timings([first._replace(receive_ms=4000.0)])
    assert written(stepped)[0] == ("transport", "preprocess", 5.0)
    assert stepped.sum_ms == pytest.approx(7.0)


def test_the_part_of_a_device_is_told() -> None:
    timings = [perception()[0], perception()[1]._replace(device_ms=15.0)]
    process = [each for each in join_timings(timings).segments if each.kind is SegmentKind.PROCESS]
    assert [each.device_ms for each in process] == [None, 15.0]


def test_without_a_stamp_only_the_capture_is_unknown() -> None:
    timings = [each._replace(clock_fault="stamp_zero") for each in perception(captured=None)]
    timeline = join_timings(timings)
    assert [ms for _, _, ms in written(timeline)] == [
        None, 1.0, 3.0, 0.5, 3.5, 20.0, 0.5, 0.5, 7.0, 2.0
    ]  # fmt: skip
    assert (timeline.end_to_end_ms, timeline.sum_ms) == (None, None)
    assert timeline.clock_fault == "stamp_zero"


def test_a_step_of_the_ros_clock_changes_only_ages() -> None:
    """A day later in the middle of a frame: the steady clock keeps the segments right."""
    day_ms = 86_400_000.0
    before, after, end = perception()
    stepped = [before, after._replace(age_ms=(after.age_ms or 0) + day_ms), end]
    assert join_timings(stepped).sum_ms == pytest.approx(40.0)


@pytest.mark.parametrize(("skew", "is_fault"), [(-38.0, True), (-0.4, False), (12.0, False)])
def test_clocks_of_machines_that_differ_are_a_fault_and_no_negative_time(
    skew: float, is_fault: bool
) -> None:
    far = timing("inference", 6.5, 10, 30, 31, clock=8, skew=skew)
    timeline = join_timings([far, perception()[0]])
    assert [each.stage for each in timeline.stages] == ["preprocess", "inference"]
    assert all(each.ms is None or each.ms >= 0 for each in timeline.segments)
    assert (timeline.clock_fault == CLOCKS_DIFFER) == is_fault
    assert (timeline.sum_ms is None) == is_fault
    assert (timeline.end_to_end_ms is None) == is_fault


@pytest.mark.parametrize("skew", [-38.0, 12.0])
def test_a_frame_that_returns_to_the_first_machine_has_a_true_end(skew: float) -> None:
    first, _, last = perception()
    far = timing("inference", 6.5, 10, 30, 31, clock=8, skew=skew)
    timeline = join_timings([last, far, first])
    assert [each.stage for each in timeline.stages] == ["preprocess", "inference", "decode"]
    assert (timeline.clock_fault, timeline.sum_ms) == (CLOCKS_DIFFER, None)
    assert timeline.end_to_end_ms == pytest.approx(40.0)


def test_a_stamp_ahead_of_the_clock_is_no_negative_transport() -> None:
    timeline = join_timings(perception(captured=20.0)[:1])
    assert timeline.segments[0].ms is None
    assert (timeline.clock_fault, timeline.end_to_end_ms) == (STAMP_IN_FUTURE, None)


@pytest.mark.parametrize("ended_ns", [2**63 - 1, CLOCK * 10**12 + 20 * MS])
def test_moments_that_contradict_each_other_are_no_times(ended_ns: int) -> None:
    first, second, third = perception()
    timeline = join_timings([first, second, third._replace(ended_ns=ended_ns)])
    assert all(each.ms is None or 0 <= each.ms < 1000 for each in timeline.segments)
    assert timeline.clock_fault == STEADY_CLOCK


def test_timings_without_moments_are_joined_by_their_ages() -> None:
    timings = [each._replace(ended_ns=0) for each in perception()]
    timeline = join_timings(timings[::-1])
    assert timeline.sum_ms == pytest.approx(40.0)


def test_a_dropped_frame_ends_where_it_was_dropped() -> None:
    first = perception()[0]
    dropped = timing("inference", 6.5, 25, 25, dropped="superseded")
    timeline = join_timings([dropped, first])
    assert timeline.dropped == "superseded"
    assert written(timeline)[-1] == ("queue", "inference", 18.5)
    assert timeline.end_to_end_ms is None


def test_what_is_not_known_of_the_publication_is_left_out() -> None:
    timeline = join_timings([perception()[0]._replace(publish_ms=None)])
    assert [kind for kind, _, _ in written(timeline)] == ["transport", "queue", "process"]
    assert timeline.end_to_end_ms == timeline.sum_ms == pytest.approx(6.0)


def test_no_timings_are_no_frame() -> None:
    with pytest.raises(ValueError, match="at least one stage, got none"):
        join_timings([])
