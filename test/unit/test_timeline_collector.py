"""Each frame gives one timeline, whatever else is on its way."""

from __future__ import annotations

import itertools
import math
import random
import threading
from dataclasses import replace

import pytest

from edge_inference.core.runtime.latency import StageTiming
from edge_inference.observe.frame_timeline import FrameTimeline
from edge_inference.observe.timeline_collector import TimelineCollector
from timeline_cases import CLOCK, perception, timing

S = 1_000_000_000
Way = tuple[str, ...]


def stages(timeline: FrameTimeline) -> Way:
    return tuple(each.node.rpartition("/")[2] for each in timeline.stages)


def add_all(collector: TimelineCollector, timings: list[StageTiming]) -> list[FrameTimeline]:
    return [found for each in timings for found in collector.add(each, 0)]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_frame_is_complete_with_its_last_report(order: tuple[int, ...]) -> None:
    collector = TimelineCollector()
    timings = [perception()[index] for index in order]
    assert add_all(collector, timings[:2]) == []
    (timeline,) = add_all(collector, timings[2:])
    assert stages(timeline) == ("preprocess", "inference", "decode")
    assert timeline.is_complete
    assert timeline.sum_ms == pytest.approx(40.0)
    assert collector.finish() == []


def test_frames_of_two_cameras_and_two_pipelines_are_separate() -> None:
    frames = [
        perception(),
        perception(1.0, captured=-1.0, frame_id="rear"),
        perception(2.0, captured=-2.0, namespace="/ai_2"),
        perception(3.0),
    ]
    mixed = [timing for frame in frames for timing in frame]
    random.Random(3).shuffle(mixed)
    found = add_all(TimelineCollector(), mixed)
    expected = [(each[-1].frame_id, each[-1].node, each[-1].stamp_ns) for each in frames]
    assert sorted((t.frame_id, t.last.node, t.stamp_ns) for t in found) == sorted(expected)
    assert all(t.sum_ms == pytest.approx(t.end_to_end_ms) for t in found)


def test_two_models_on_one_camera_in_namespaces_of_their_own() -> None:
    other = [
        timing("preprocess", 2, 4, 5.5, 6, namespace="/ai_2"),
        timing("inference", 5.6, 6, 30.2, 30.3, namespace="/ai_2"),
        timing("decode", 30.3, 30.4, 39, 41, namespace="/ai_2"),
    ]
    mixed = [each for pair in zip(perception(), other, strict=True) for each in pair]
    found = add_all(TimelineCollector(), mixed)
    assert [each.stages for each in found] == [tuple(perception()), tuple(other)]


def test_frames_without_stamps_that_arrive_together_are_two_frames() -> None:
    """Both were preprocessed before another process has received the first one."""
    frames = [
        [
            timing("preprocess", start, start, start + 2, captured=None),
            timing("inference", arrived, arrived, arrived + 5, captured=None),
            timing("decode", arrived + 6, arrived + 6, arrived + 7, captured=None),
        ]
        for start, arrived in ((0, 10), (3, 10.5))
    ]
    first, second = frames
    order = [first[0], second[0], first[1], second[1], first[2], second[2]]
    collector = TimelineCollector()
    found = add_all(collector, order)
    assert len(found) == 2
    assert all(len(each.stages) == 3 and each.is_complete for each in found)
    assert collector.finish() == []


def test_a_branch_after_the_result_is_a_timeline_of_its_own() -> None:
    collector = TimelineCollector()
    overlay = timing("overlay", 39, 45, 60, 62)
    (result,) = add_all(collector, perception())
    (drawing,) = add_all(collector, [overlay])
    assert stages(drawing) == ("preprocess", "inference", "decode", "overlay")
    assert (result.end_to_end_ms, drawing.end_to_end_ms) == (
        pytest.approx(40.0),
        pytest.approx(62.0),
    )
    assert drawing.sum_ms == pytest.approx(62.0)


def test_two_models_in_one_namespace_after_one_preprocessing() -> None:
    start = timing("preprocess", 2, 3, 6, 7)
    ways = {
        "a": [
            timing("inference", 6.2, 7, 20.5, 21, node="/ai/inference_a", model="a"),
            timing("decode", 20.55, 20.6, 30, 31, node="/ai/decode_a", model="a"),
        ],
        "b": [
            timing("inference", 6.5, 7, 20.3, 21, node="/ai/inference_b", model="b"),
            timing("decode", 20.6, 21, 50, 51, node="/ai/decode_b", model="b"),
        ],
    }
    # The other model's inference ends last before the arrival at the decoder of b.
    found = add_all(TimelineCollector(), [start, *ways["a"], *ways["b"]])
    assert {stages(each) for each in found} == {
        ("preprocess", f"inference_{name}", f"decode_{name}") for name in ways
    }


def test_the_stage_of_another_package_is_part_of_the_way() -> None:
    collector = TimelineCollector(1.0)
    denoise = timing("denoise", 6.1, 6.2, 6.3, 6.4)
    track = timing("track", 39, 40, 50, 51)
    first, second, third = perception()
    found = add_all(collector, [first, denoise, second, third, track])
    assert [stages(each) for each in found] == [("preprocess", "denoise", "inference", "decode")]
    (late,) = collector.take_overdue(2 * S)
    assert stages(late) == ("preprocess", "denoise", "inference", "decode", "track")
    assert late.is_complete
    assert late.end_to_end_ms == pytest.approx(51.0)


