"""Scores the newest result at one frame instant, as counts that can be added over frames.

The score of a recording is a function of the summed counts (micro average), so that a bootstrap
has to add counts only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.results import (
    Classification,
    Detections,
    Result,
    Segmentation,
    kind_of,
)
from edge_inference.core.results.boxes import box_ious
from edge_inference.core.results.result import AnyResult
from edge_inference.core.results.result_agreement import MATCH_IOU, expect_same_shape
from edge_inference.errors import InputError

#: Boxes with a score at most this far below the confidence are in the band: never wrong.
SCORE_BAND = 0.15


class FrameScoring(ABC, Generic[AnyResult]):
    """How results of one kind are scored; ``measure`` names the score."""

    measure: str

    @abstractmethod
    def count(self, reference: AnyResult, newest: AnyResult | None) -> NDArray[np.float64]:
        """Return the counts ``(K,)`` of one frame; ``newest`` is None before the first result."""

    @abstractmethod
    def scores(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the score, 0..1, of each row of summed counts ``(N, K)``; NaN is undefined."""


class DetectionScoring(FrameScoring[Detections]):
    """Micro-averaged F1 of boxes of the same class, with a band in which no box is wrong.

    ``confidence`` is the score from which a box counts; both sides also have the boxes of the band
    below it; boxes below that are ignored. A box of the reference is found by any box of the newest
    result. A box of the newest result that finds no box of the reference is a false alarm, unless
    the reference has a box in the band there: two engines place a box near the threshold on either
    side of it.
    """

    measure = f"F1 at IoU {MATCH_IOU:g}"

    def __init__(self, confidence: float) -> None:
        self._confidence = np.float32(confidence)
        self._band = np.float32(confidence - SCORE_BAND)

    def count(self, reference: Detections, newest: Detections | None) -> NDArray[np.float64]:
        """Return the numbers of boxes found, of false alarms, and of boxes missed."""
        expected = reference.scores >= self._confidence
        if newest is None:
            return np.array([0, 0, np.count_nonzero(expected)], np.float64)
        actual = newest.scores >= self._confidence
        free = np.array(expected)
        unmatched = _match(newest, actual, reference, free)
        _match(newest, self._in_band(newest), reference, free)
        false_alarms = _match(newest, unmatched, reference, self._in_band(reference))
        missed = np.count_nonzero(free)
        found = np.count_nonzero(expected) - missed
        return np.array([found, np.count_nonzero(false_alarms), missed], np.float64)

    def scores(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return 2 found / (2 found + false alarms + missed)."""
        twice = 2 * counts[:, 0]
        return _ratio(twice, twice + counts[:, 1] + counts[:, 2])

    def _in_band(self, result: Detections) -> NDArray[np.bool_]:
        return np.asarray((result.scores >= self._band) & (result.scores < self._confidence))


class ClassificationScoring(FrameScoring[Classification]):
    """The share of frames whose best class is that of the reference."""

    measure = "top-1"

    def count(
        self, reference: Classification, newest: Classification | None
    ) -> NDArray[np.float64]:
        """Return whether both name the same class first, and whether the frame counts."""
        expected, actual = (
            None if result is None or not len(result) else result.label(0)
            for result in (reference, newest)
        )
        is_counted = expected is not None or actual is not None
        return np.array([is_counted and expected == actual, is_counted], np.float64)

    def scores(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the share of the frames that count."""
        return _ratio(counts[:, 0], counts[:, 1])


class SegmentationScoring(FrameScoring[Segmentation]):
    """The mean over the classes of the intersection over union of all frames' pixels (mIoU).

    Pixels that are unknown in the reference do not count. ``classes`` is the number of classes.
    """

    measure = "mIoU"

    def __init__(self, classes: int) -> None:
        self._classes = classes

    def count(self, reference: Segmentation, newest: Segmentation | None) -> NDArray[np.float64]:
        """Return the intersection of each class, then the union of each class."""
        is_known = reference.mask != reference.unknown_id
        expected = reference.mask[is_known]
        areas = self._areas(expected)
        if newest is None:
            return np.concatenate([np.zeros_like(areas), areas])
        if newest.labels != reference.labels:
            raise InputError(
                "masks: expected the labels of the reference's model, got others; "
                "score a segmentation against a variant of the same model"
            )
        expect_same_shape("masks", reference.mask, newest.mask)
        actual = newest.mask[is_known]
        shared = self._areas(expected[expected == actual])
        actual = actual[actual != newest.unknown_id]
        return np.concatenate([shared, areas + self._areas(actual) - shared])

    def scores(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the mean over the classes that occur on either side."""
        shared, unions = np.hsplit(counts, 2)
        occurs = unions > 0
        return _ratio((shared / np.where(occurs, unions, 1)).sum(axis=1), occurs.sum(axis=1))

    def _areas(self, class_ids: NDArray[Any]) -> NDArray[np.float64]:
        return np.bincount(class_ids, minlength=self._classes)[: self._classes].astype(np.float64)


def scoring_for(reference: Sequence[Result], confidence: float | None) -> FrameScoring[Any]:
    """Return how results like those of the reference are scored.

    ``confidence`` is the score from which a box counts; None counts all. Raises InputError for a
    kind of result for which no streaming score is defined.
    """
    first = reference[0]
    for result in reference:
        expect_same_kind(first, result)
    if isinstance(first, Detections):
        return DetectionScoring(0.0 if confidence is None else confidence)
    if isinstance(first, Classification):
        return ClassificationScoring()
    if isinstance(first, Segmentation):
        ids = (each.mask[each.mask != each.unknown_id] for each in _masks(reference))
        largest = max((int(found.max()) for found in ids if found.size), default=0)
        return SegmentationScoring(max(largest + 1, len(first.labels)))
    raise InputError(
        f"streaming agreement is not defined for results of the kind {kind_of(first).name}; "
        "expected detection, classification or segmentation"
    )


def expect_same_kind(reference: Result, result: Result) -> None:
    """Raise InputError for a result of another kind than the reference's."""
    if type(result) is not type(reference):
        raise InputError(
            f"results: expected {type(reference).__name__} as in the reference, got "
            f"{type(result).__name__}; score models of the same task"
        )


def _masks(results: Sequence[Any]) -> Sequence[Segmentation]:
    return results


def _match(
    detections: Detections,
    candidates: NDArray[np.bool_],
    others: Detections,
    free: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Match each candidate, best score first, with the free box that it overlaps most.

    Takes the matched boxes out of ``free``; returns which candidates have no match.
    """
    unmatched = np.array(candidates)
    labels = np.array([others.label(index) for index in range(len(others))], dtype=np.str_)
    boxes = others.boxes.astype(np.float64)
    order = np.argsort(-detections.scores, kind="stable")
    for index in order[candidates[order]]:
        same_label = np.flatnonzero(free & (labels == detections.label(int(index))))
        ious = box_ious(detections.boxes[index].astype(np.float64), boxes[same_label])
        if ious.max(initial=0.0) >= MATCH_IOU:
            free[same_label[ious.argmax()]] = False
            unmatched[index] = False
    return unmatched


def _ratio(values: NDArray[Any], totals: NDArray[Any]) -> NDArray[np.float64]:
    """Divide; NaN where the total is 0, so that nothing was counted."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(totals > 0, values / totals, np.nan).astype(np.float64)
