"""Streaming average precision (sAP) of a recording with labelled boxes.

Li, Wang and Ramanan, "Towards Streaming Perception", ECCV 2020: at each frame instant the latest
result is evaluated against that frame's labels. The average precision is that of COCO: mean over
IoU 0.5:0.05:0.95, 101 points of recall with the precision made monotone, at most 100 boxes of
a class and image, then the mean over the classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.results import Detections
from edge_inference.core.results.boxes import box_ious
from edge_inference.errors import InputError
from edge_inference.observe.streaming.recording_labels import LabeledFrame
from edge_inference.observe.streaming.streaming_agreement import PublishedResult, newest_results

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALL_POINTS = np.linspace(0.0, 1.0, 101)
_MAX_BOXES = 100


@dataclass(frozen=True)
class StreamingAp:
    """sAP: ``value`` is 0..1, with the part of each class in ``by_class``.

    ``frames`` are the labelled frames. ``unknown_classes`` have labelled boxes, but are not among
    the labels of the model: they are left out of the mean.
    """

    value: float
    by_class: Mapping[str, float]
    frames: int
    unknown_classes: tuple[str, ...]


def score_labeled_stream(
    frame_times_ns: Sequence[int],
    published: Sequence[PublishedResult],
    labels: Mapping[int, LabeledFrame],
    model_labels: Sequence[str],
) -> StreamingAp:
    """Return the sAP of the results of one run; ``labels`` are by number of frame.

    Results should have all boxes, with low scores, too. Raises InputError for results that are no
    boxes, for labels of frames that the recording does not have, and for labels of none of the
    model's classes.
    """
    last = max(labels, default=-1)
    if last >= len(frame_times_ns):
        raise InputError(
            f"labels: expected frames 0 to {len(frame_times_ns) - 1} of the recording, got one of "
            f"frame {last}; use the labels of this recording"
        )
    newest = newest_results(frame_times_ns, published)
    pairs = [(labels[number], _boxes(newest[number])) for number in sorted(labels)]
    names = {
        name
        for frame, _ in pairs
        for name, crowd in zip(frame.names, frame.is_crowd, strict=True)
        if not crowd
    }
    known = sorted(names & set(model_labels))
    if not known:
        raise InputError(
            f"labels: expected boxes of some of the model's classes, got "
            f"{', '.join(sorted(names)) or 'no boxes'}; name the categories like the model's labels"
        )
    by_class = {name: float(np.mean(_precisions(name, pairs))) for name in known}
    return StreamingAp(
        float(np.mean(list(by_class.values()))),
        by_class,
        len(pairs),
        tuple(sorted(names - set(known))),
    )


def _boxes(newest: PublishedResult | None) -> Detections | None:
    if newest is None:
        return None
    if not isinstance(newest.result, Detections):
        raise InputError(
            f"sAP: expected boxes, got {type(newest.result).__name__}; "
            "labelled recordings are for detection"
        )
    return newest.result


def _precisions(
    name: str, pairs: Sequence[tuple[LabeledFrame, Detections | None]]
) -> NDArray[np.float64]:
    """Return the average precision of a class at each IoU threshold."""
    matches = [_match_class(name, frame, result) for frame, result in pairs]
    positives = sum(
        each == name and not crowd
        for frame, _ in pairs
        for each, crowd in zip(frame.names, frame.is_crowd, strict=True)
    )
    scores = np.concatenate([score for score, _, _ in matches])
    order = np.argsort(-scores, kind="stable")
    is_right = np.concatenate([right for _, right, _ in matches], axis=1)[:, order]
    is_ignored = np.concatenate([ignored for _, _, ignored in matches], axis=1)[:, order]
    return np.array(
        [
            average_precision(right[~ignored], positives)
            for right, ignored in zip(is_right, is_ignored, strict=True)
        ]
    )


def average_precision(is_right: NDArray[np.bool_], positives: int) -> float:
    """Return the area below the monotone precision over recall, at 101 points.

    ``is_right`` are the boxes of one class, best score first.
    """
    right = np.cumsum(is_right)
    recall = right / positives
    precision = right / np.arange(1, len(right) + 1)
    monotone = np.maximum.accumulate(precision[::-1])[::-1]
    positions = np.searchsorted(recall, RECALL_POINTS, side="left")
    reached = positions < len(recall)
    return float(np.sum(monotone[positions[reached]]) / len(RECALL_POINTS))


def _match_class(
    name: str, frame: LabeledFrame, result: Detections | None
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Match the boxes of a class in one frame.

    Returns their scores ``(N,)``, and at each threshold ``(T, N)`` which are right and ignored.
    """
    thresholds = len(IOU_THRESHOLDS)
    if result is None:
        nothing = np.zeros((thresholds, 0), np.bool_)
        return np.zeros(0), nothing, nothing
    best_first = np.argsort(-result.scores, kind="stable").tolist()
    own = [index for index in best_first if result.label(index) == name][:_MAX_BOXES]
    is_named = np.array([each == name for each in frame.names], np.bool_)
    expected = frame.boxes[is_named & ~frame.is_crowd]
    crowds = frame.boxes[is_named & frame.is_crowd]
    right = np.zeros((thresholds, len(own)), np.bool_)
    ignored = np.zeros((thresholds, len(own)), np.bool_)
    free = np.ones((thresholds, len(expected)), np.bool_)
    for position, index in enumerate(own):
        box = result.boxes[index].astype(np.float64)
        ious = box_ious(box, expected)
        in_crowd = _share_inside(box, crowds)
        for row, threshold in enumerate(IOU_THRESHOLDS):
            candidates = np.where(free[row], ious, -1.0)
            if candidates.size and candidates.max() >= threshold:
                free[row, int(candidates.argmax())] = False
                right[row, position] = True
            else:
                ignored[row, position] = bool(in_crowd >= threshold)
    return result.scores[own].astype(np.float64), right, ignored


def _share_inside(box: NDArray[np.float64], crowds: NDArray[np.float64]) -> float:
    """Return the largest share of a box that is inside one crowd."""
    sides = np.minimum(box[2:], crowds[:, 2:]) - np.maximum(box[:2], crowds[:, :2])
    shares = np.prod(np.maximum(sides, 0), axis=1) / max(float(np.prod(box[2:] - box[:2])), 1e-9)
    return float(shares.max(initial=0.0))
