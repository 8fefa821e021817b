"""Streaming average precision: worked examples of COCO's definition, and labels from strangers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_inference.core.results import Classification, Detections
from edge_inference.errors import ConfigError, InputError
from edge_inference.observe.streaming.recording_labels import LabeledFrame, load_recording_labels
from edge_inference.observe.streaming.streaming_agreement import PublishedResult
from edge_inference.observe.streaming.streaming_ap import (
    StreamingAp,
    average_precision,
    score_labeled_stream,
)

LABELS = ("cat", "dog")
PERIOD_NS = 40_000_000


def detections(*found: tuple[str, float, tuple[float, float, float, float]]) -> Detections:
    return Detections(
        np.array([box for _, _, box in found], np.float32).reshape(-1, 4),
        np.array([score for _, score, _ in found], np.float32),
        np.array([LABELS.index(label) for label, _, _ in found], np.int32),
        LABELS,
        640,
        480,
    )


def labeled(
    *found: tuple[str, tuple[float, float, float, float]], crowd: tuple[bool, ...] = ()
) -> LabeledFrame:
    return LabeledFrame(
        np.array([box for _, box in found], np.float64).reshape(-1, 4),
        tuple(name for name, _ in found),
        np.array(crowd or [False] * len(found), np.bool_),
    )


def score(
    labels: dict[int, LabeledFrame],
    results: list[Detections],
    late_frames: int = 0,
    frames: int = 0,
) -> StreamingAp:
    at = [index * PERIOD_NS for index in range(max(frames, len(results)))]
    published = [
        PublishedResult(time_ns, time_ns + late_frames * PERIOD_NS, result)
        for time_ns, result in zip(at, results, strict=False)
    ]
    return score_labeled_stream(at, published, labels, LABELS)


BOX = (0.0, 0.0, 100.0, 100.0)


@pytest.mark.parametrize(
    ("right", "positives", "expected"),
    [
        ([], 3, 0.0),
        ([True, True], 2, 1.0),
        # Recall 0.5 at precision 1: 51 of 101 points.
        ([True], 2, 51 / 101),
        # Right, wrong, right: precision 1 up to recall 0.5, then 2 of 3.
        ([True, False, True], 2, (51 + 50 * 2 / 3) / 101),
        # Wrong first: precision 0.5 everywhere.
        ([False, True], 1, 0.5),
        # The precision is made monotone: 2 of 3 is reached later than 1 of 2.
        ([False, True, True], 2, 2 / 3),
    ],
)
def test_the_area_below_precision_over_recall(
    right: list[bool], positives: int, expected: float
) -> None:
    assert average_precision(np.array(right, np.bool_), positives) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("shift", "thresholds"),
    # A box shifted by s of 100 has an IoU of (100 - s) / (100 + s).
    [(0, 10), (1, 10), (4, 9), (20, 4), (33, 1), (34, 0)],
)
def test_the_mean_over_the_thresholds(shift: float, thresholds: int) -> None:
    # IoU 0.98 passes 0.5 … 0.95; 0.923 up to 0.9; 0.667 up to 0.65; 0.504 only 0.5.
    moved = (shift, 0.0, 100.0 + shift, 100.0)
    ap = score({0: labeled(("cat", BOX))}, [detections(("cat", 0.9, moved))])
    assert ap.value == pytest.approx(thresholds / 10)


def test_the_latest_result_is_scored_at_each_frame() -> None:
    frames = {
        index: labeled(("cat", (50.0 * index, 0.0, 50.0 * index + 100, 100.0)))
        for index in range(5)
    }
    results = [detections(("cat", 0.9, tuple(frames[index].boxes[0]))) for index in range(5)]
    assert score(frames, results).value == 1.0
    assert score(frames, results, late_frames=1).value == 0.0
    still = dict.fromkeys(range(5), frames[0])
    # One frame late, the first of five frames has no box: recall 0.8 at precision 1.
    assert score(still, [results[0]] * 5, late_frames=1).value == pytest.approx(81 / 101)


def test_classes_are_averaged_and_unknown_ones_named() -> None:
    frame = labeled(("cat", BOX), ("dog", BOX), ("unicorn", BOX))
    ap = score({0: frame}, [detections(("cat", 0.9, BOX))])
    assert (ap.value, ap.by_class) == (0.5, {"cat": 1.0, "dog": 0.0})
    assert (ap.unknown_classes, ap.frames) == (("unicorn",), 1)


def test_a_box_is_right_once_and_the_surest_box_first() -> None:
    near = (5.0, 0.0, 105.0, 100.0)
    result = detections(("cat", 0.6, BOX), ("cat", 0.9, near))
    # The surest box takes the label at IoU 0.905: at 0.95 it is wrong, and the other one right.
    expected = (9 * 1.0 + 0.5) / 10
    assert score({0: labeled(("cat", BOX))}, [result]).value == pytest.approx(expected)


def test_boxes_of_all_frames_are_ranked_together() -> None:
    frames = {0: labeled(("cat", BOX)), 1: labeled(("cat", BOX))}
    twice = detections(("cat", 0.9, BOX), ("cat", 0.8, BOX))
    # Right, wrong (the label is taken), right.
    ap = score(frames, [twice, detections(("cat", 0.7, BOX))])
    assert ap.value == pytest.approx((51 + 50 * 2 / 3) / 101)
    away = detections(("cat", 0.5, (300.0, 0.0, 400.0, 100.0)))
    # The wrong box of the first frame is less sure than the right one of the second.
    assert score({0: labeled(), 1: labeled(("cat", BOX))}, [away, twice]).value == 1.0


def test_a_crowd_is_neither_right_nor_wrong() -> None:
    crowd = (200.0, 0.0, 400.0, 200.0)
    frame = labeled(("cat", BOX), ("cat", crowd), crowd=(False, True))
    inside = ("cat", 0.99, (210.0, 10.0, 230.0, 30.0))
    assert score({0: frame}, [detections(inside, inside, ("cat", 0.9, BOX))]).value == 1.0
    without = {0: labeled(("cat", BOX))}
    assert score(without, [detections(inside, ("cat", 0.9, BOX))]).value == 0.5


def test_only_labeled_frames_count() -> None:
    wrong, right = (
        detections(("cat", 0.9, (300.0, 0.0, 400.0, 100.0))),
        detections(("cat", 0.9, BOX)),
    )
    assert score({2: labeled(("cat", BOX))}, [wrong, wrong, right, wrong]).value == 1.0
    # A labelled frame without a box: the box there is a false alarm, before the right one.
    ap = score({0: labeled(), 1: labeled(("cat", BOX))}, [wrong, right])
    assert ap.value == 0.5


def test_what_cannot_be_scored_is_refused() -> None:
    frame = {0: labeled(("cat", BOX))}
    with pytest.raises(InputError, match="frames 0 to 1 of the recording, got one of frame 5"):
        score({5: labeled(("cat", BOX))}, [], frames=2)
    with pytest.raises(InputError, match="some of the model's classes, got unicorn"):
        score({0: labeled(("unicorn", BOX))}, [], frames=1)
    with pytest.raises(InputError, match="got no boxes"):
        score({0: labeled()}, [], frames=1)
    result = Classification(np.zeros(1, np.int32), np.ones(1, np.float32), LABELS)
    with pytest.raises(InputError, match="expected boxes, got Classification"):
        score_labeled_stream([0], [PublishedResult(0, 0, result)], frame, LABELS)


def coco(**changes: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 7}, {"id": 3}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [
            {"image_id": 7, "category_id": 1, "bbox": [10, 20, 30, 40]},
            {"image_id": 7, "category_id": 1, "bbox": [0, 0, 5.5, 5], "iscrowd": 1},
        ],
        **changes,
    }


def load(folder: Path, content: Any) -> dict[int, LabeledFrame]:
    file = folder / "labels.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return load_recording_labels(file)


def test_labels_in_the_format_of_coco(tmp_path: Path) -> None:
    frames = load(tmp_path, coco())
    assert sorted(frames) == [0, 1]  # the images 3 and 7
    assert frames[0].boxes.shape == (0, 4)
    assert frames[1].boxes.tolist() == [[10, 20, 40, 60], [0, 0, 5.5, 5]]
    assert frames[1].names == ("cat", "cat")
    assert frames[1].is_crowd.tolist() == [False, True]


def test_labels_name_their_frames(tmp_path: Path) -> None:
    frames = load(tmp_path, coco(images=[{"id": 7, "fid": 30}, {"id": 3, "fid": 0}]))
    assert sorted(frames) == [0, 30]
    assert len(frames[30].boxes) == 2


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "not JSON"),
        ("[1]", "images: expected a list|categories: expected a list"),
        (coco(images=[]), "at least one labelled frame"),
        (coco(images=[{"id": "a"}]), "images: id: expected a whole number, got 'a'"),
        (coco(images=[{"id": 7}, {"id": 7}]), "same id or fid"),
        (coco(images=[{"id": 7, "fid": 1}, {"id": 3, "fid": 1}]), "same id or fid"),
        (coco(images=[{"id": 7, "fid": 1}, {"id": 3}]), "fid: expected a whole number, got None"),
        (coco(images=[{"id": 7, "fid": -1}, {"id": 3, "fid": 1}]), "counts the frames from 0"),
        (coco(images=[{"id": 1}]), "image_id 7 is not among the images"),
        (coco(categories=[]), "category_id 1 is not among the categories"),
        (coco(categories=[{"id": 1, "name": ""}]), "name: expected a text, got ''"),
        (coco(annotations=[3]), "annotations: expected a list of objects"),
        *(
            (
                coco(annotations=[{"image_id": 7, "category_id": 1, "bbox": box}]),
                "bbox: expected",
            )
            for box in (None, [], [1, 2, 3], [1, 2, "3", 4], [0, 0, -1, 4], [True, 0, 1, 1], "abcd")
        ),
    ],
)
def test_wrong_labels_are_refused_in_one_sentence(
    tmp_path: Path, content: Any, problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        load(tmp_path, content)
    assert "labels.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_labels(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_recording_labels(tmp_path / "none.json")
