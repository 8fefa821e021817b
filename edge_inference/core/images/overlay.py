"""Draws results onto their image."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_inference.core.exhaustive import unhandled_error
from edge_inference.core.results import (
    Classification,
    DepthMap,
    Detections,
    Result,
    Segmentation,
    label_of,
)
from edge_inference.errors import ImageError

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_FONT_HEIGHT, _FONT_DEPTH = 22, 10
"""Pixels above and below the base line at scale 1, as returned by cv2.getTextSize."""
_TINT = 0.5
_MAX_LABELS = 5
_SAMPLE_STEP = 7
"""Only every n-th pixel is used to find the color range of a depth map."""
_BACKGROUND = frozenset({"background", "__background__", "_background_"})

Color = tuple[int, int, int]


def draw(image_bgr: NDArray[np.uint8], result: Result) -> NDArray[np.uint8]:
    """Return a copy of an ``(H, W, 3)`` BGR image with a result drawn on it.

    Raises ImageError where the image has another shape or type, or not the size
    of the result's source image.
    """
    _check(image_bgr)
    canvas = np.array(image_bgr, dtype=np.uint8, order="C")
    if isinstance(result, Detections):
        _check_size(canvas, result.source_width, result.source_height)
        _draw_detections(canvas, result)
    elif isinstance(result, Classification):
        _draw_classification(canvas, result)
    elif isinstance(result, Segmentation):
        _check_size(canvas, result.mask.shape[1], result.mask.shape[0])
        _draw_segmentation(canvas, result)
    elif isinstance(result, DepthMap):
        _check_size(canvas, result.depth.shape[1], result.depth.shape[0])
        _draw_depth(canvas, result)
    else:
        raise unhandled_error(result, "overlay")
    return canvas


def class_colors(count: int) -> NDArray[np.uint8]:
    """Return ``(count, 3)`` BGR colors; a class has the same color in every image."""
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


def _draw_detections(canvas: NDArray[np.uint8], result: Detections) -> None:
    if not len(result):
        return
    palette = class_colors(int(result.class_ids.max()) + 1)
    width = _line_width(canvas)
    # A box may end at the edge of the image, one past the last pixel.
    last = np.array([canvas.shape[1], canvas.shape[0]] * 2) - 1
    edges = np.minimum(np.rint(result.boxes).astype(int), last)
    # The detection with the best score is drawn last, on top.
    for index in range(len(result) - 1, -1, -1):
        left, top, right, bottom = edges[index].tolist()
        color = _to_color(palette[result.class_ids[index]])
        cv2.rectangle(canvas, (left, top), (right, bottom), color, width)
        text = f"{result.label(index)} {result.scores[index]:.2f}"
        _write(canvas, text, (left - width // 2, top), color)


def _draw_classification(canvas: NDArray[np.uint8], result: Classification) -> None:
    lines = [f"{result.label(index)} {result.scores[index]:.2f}" for index in range(len(result))]
    _write_list(canvas, lines, [(40, 40, 40)] * len(lines))


def _draw_segmentation(canvas: NDArray[np.uint8], result: Segmentation) -> None:
    counts = np.bincount(result.mask.ravel(), minlength=len(result.labels))
    counts[result.unknown_id :] = 0
    palette = class_colors(len(counts))
    tinted = counts > 0
    for class_id, label in enumerate(result.labels):
        tinted[class_id] &= label.lower() not in _BACKGROUND
    mixed = cv2.addWeighted(canvas, 1 - _TINT, palette.take(result.mask, axis=0), _TINT, 0)
    cv2.copyTo(mixed, tinted.take(result.mask).astype(np.uint8), canvas)
    order = np.argsort(-counts, kind="stable")
    largest = order[tinted[order]][:_MAX_LABELS]
    lines = [
        f"{label_of(result.labels, int(i))} {counts[i] / result.mask.size:.0%}" for i in largest
    ]
    _write_list(canvas, lines, [_to_color(palette[i]) for i in largest])


def _draw_depth(canvas: NDArray[np.uint8], result: DepthMap) -> None:
    known = np.isfinite(result.depth)
    if not known.any():
        return
    # Percentiles, because a few outliers would compress all other colors.
    low, high = np.percentile(result.depth[known][::_SAMPLE_STEP], [2, 98])
    span = max(float(high - low), float(np.finfo(np.float32).tiny))
    fraction = np.clip((np.where(known, result.depth, low) - low) / span, 0, 1)
    nearness = fraction if result.unit == "inverse" else 1 - fraction
    color_map = cv2.applyColorMap((nearness * 255).astype(np.uint8), cv2.COLORMAP_TURBO)
    cv2.copyTo(color_map, known.astype(np.uint8), canvas)
    unit = " m" if result.unit == "m" else f" ({result.unit})"
    _write_list(canvas, [f"{low:.3g} to {high:.3g}{unit}"], [(40, 40, 40)])


def _write_list(canvas: NDArray[np.uint8], lines: list[str], backs: list[Color]) -> None:
    bottom = 0
    for line, back in zip(lines, backs, strict=True):
        bottom += _line_height(canvas)
        _write(canvas, line, (0, bottom), back)


def _write(canvas: NDArray[np.uint8], text: str, corner: tuple[int, int], back: Color) -> None:
    """Write on a colored plate with the lower left ``corner``, moved into the image."""
    height, margin = _text_height(canvas), _margin(canvas)
    scale, thickness = height / _FONT_HEIGHT, max(1, round(height / 9))
    # The built-in font has ASCII only.
    text = text.encode("ascii", "replace").decode("ascii")
    width = cv2.getTextSize(text, _FONT, scale, thickness)[0][0]
    plate = width + 2 * margin, _line_height(canvas)
    left = max(0, min(corner[0], canvas.shape[1] - plate[0]))
    top = max(0, min(corner[1] - plate[1], canvas.shape[0] - plate[1]))
    cv2.rectangle(canvas, (left, top), (left + plate[0] - 1, top + plate[1] - 1), back, -1)
    bright = 0.114 * back[0] + 0.587 * back[1] + 0.299 * back[2] > 140
    ink = (0, 0, 0) if bright else (255, 255, 255)
    base = left + margin, top + margin + height
    cv2.putText(canvas, text, base, _FONT, scale, ink, thickness, cv2.LINE_AA)


def _text_height(canvas: NDArray[np.uint8]) -> int:
    return max(8, round(int(min(canvas.shape[:2])) / 40))


def _line_height(canvas: NDArray[np.uint8]) -> int:
    """Return the height of a plate: capitals, descenders and two margins."""
    height = _text_height(canvas)
    return height + round(height * _FONT_DEPTH / _FONT_HEIGHT) + 2 * _margin(canvas)


def _margin(canvas: NDArray[np.uint8]) -> int:
    return max(2, _text_height(canvas) // 4)


def _line_width(canvas: NDArray[np.uint8]) -> int:
    return max(1, round(int(min(canvas.shape[:2])) / 240))


def _to_color(bgr: NDArray[np.uint8]) -> Color:
    return int(bgr[0]), int(bgr[1]), int(bgr[2])


def _check(image: NDArray[Any]) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ImageError(
            f"overlay: expected an (H, W, 3) uint8 image, got {image.shape} {image.dtype}; "
            "convert it to bgr8 first"
        )


def _check_size(image: NDArray[np.uint8], width: int | None, height: int | None) -> None:
    if width is None or height is None:  # a result from outside without its source size
        return
    if image.shape[:2] != (height, width):
        raise ImageError(
            f"overlay: expected the {width}x{height} source image of the result, got "
            f"{image.shape[1]}x{image.shape[0]}; pass the source frame with the result's stamp"
        )
