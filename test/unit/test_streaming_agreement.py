"""Streaming agreement follows its definition: the newest result against the best one offline."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_inference.core.results import Classification, DepthMap, Detections, Result, Segmentation
from edge_inference.errors import InputError, TensorError
from edge_inference.observe.streaming.block_bootstrap import (
    MIN_BLOCKS,
    bootstrap_interval,
    student_quantile,
)
from edge_inference.observe.streaming.streaming_agreement import (
    PublishedResult,
    StreamingScore,
    StreamReference,
    compare_scores,
    newest_results,
    score_stream,
)

LABELS = ("cat", "dog")
PERIOD_NS = 100_000_000
CONFIDENCE = 0.4
Box = tuple[str, float, tuple[float, float, float, float]]


def detections(*found: Box) -> Detections:
    return Detections(
        np.array([box for _, _, box in found], np.float32).reshape(-1, 4),
        np.array([score for _, score, _ in found], np.float32),
        np.array([LABELS.index(label) for label, _, _ in found], np.int32),
        LABELS,
        640,
        480,
    )


def cat(x: float, score: float = 0.9) -> Box:
    return ("cat", score, (x, 0, x + 100, 100))


def dog(x: float, score: float = 0.9) -> Box:
    return ("dog", score, (x, 0, x + 100, 100))


def times(count: int) -> list[int]:
    return [7_000_000_000 + index * PERIOD_NS for index in range(count)]


def play(
    reference: list[Result],
    actual: list[Result],
    delay_ns: int = 0,
    *,
    confidence: float | None = CONFIDENCE,
    warmup_s: float = 0.0,
) -> StreamingScore:
    """Score results that are each published the same time after their frame."""
    at = times(len(reference))
    published = [
        PublishedResult(time_ns, time_ns + delay_ns, result)
        for time_ns, result in zip(at, actual, strict=False)
    ]
    stream_reference = StreamReference(tuple(reference), confidence, "best")
    return score_stream(at, published, stream_reference, warmup_s=warmup_s)


def test_results_in_time_are_perfect_and_never_more() -> None:
    frames: list[Result] = [detections(cat(10 * index), dog(300)) for index in range(10)]
    score = play(frames, frames)
    assert (score.value, score.frames, score.warmup) == (1.0, 10, 0)
    assert (score.without_result, score.mean_age_ms) == (0, 0.0)


def test_no_results_at_all_score_nothing() -> None:
    score = play([detections(cat(0))] * 5, [])
    assert (score.value, score.without_result, score.mean_age_ms) == (0.0, 5, None)


def test_nothing_to_find_and_nothing_found_is_undefined() -> None:
    assert play([detections()] * 5, []).value is None
    assert play([detections()] * 5, [detections()] * 5).value is None


@pytest.mark.parametrize(
    ("step", "iou"), [(30, 70 / 130), (33, 67 / 133), (34, 66 / 134), (100, 0)]
)
def test_a_result_of_the_frame_before_is_right_only_while_the_box_still_overlaps(
    step: float, iou: float
) -> None:
    # The box moves by its step in each frame. One frame late, the first frame has no result.
    frames: list[Result] = [detections(cat(step * index)) for index in range(11)]
    score = play(frames, frames, PERIOD_NS)
    found = 10 if iou >= 0.5 else 0
    wrong = 10 - found
    missed = 1 + wrong
    assert score.value == pytest.approx(2 * found / (2 * found + wrong + missed))
    assert (score.without_result, score.mean_age_ms) == (1, 100.0)


def test_a_result_counts_from_the_instant_at_which_it_is_published() -> None:
    frames: list[Result] = [detections(cat(1000 * index)) for index in range(6)]
    assert play(frames, frames, 0).value == 1.0
    assert play(frames, frames, 1).value == 0.0


@pytest.mark.parametrize(
    ("reference", "actual", "found", "false_alarms", "missed"),
    [
        pytest.param([cat(0)], [dog(0)], 0, 1, 1, id="class differs"),
        pytest.param([cat(0)], [cat(0), cat(1)], 1, 1, 0, id="a box is found once"),
        pytest.param([cat(0, 0.4)], [], 0, 0, 1, id="at the confidence it must be found"),
        pytest.param([cat(0, 0.39)], [], 0, 0, 0, id="in the band it need not"),
        pytest.param([cat(0, 0.39)], [cat(0)], 0, 0, 0, id="in the band it excuses"),
        pytest.param([cat(0, 0.39)], [dog(0)], 0, 1, 0, id="but no other class"),
        pytest.param([cat(0, 0.39)], [cat(60)], 0, 1, 0, id="nor another place"),
        pytest.param([cat(0, 0.39)], [cat(0), cat(1)], 0, 1, 0, id="nor two boxes"),
        pytest.param([cat(0)], [cat(0, 0.3)], 1, 0, 0, id="a box of the band satisfies"),
        pytest.param([], [cat(0, 0.3)], 0, 0, 0, id="and is no false alarm"),
        pytest.param([cat(0)], [cat(0, 0.25)], 1, 0, 0, id="down to the end of the band"),
        pytest.param([cat(0)], [cat(0, 0.24)], 0, 0, 1, id="below the band it is nothing"),
        pytest.param([cat(0, 0.24)], [cat(0)], 0, 1, 0, id="nor does it excuse there"),
        pytest.param([cat(0)], [cat(5, 0.9), cat(0, 0.3)], 1, 0, 0, id="sure boxes match first"),
        pytest.param(
            [cat(0), cat(40)], [cat(10, 0.3), cat(40, 0.9)], 2, 0, 0, id="each with its own"
        ),
        pytest.param(
            [cat(0), cat(0, 0.3)], [cat(0), cat(2)], 1, 0, 0, id="the second alarm is excused"
        ),
        pytest.param([cat(0)], [cat(0, 0.4)], 1, 0, 0, id="equal to the confidence"),
    ],
)
def test_the_band_around_the_confidence(
    reference: list[Box], actual: list[Box], found: int, false_alarms: int, missed: int
) -> None:
    # A second, plain frame keeps the figure defined.
    plain = detections(dog(500))
    score = play([detections(*reference), plain], [detections(*actual), plain])
    total = 2 * (found + 1) + false_alarms + missed
    assert score.value == pytest.approx(2 * (found + 1) / total)


def test_the_surest_box_is_matched_first_wherever_it_is_listed() -> None:
    # The box at 19 overlaps both of the reference, that at 0 a bit more; the box at -30 only that
    # at 0. As listed, the first one would take it, and nothing would be found at 40.
    reference = detections(cat(0), cat(40))
    assert play([reference], [detections(cat(19, 0.6), cat(-30, 0.9))]).value == 1.0
    assert play([reference], [detections(cat(19, 0.9), cat(-30, 0.6))]).value == 0.5


def test_classes_are_compared_by_name() -> None:
    other = Detections(
        np.array([[0, 0, 100, 100]], np.float32),
        np.array([0.9], np.float32),
        np.array([5], np.int32),
        ("", "", "", "", "", "cat"),
        640,
        480,
    )
    assert play([detections(cat(0))], [other]).value == 1.0


def test_warmup_is_skipped_on_both_sides() -> None:
    frames: list[Result] = [detections(cat(0))] * 20
    blind: list[Result] = [detections()] * 10 + frames[10:]
    score = play(frames, blind, warmup_s=1.0)
    assert (score.value, score.warmup, score.frames) == (1.0, 10, 10)
    assert play(frames, blind).value == pytest.approx(2 * 10 / (2 * 10 + 10))


def test_results_out_of_order_and_twice() -> None:
    at = times(4)
    first, second, again = detections(cat(0)), detections(cat(1)), detections(cat(2))
    published = [
        PublishedResult(at[1], at[2], second),
        PublishedResult(at[0], at[2] + 1, first),  # older, and late: never the newest
        PublishedResult(at[1], at[3], again),
    ]
    newest = [None if each is None else each.result for each in newest_results(at, published)]
    assert newest == [None, None, second, again]
    late = [PublishedResult(at[1], at[2], second), PublishedResult(at[0], at[3], first)]
    found = newest_results(at, late)[3]
    assert found is not None
    assert found.result is second
    ties = [PublishedResult(at[1], at[2], second), PublishedResult(at[0], at[2], first)]
    for order in (ties, ties[::-1]):
        found = newest_results(at, order)[2]
        assert found is not None
        assert found.result is second


@given(
    delays=st.lists(st.integers(0, 12), min_size=30, max_size=30),
    later=st.lists(st.integers(0, 6), min_size=30, max_size=30),
    step=st.floats(1, 60),
)
def test_later_results_never_score_higher_on_steady_motion(
    delays: list[int], later: list[int], step: float
) -> None:
    at = times(30)
    frames = tuple(detections(cat(step * index)) for index in range(30))
    reference = StreamReference(frames, CONFIDENCE, "best")

    def score(periods: list[int]) -> float:
        published = [
            PublishedResult(time_ns, time_ns + PERIOD_NS * late // 4, frame)
            for time_ns, late, frame in zip(at, periods, frames, strict=True)
        ]
        value = score_stream(at, published, reference, warmup_s=0).value
        assert value is not None
        return value

    slower = [one + other for one, other in zip(delays, later, strict=True)]
    assert score(slower) <= score(delays)


def classes(*found: tuple[int, float]) -> Classification:
    return Classification(
        np.array([class_id for class_id, _ in found], np.int32),
        np.array([score for _, score in found], np.float32),
        LABELS,
    )


def test_classification_is_the_share_of_frames_with_the_same_best_class() -> None:
    a, b, nothing = classes((0, 0.9), (1, 0.1)), classes((1, 0.6), (0, 0.4)), classes()
    frames: list[Result] = [a, a, b, b, nothing]
    assert play(frames, [a, b, b, nothing, nothing], confidence=None).value == 0.5
    assert play(frames, [], confidence=None).value == 0.0
    assert play(frames, [a, a, b, b, a], confidence=None).value == pytest.approx(4 / 5)
    assert play([nothing], [nothing], confidence=None).value is None


def mask(*rows: list[int], labels: tuple[str, ...] = LABELS) -> Segmentation:
    return Segmentation(np.array(rows, np.uint8), labels, 0.9)


def test_segmentation_is_the_mean_iou_of_the_classes_over_all_frames() -> None:
    reference: list[Result] = [mask([0, 0, 1, 255]), mask([0, 1, 1, 1])]
    actual: list[Result] = [mask([0, 1, 1, 1]), mask([0, 1, 1, 255])]
    # Class 0: shared 2, union 3. Class 1: shared 3, union 5; an unknown pixel finds nothing.
    expected = (2 / 3 + 3 / 5) / 2
    assert play(reference, actual, confidence=None).value == pytest.approx(expected)
    assert play(reference, [], confidence=None).value == 0.0
    assert play(reference, reference, confidence=None).value == 1.0
    wide = tuple(str(number) for number in range(300))
    full: list[Result] = [mask([0, 0, 1, 1], labels=wide)]
    half: list[Result] = [mask([0, 255, 1, 255], labels=wide)]  # 255 is unknown, and no class
    assert play(full, half, confidence=None).value == 0.5


def test_what_cannot_be_scored_is_refused() -> None:
    depth = DepthMap(np.ones((2, 2), np.float32), "m")
    with pytest.raises(InputError, match="not defined for results of the kind depth; expected det"):
        play([depth], [depth])
    with pytest.raises(InputError, match="expected Detections as in the reference, got Classif"):
        play([detections(cat(0))], [classes((0, 0.9))])
    with pytest.raises(InputError, match="expected Detections as in the reference, got Classif"):
        play([detections(cat(0)), classes((0, 0.9))], [])
    with pytest.raises(TensorError, match="masks: expected shape"):
        play([mask([0, 1])], [mask([0, 1], [0, 1])], confidence=None)
    with pytest.raises(InputError, match="expected the labels of the reference"):
        play([mask([0, 1])], [mask([0, 1], labels=("a", "b"))], confidence=None)


def test_wrong_times_are_refused() -> None:
    frame = detections(cat(0))
    reference = StreamReference((frame, frame), CONFIDENCE, "best")
    with pytest.raises(InputError, match="expected ascending ones, got 5 ns after 5 ns at frame 1"):
        score_stream([5, 5], [], reference, warmup_s=0)
    with pytest.raises(InputError, match="one result for each of 1 frames, got 2"):
        score_stream([5], [], reference, warmup_s=0)
    with pytest.raises(InputError, match="at least one frame, got none"):
        score_stream([], [], StreamReference((), CONFIDENCE, "best"))
    with pytest.raises(InputError, match="published after it, got 3 ns; take both times"):
        score_stream([5, 6], [PublishedResult(5, 3, frame)], reference, warmup_s=0)
    with pytest.raises(
        InputError, match=r"more than the warm-up of 1 s, got 2 frame\(s\) in 0\.50 s"
    ):
        score_stream([0, 500_000_000], [], reference)


def test_the_interval_is_that_of_one_second_blocks() -> None:
    # Ten frames a second: the seconds alternate between all right and all wrong.
    right, wrong = detections(cat(0)), detections()
    frames: list[Result] = [right] * 100
    alternating: list[Result] = [right if index // 10 % 2 else wrong for index in range(100)]
    mixed: list[Result] = [right if index % 2 else wrong for index in range(100)]
    by_second, by_frame = play(frames, alternating), play(frames, mixed)
    assert by_second.value == by_frame.value == pytest.approx(2 / 3)
    assert by_second.interval is not None
    assert by_second.interval[0] < 0.5 < 0.8 < by_second.interval[1]
    assert by_frame.interval == pytest.approx((2 / 3, 2 / 3))
    assert play(frames[:54], alternating[:54]).interval is None


def test_the_difference_is_paired() -> None:
    # Both are wrong in the same seconds; the first one also in one frame of each second.
    right, wrong = detections(cat(0)), detections()
    frames: list[Result] = [right] * 100
    base: list[Result] = [right if index // 10 % 2 else wrong for index in range(100)]
    worse: list[Result] = [wrong if index % 10 == 3 else each for index, each in enumerate(base)]
    difference = compare_scores(play(frames, worse), play(frames, base))
    assert difference is not None
    assert difference.value == pytest.approx(2 * 45 / (2 * 45 + 55) - 2 / 3)
    assert difference.interval is not None
    assert difference.interval[0] - 1e-9 <= difference.value <= difference.interval[1]
    assert difference.interval[1] - difference.interval[0] < 0.1
    assert difference.is_significant
    same = compare_scores(play(frames, base), play(frames, base))
    assert same is not None
    assert (same.value, same.interval, same.is_significant) == (0.0, (0.0, 0.0), False)


def test_differences_need_one_recording() -> None:
    frames: list[Result] = [detections(cat(0))] * 20
    with pytest.raises(InputError, match="expected two of one recording and measure, got F1"):
        compare_scores(play(frames, frames), play(frames[:10], frames[:10]))
    a: list[Result] = [classes((0, 0.9))] * 20
    with pytest.raises(InputError, match="play the same recording"):
        compare_scores(play(frames, frames), play(a, a, confidence=None))
    empty: list[Result] = [detections()] * 20
    assert compare_scores(play(frames, frames), play(empty, empty)) is None


def _share(sums: Any) -> Any:
    return sums[:, 0] / sums[:, 1]


@pytest.mark.parametrize("blocks", [8, 20])
def test_intervals_cover_the_true_value(blocks: int) -> None:
    # The share of right frames varies from second to second, around 0.7.
    random = np.random.default_rng(3)
    covered = 0
    trials = 300
    for _ in range(trials):
        right = random.beta(7, 3, size=blocks) * 25
        interval = bootstrap_interval(np.column_stack([right, np.full(blocks, 25.0)]), _share)
        assert interval is not None
        covered += interval[0] <= 0.7 <= interval[1]
    assert 0.91 <= covered / trials <= 0.985


def test_too_few_blocks_have_no_interval() -> None:
    blocks = np.column_stack([np.arange(6.0), np.full(6, 5.0)])
    assert bootstrap_interval(blocks[: MIN_BLOCKS - 1], _share) is None
    assert bootstrap_interval(blocks[:MIN_BLOCKS], _share) is not None


def test_a_statistic_that_some_resamples_lack_has_no_interval() -> None:
    blocks = np.zeros((8, 2))
    blocks[0] = 1
    with np.errstate(invalid="ignore"):
        assert bootstrap_interval(blocks, _share) is None


@pytest.mark.parametrize(
    ("probability", "degrees", "table"),
    [(0.975, 5, 2.5706), (0.975, 9, 2.2622), (0.975, 30, 2.0423), (0.95, 5, 2.0150)],
)
def test_quantiles_of_student(probability: float, degrees: int, table: float) -> None:
    assert student_quantile(probability, degrees) == pytest.approx(table, rel=0.005)
    assert math.isclose(student_quantile(1 - probability, degrees), -table, rel_tol=0.005)