def test_partial_speech_with_the_stamp_of_the_final_one() -> None:
    """The last partial segment before a pause ends with the same word as the final one."""
    collector = TimelineCollector(1.0)
    partial = timing("speech_recognition", 300, 310, 400, 401)
    utterance = [
        timing("speech_recognition", 650, 660, 700, 702),
        timing("intent_parser", 700.5, 701, 705, 706),
        timing("planner", 705.5, 706, 710, 711),
        timing("command", 710.5, 710.5, 712, 713),
    ]
    found = add_all(collector, [partial, *utterance])
    assert [stages(each) for each in found] == [
        ("speech_recognition", "intent_parser", "planner", "command")
    ]
    assert found[0].segments[0].ms == pytest.approx(650.0)
    assert found[0].sum_ms == found[0].end_to_end_ms == pytest.approx(713.0)
    (left,) = collector.finish()
    assert (left.stages, left.is_complete) == ((partial,), False)


@pytest.mark.parametrize("through_language_model", [True, False])
def test_a_sentence_may_take_the_way_through_a_language_model(
    through_language_model: bool,
) -> None:
    timings = [
        timing("speech_recognition", 650, 660, 700),
        timing("intent_parser", 700.5, 701, 705),
        timing("language_model", 705.5, 706, 990),
        timing("planner", 1000, 1001, 1002),
        timing("command", 1002, 1002, 1003),
    ]
    if not through_language_model:
        del timings[2]
    (found,) = add_all(TimelineCollector(), timings)
    assert found.stages == tuple(timings)


def test_frames_without_stamps_are_told_apart_by_their_moments() -> None:
    frames = [perception(15.0 * index, captured=None) for index in range(100)]
    by_end = sorted((each for frame in frames for each in frame), key=lambda each: each.ended_ns)
    collector = TimelineCollector()
    found = add_all(collector, by_end)
    assert [list(each.stages) for each in found] == frames
    assert collector.finish() == []


def test_a_dropped_frame_among_those_without_stamps() -> None:
    first, third = perception(0.0, captured=None), perception(50.0, captured=None)
    preprocessed = timing("preprocess", 10, 10, 12, 13, captured=None)
    dropped = timing("inference", 12.5, 60, 60, captured=None, dropped="superseded")
    mixed = [first[0], preprocessed, *first[1:], third[0], dropped, *third[1:]]
    found = add_all(TimelineCollector(), mixed)
    assert [each.stages for each in found] == [
        tuple(first),
        (preprocessed, dropped),
        tuple(third),
    ]
    assert [each.dropped for each in found] == ["", "superseded", ""]


def test_a_stage_that_never_reports() -> None:
    collector = TimelineCollector(1.0)
    first, _, third = perception()
    assert add_all(collector, [first, third]) == []
    assert collector.take_overdue(S) == []
    lost = collector.take_overdue(S + 1)
    assert [(stages(each), each.is_complete) for each in lost] == [
        (("preprocess",), False),
        (("decode",), True),
    ]


def test_a_frame_that_goes_on_is_not_overdue() -> None:
    collector = TimelineCollector(1.0)
    timings = perception()
    found = []
    for index, each in enumerate(timings):
        found += collector.add(each, index * 900_000_000)
    assert [stages(each) for each in found] == [("preprocess", "inference", "decode")]
    assert collector.take_overdue(10 * S) == []


def test_a_stage_that_restarts_in_the_middle_of_a_frame() -> None:
    collector = TimelineCollector(1.0)
    stopped = timing("inference", 6.5, 12, 12, dropped="stopped")
    (gone,) = add_all(collector, [perception()[0], stopped])
    assert (stages(gone), gone.dropped) == (("preprocess", "inference"), "stopped")
    (next_one,) = add_all(collector, perception(100.0))
    assert next_one.is_complete


def test_frames_on_two_machines() -> None:
    first, _, third = perception()
    far = timing("inference", 6.5, 10, 30, 31, clock=CLOCK + 1)
    (found,) = add_all(TimelineCollector(), [third, far, first])
    assert stages(found) == ("preprocess", "inference", "decode")
    assert found.sum_ms == pytest.approx(40.0, abs=0.1)


def test_ten_thousand_frame_ids_and_endless_stamps_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(TimelineCollector, "MAX_TIMINGS", 1000)
    collector = TimelineCollector()
    start = perception()[0]
    found = add_all(collector, [replace(start, frame_id=f"cam{n}") for n in range(10_000)])
    assert [each.frame_id for each in found] == [f"cam{n}" for n in range(9_000)]
    assert not any(each.is_complete for each in found)
    assert len(collector.finish()) == 1000
    assert len(add_all(collector, [start] * 5000)) == 5000 - TimelineCollector.MAX_SAME_STAMP


@pytest.mark.parametrize("field", ["queue_ms", "process_ms", "age_ms", "publish_ms"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_impossible_times_are_refused(field: str, value: float) -> None:
    collector = TimelineCollector()
    assert add_all(collector, [replace(perception()[0], **{field: value})]) == []
    assert (collector.refused, collector.finish()) == (1, [])


@pytest.mark.parametrize("ended_ns", [-(2**63), -1, 2**63 - 1])
def test_impossible_moments_do_no_harm(ended_ns: int) -> None:
    timings = [*perception()[:2], replace(perception()[2], ended_ns=ended_ns)]
    collector = TimelineCollector()
    found = [*add_all(collector, timings), *collector.finish()]
    assert sum(len(each.stages) for each in found) == 3
    for segment in (segment for each in found for segment in each.segments):
        assert segment.ms is None or 0.0 <= segment.ms < 1000.0


def test_timings_from_many_threads() -> None:
    collector = TimelineCollector()
    found: list[FrameTimeline] = []

    def feed(number: int) -> None:
        for index in range(200):
            for each in perception(captured=-1.0 - index, frame_id=f"cam{number}"):
                found.extend(collector.add(each, 0))

    threads = [threading.Thread(target=feed, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 800
    assert all(each.is_complete for each in found)
