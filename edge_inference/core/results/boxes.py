"""Boxes in source pixels, as the results of detectors have them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def box_ious(box: NDArray[np.floating], boxes: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the intersection over union of a box ``(4,)`` with each of ``(N, 4)``, x1 y1 x2 y2."""
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    intersections = np.prod(np.maximum(sides, 0), axis=1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    unions = np.prod(box[2:] - box[:2]) + areas - intersections
    return np.asarray(intersections / np.maximum(unions, np.finfo(np.float32).tiny))


def box_to_json(box: NDArray[Any]) -> list[float]:
    """Return x, y, width, height of a box ``(4,)`` x1 y1 x2 y2, with one decimal."""
    x1, y1, x2, y2 = (float(value) for value in box)
    return [round(value, 1) for value in (x1, y1, x2 - x1, y2 - y1)]
