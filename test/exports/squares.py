"""An image with a red and a blue square, which cover one cell of the model's input each."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from exports.graph import BLUE_PIXEL, RED_PIXEL


class Square(NamedTuple):
    """A rectangle of the source in pixels: x, y, width, height."""

    x: float
    y: float
    width: float
    height: float


def to_source(rule: str, side: int, cell: tuple[int, int], size: int) -> Square:
    """Return where a cell (column, row) of the input comes from, by the rule of resizing.

    The source is ``2 * side`` wide and ``1.5 * side`` high, so no edge of a cell is blurred.
    """
    x, y = cell[0] * size, cell[1] * size
    if rule == "stretch":
        return Square(x * 2, y * 1.5, size * 2, size * 1.5)
    if rule == "center_crop":  # the square in the middle, as high as the source
        return Square(side / 4 + x * 1.5, y * 1.5, size * 1.5, size * 1.5)
    padding = side / 8 if rule == "letterbox" else 0  # else "top_left"
    return Square(x * 2, (y - padding) * 2, size * 2, size * 2)


def paint(side: int, red: Square, blue: Square) -> np.ndarray:
    """Return the image (1.5 * side, 2 * side, 3) as BGR."""
    image = np.full((side * 3 // 2, side * 2, 3), 110, np.uint8)
    for square, pixel in ((red, RED_PIXEL), (blue, BLUE_PIXEL)):
        x, y, width, height = (round(value) for value in square)
        image[y : y + height, x : x + width] = pixel[::-1]
    return image
