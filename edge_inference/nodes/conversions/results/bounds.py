"""Checks of detections and classifications in messages, for all message types."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_inference.composition.message_bounds import MessageBounds
from edge_inference.errors import InputError

#: The maximum detections of a decoder; one of vision_msgs has half a kilobyte.
RESULT_BOUNDS = MessageBounds(size=2 << 20, counts={"detections": 3000})
#: Maximum distance of a corner from the origin, in pixels.
_MAX_DISTANCE = 1e6
# Tolerance for rounding.
_TOLERANCE = 1e-4


# Limits the list of labels, which is as long as the largest class number of a message.
_MAX_CLASS_ID = 65535


def to_boxes(corners: Sequence[Sequence[float]], name: str) -> NDArray[np.float32]:
    """Return float32 [n, 4]; raises InputError for invalid corners."""
    boxes = np.array(corners, np.float64).reshape(-1, 4)
    if boxes.size and not np.abs(boxes).max() <= _MAX_DISTANCE:  # also for NaN
        raise InputError(
            f"{name}: expected corners of boxes within {_MAX_DISTANCE:g} pixels, got "
            f"{boxes.min():g} to {boxes.max():g}"
        )
    return boxes.astype(np.float32)


def to_scores(values: Sequence[float], name: str) -> NDArray[np.float32]:
    """Return float32 [n]; raises InputError for scores that are not from 0 to 1."""
    scores = np.array(values, np.float64)
    if scores.size and not (
        scores.min() >= -_TOLERANCE and scores.max() <= 1.0 + _TOLERANCE
    ):  # also for NaN
        raise InputError(
            f"{name}: expected scores from 0 to 1, got {scores.min():g} to {scores.max():g}"
        )
    return scores.astype(np.float32)


def labels_by_class(class_ids: Sequence[int], names: Sequence[str]) -> tuple[str, ...]:
    """Return the labels of a message by class number; other classes have their number as name.

    Raises InputError for a class number that would make the list too long.
    """
    for class_id in class_ids:
        if not 0 <= class_id <= _MAX_CLASS_ID:
            raise InputError(f"class_id: expected 0 to {_MAX_CLASS_ID}, got {class_id}")
    known = dict(zip(class_ids, names, strict=True))
    return tuple(known.get(i, str(i)) for i in range(max(known, default=-1) + 1))
