"""Non-maximum suppression against the definition, written as two plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_inference.core.decoders.nms import non_maximum_suppression


def _iou_above(a, b, iou):
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    shared = width * height
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared > iou * union


def _reference(boxes, scores, class_ids, iou, class_agnostic):
    kept = []
    for i in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
        rivals = [j for j in kept if class_agnostic or class_ids[i] == class_ids[j]]
        if not any(_iou_above(boxes[j], boxes[i], iou) for j in rivals):
            kept.append(i)
    return kept


def _scene(rng, count, classes=3, extent=60):
    corner = rng.integers(0, extent, (count, 2))
    size = rng.integers(0, extent // 2, (count, 2))
    boxes = np.concatenate([corner, corner + size], axis=1).astype(np.float32)
    # Few distinct scores, so that ties are common.
    scores = (rng.integers(1, 12, count) / 12).astype(np.float32)
    return boxes, scores, rng.integers(0, classes, count).astype(np.int32)


def test_no_boxes():
    kept = non_maximum_suppression(
        np.zeros((0, 4), np.float32), np.zeros(0), np.zeros(0, np.int32), 0.5
    )
    assert kept.shape == (0,)


@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(0, 200),
    iou=st.sampled_from([0.0, 0.25, 0.3, 0.5, 0.7, 1.0]),
    class_agnostic=st.booleans(),
)
def test_equals_the_definition(seed, count, iou, class_agnostic):
    boxes, scores, class_ids = _scene(np.random.default_rng(seed), count)
    kept = non_maximum_suppression(boxes, scores, class_ids, iou, class_agnostic=class_agnostic)
    expected = _reference(boxes.tolist(), scores.tolist(), class_ids, iou, class_agnostic)
    assert kept.tolist() == expected


@pytest.mark.parametrize("limit", [1, 63, 64, 65, 130])
def test_a_limit_returns_the_first_boxes_of_the_full_result(limit):
    boxes, scores, class_ids = _scene(np.random.default_rng(1), 400, extent=4000)
    full = non_maximum_suppression(boxes, scores, class_ids, 0.5)
    assert len(full) > 130
    assert (
        non_maximum_suppression(boxes, scores, class_ids, 0.5, limit=limit).tolist()
        == full[:limit].tolist()
    )


def test_only_the_best_enter_the_comparison():
    boxes = np.array([[0, 0, 1, 1], [5, 5, 6, 6], [9, 9, 10, 10]], np.float32)
    scores = np.array([0.2, 0.9, 0.5], np.float32)
    assert non_maximum_suppression(
        boxes, scores, np.zeros(3, np.int32), 0.5, pre_limit=2
    ).tolist() == [1, 2]


def test_equal_scores_keep_the_lower_index():
    boxes = np.tile(np.array([[0, 0, 10, 10]], np.float32), (3, 1))
    kept = non_maximum_suppression(boxes, np.full(3, 0.5), np.zeros(3, np.int32), 0.5)
    assert kept.tolist() == [0]


@pytest.mark.parametrize(("class_agnostic", "expected"), [(False, [0, 1]), (True, [0])])
def test_classes_suppress_each_other_only_when_agnostic(class_agnostic, expected):
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 10]], np.float32)
    scores = np.array([0.9, 0.8])
    class_ids = np.array([0, 1])
    kept = non_maximum_suppression(boxes, scores, class_ids, 0.5, class_agnostic=class_agnostic)
    assert kept.tolist() == expected


def test_an_overlap_equal_to_the_threshold_stays():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 5]], np.float32)
    args = boxes, np.array([0.9, 0.8]), np.zeros(2, np.int32)
    assert non_maximum_suppression(*args, 0.5).tolist() == [0, 1]
    assert non_maximum_suppression(*args, 0.499).tolist() == [0]


def test_arguments_are_not_modified():
    boxes, scores, class_ids = _scene(np.random.default_rng(2), 50)
    copies = boxes.copy(), scores.copy(), class_ids.copy()
    non_maximum_suppression(boxes, scores, class_ids, 0.3)
    for now, before in zip((boxes, scores, class_ids), copies, strict=True):
        np.testing.assert_array_equal(now, before)


def _circles_overlap(some, others, iou):
    """Compare circles x, y, radius by their distance, for a radius of 1."""
    distance = np.hypot(
        some[:, None, 0] - others[None, :, 0], some[:, None, 1] - others[None, :, 1]
    )
    return distance < 2 * (1 - iou)


def test_other_shapes_than_upright_boxes_are_compared_by_a_function():
    circles = np.array([[0, 0, 1], [0.5, 0, 1], [5, 0, 1], [1.5, 0, 1]], np.float32)
    kept = non_maximum_suppression(
        circles,
        np.array([0.9, 0.8, 0.7, 0.6]),
        np.zeros(4, np.int32),
        0.5,
        overlaps=_circles_overlap,
    )
    assert kept.tolist() == [0, 2, 3]
