"""The forms in which models return boxes: order of the coordinates, and their scale."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.decoders.registry import DecodeContext
from edge_inference.errors import TensorError

#: By name of the order: the columns of x1, y1, x2, y2, or of two points of another meaning.
_COLUMNS: dict[str, list[int]] = {
    "xyxy": [0, 1, 2, 3],
    "yxyx": [1, 0, 3, 2],
    "xywh": [0, 1, 2, 3],
    "cxcywh": [0, 1, 2, 3],
}
BOX_ORDERS = tuple(_COLUMNS)
BOX_ORDER_TEXT = (
    "order of a box: yxyx in TensorFlow, usually xyxy in other frameworks; xywh: corner and size; "
    "cxcywh: centre and size"
)
_LARGEST_NORMALIZED = 1.51
"""A box with its centre in the image, and as large as the image, ends at 1.5, if not rounded."""


def corners(centers: NDArray[np.float32], sizes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Convert ``(N, 2)`` centres and sizes to ``(N, 4)`` x1, y1, x2, y2."""
    half = sizes * 0.5
    return np.concatenate([centers - half, centers + half], axis=1)


def input_size(context: DecodeContext) -> NDArray[np.float32]:
    """Return width, height of the model's input, the scale of normalized x, y pairs."""
    return np.array([context.input_width, context.input_height], dtype=np.float32)


def to_corners(
    boxes: NDArray[np.float32], order: str, source: str, setting: str = "box_order"
) -> NDArray[np.float32]:
    """Convert ``(N, 4)`` boxes of an order in ``BOX_ORDERS`` to x1, y1, x2, y2.

    Raises TensorError if most of the boxes have their second corner before their first one, which
    is so for centres and sizes that are taken for corners. ``setting`` names the setting of the
    order in the error.
    """
    boxes = boxes[:, _COLUMNS[order]]
    if order == "cxcywh":
        return corners(boxes[:, :2], boxes[:, 2:])
    if order == "xywh":
        return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    inverted = np.flatnonzero((boxes[:, 2:] < boxes[:, :2]).any(axis=1))
    if 2 * len(inverted) > len(boxes):
        values = ", ".join(f"{value:.4g}" for value in boxes[inverted[0]])
        raise TensorError(
            f"output {source!r}: expected boxes x1, y1, x2, y2 with x1 <= x2 and y1 <= y2, got "
            f"{values} in {len(inverted)} of {len(boxes)}; these may be centre and size, so "
            f"correct {setting} in model.yaml"
        )
    return boxes


def to_pixels(
    boxes: NDArray[np.float32],
    context: DecodeContext,
    normalized: bool,
    source: str,
    hint: str = "",
) -> NDArray[np.float32]:
    """Return ``(N, 4)`` boxes, x before y, in pixels of the input.

    Raises TensorError for values of the other scale, which would yield boxes far outside the
    image, or in its corner. Give only boxes above the confidence, since others may have any
    values. ``hint`` replaces the advice to change ``normalized``.
    """
    reach = float(np.abs(boxes).max(initial=0))
    if normalized and reach > _LARGEST_NORMALIZED:
        raise TensorError(
            f"output {source!r}: expected boxes from 0 to 1, got coordinates up to {reach:.4g}; "
            f"{hint or 'set normalized to false in model.yaml'}"
        )
    if not normalized and 0 < reach <= _LARGEST_NORMALIZED:
        raise TensorError(
            f"output {source!r}: expected boxes in pixels of the input of {context.input_width} x "
            f"{context.input_height}, got coordinates up to {reach:.4g}; "
            f"{hint or 'set normalized to true in model.yaml'}"
        )
    return boxes * np.tile(input_size(context), 2) if normalized else boxes
