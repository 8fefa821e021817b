"""What detections and classifications in a message may be, in whichever package's form."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_inference.composition.message_bounds import MessageBounds
from edge_inference.errors import InputError

#: As many detections as a decoder may report; a vision_msgs one takes half a kilobyte.
RESULT_BOUNDS = MessageBounds(size=2 << 20, counts={"detections": 3000})
#: No corner lies further away, pixels.
_FARTHEST = 1e6
# Of rounding.
_SLACK = 1e-4


def to_boxes(corners: Sequence[Sequence[float]], name: str) -> NDArray[np.float32]:
    """Return float32 [n, 4]; raises InputError for corners that no image has."""
    boxes = np.array(corners, np.float64).reshape(-1, 4)
    if boxes.size and not np.abs(boxes).max() <= _FARTHEST:  # NaN, too
        raise InputError(
            f"{name}: expected corners of boxes within {_FARTHEST:g} pixels, got "
            f"{boxes.min():g} to {boxes.max():g}"
        )
    return boxes.astype(np.float32)


def to_scores(values: Sequence[float], name: str) -> NDArray[np.float32]:
    """Return float32 [n]; raises InputError for scores that are no numbers from 0 to 1."""
    scores = np.array(values, np.float64)
    if scores.size and not (scores.min() >= -_SLACK and scores.max() <= 1.0 + _SLACK):  # NaN, too
        raise InputError(
            f"{name}: expected scores from 0 to 1, got {scores.min():g} to {scores.max():g}"
        )
    return scores.astype(np.float32)
