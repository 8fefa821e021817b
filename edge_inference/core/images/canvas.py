"""A copy of an image to draw a result on: boxes, texts, tinted classes, colored values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_inference.errors import ImageError

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_FONT_HEIGHT, _FONT_DEPTH = 22, 10
"""Pixels above and below the base line at scale 1, as returned by cv2.getTextSize."""
_TINT = 0.5

Color = tuple[int, int, int]

_PLATE: Color = (40, 40, 40)
"""Behind texts that belong to no class."""


class Canvas:
    """Draws on a copy of an ``(H, W, 3)`` BGR image; positions are in pixels of that image.

    ``pixels`` is the copy, for what has no method here: OpenCV draws on it in place. Raises
    ImageError where the image has another shape or type.
    """

    def __init__(self, image_bgr: NDArray[np.uint8]) -> None:
        _check(image_bgr)
        self.pixels: NDArray[np.uint8] = np.array(image_bgr, dtype=np.uint8, order="C")

    @property
    def line_width(self) -> int:
        """Return a width of lines that fits the size of the image, in pixels."""
        return max(1, round(int(min(self.pixels.shape[:2])) / 240))

    def expect_size(self, width: int | None, height: int | None) -> None:
        """Raise ImageError unless this is the size of the image; None stands for any."""
        if width is None or height is None:  # a result from outside without its source size
            return
        if self.pixels.shape[:2] != (height, width):
            raise ImageError(
                f"overlay: expected the {width}x{height} source image of the result, got "
                f"{self.pixels.shape[1]}x{self.pixels.shape[0]}; pass the source frame with the "
                "result's stamp"
            )

    def draw_box(self, box: NDArray[np.floating[Any]], class_id: int, text: str) -> None:
        """Draw a box ``(4,)`` x1, y1, x2, y2 in the color of its class, with a text above."""
        # A box may end at the edge of the image, one past the last pixel.
        last = np.array([self.pixels.shape[1], self.pixels.shape[0]] * 2) - 1
        left, top, right, bottom = np.minimum(np.rint(box).astype(int), last).tolist()
        color = class_color(class_id)
        cv2.rectangle(self.pixels, (left, top), (right, bottom), color, self.line_width)
        self.write(text, (left - self.line_width // 2, top), color)

    def tint_classes(
        self, class_ids: NDArray[np.unsignedinteger[Any]], is_tinted: NDArray[np.bool_]
    ) -> None:
        """Tint each pixel in the color of its class.

        ``class_ids`` is ``(H, W)``; ``is_tinted`` says for each class whether it is.
        """
        palette = class_colors(len(is_tinted))
        mixed = cv2.addWeighted(self.pixels, 1 - _TINT, palette.take(class_ids, axis=0), _TINT, 0)
        cv2.copyTo(mixed, is_tinted.take(class_ids).astype(np.uint8), self.pixels)

    def paint_values(self, values: NDArray[np.floating[Any]], is_known: NDArray[np.bool_]) -> None:
        """Replace known pixels by colors from blue (0) to red (1); both arrays are ``(H, W)``."""
        color_map = cv2.applyColorMap((values * 255).astype(np.uint8), cv2.COLORMAP_TURBO)
        cv2.copyTo(color_map, is_known.astype(np.uint8), self.pixels)

    def write_list(self, lines: Iterable[str], class_ids: Sequence[int] = ()) -> None:
        """Write lines from the top, each on a plate in the color of its class, if given."""
        bottom = 0
        for index, line in enumerate(lines):
            bottom += self._line_height
            self.write(line, (0, bottom), class_color(class_ids[index]) if class_ids else _PLATE)

    def write(self, text: str, corner: tuple[int, int], back: Color) -> None:
        """Write on a colored plate with the lower left ``corner``, moved into the image."""
        height, margin = self._text_height, self._margin
        scale, thickness = height / _FONT_HEIGHT, max(1, round(height / 9))
        # The built-in font has ASCII only.
        text = text.encode("ascii", "replace").decode("ascii")
        width = cv2.getTextSize(text, _FONT, scale, thickness)[0][0]
        plate = width + 2 * margin, self._line_height
        left = max(0, min(corner[0], self.pixels.shape[1] - plate[0]))
        top = max(0, min(corner[1] - plate[1], self.pixels.shape[0] - plate[1]))
        end = left + plate[0] - 1, top + plate[1] - 1
        cv2.rectangle(self.pixels, (left, top), end, back, -1)
        bright = 0.114 * back[0] + 0.587 * back[1] + 0.299 * back[2] > 140
        ink = (0, 0, 0) if bright else (255, 255, 255)
        base = left + margin, top + margin + height
        cv2.putText(self.pixels, text, base, _FONT, scale, ink, thickness, cv2.LINE_AA)

    @property
    def _text_height(self) -> int:
        return max(8, round(int(min(self.pixels.shape[:2])) / 40))

    @property
    def _line_height(self) -> int:
        """Return the height of a plate: capitals, descenders and two margins."""
        height = self._text_height
        return height + round(height * _FONT_DEPTH / _FONT_HEIGHT) + 2 * self._margin

    @property
    def _margin(self) -> int:
        return max(2, self._text_height // 4)


def class_color(class_id: int) -> Color:
    """Return the BGR color of a class, which is the same in every image."""
    table = _color_table()
    blue, green, red = table[class_id % len(table)].tolist()
    return blue, green, red


def class_colors(count: int) -> NDArray[np.uint8]:
    """Return ``(count, 3)``: the BGR colors of the first classes."""
    table = _color_table()
    chosen: NDArray[np.uint8] = table[np.arange(count) % len(table)]
    return chosen


@lru_cache(maxsize=1)
def _color_table() -> NDArray[np.uint8]:
    """Return ``(256, 3)`` BGR; hues step by the golden ratio, so that neighbours differ clearly."""
    steps = np.arange(256)
    hsv = np.empty((1, len(steps), 3), dtype=np.uint8)
    hsv[0, :, 0] = (steps * 0.618034 * 180 + 100) % 180
    hsv[0, :, 1] = np.where(steps % 2, 170, 230)
    hsv[0, :, 2] = np.where(steps % 3, 255, 215)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)[0], dtype=np.uint8)


def _check(image: NDArray[Any]) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ImageError(
            f"overlay: expected an (H, W, 3) uint8 image, got {image.shape} {image.dtype}; "
            "convert it to bgr8 first"
        )
