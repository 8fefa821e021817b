"""What detections and classifications in a message may be, in whichever package's form."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.composition.gate import MessageBounds
from edge_inference.errors import InputError

#: As many detections as a decoder may report; a vision_msgs one takes half a kilobyte.
RESULT_BOUNDS = MessageBounds(size=2 << 20, counts={"detections": 3000})
#: No corner lies further away, pixels.
_FARTHEST = 1e6
# Of rounding.
_SLACK = 1e-4


def check_boxes(boxes: NDArray[np.float32], name: str) -> None:
    """Raise InputError for corners that no picture has."""
    if boxes.size and not float(np.abs(boxes).max()) <= _FARTHEST:  # NaN, too
        raise InputError(
            f"{name}: expected corners of boxes within {_FARTHEST:g} pixels, got {_extremes(boxes)}"
        )


def check_scores(scores: NDArray[np.float32], name: str) -> None:
    """Raise InputError for scores that are no numbers from 0 to 1."""
    if scores.size and not (scores.min() >= -_SLACK and scores.max() <= 1.0 + _SLACK):  # NaN, too
        raise InputError(f"{name}: expected scores from 0 to 1, got {_extremes(scores)}")


def _extremes(values: NDArray[Any]) -> str:
    return f"{values.min():g} to {values.max():g}"
