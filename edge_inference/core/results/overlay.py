"""Draws results onto their image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.images.canvas import Canvas
from edge_inference.core.results.kinds import kind_of
from edge_inference.core.results.result import Result
from edge_inference.errors import InputError


def draw(image_bgr: NDArray[np.uint8], result: Result) -> NDArray[np.uint8]:
    """Return a copy of an ``(H, W, 3)`` BGR image with a result drawn on it.

    Raises ImageError where the image has another shape or type, or not the size
    of the result's source image; InputError for a result that cannot be drawn.
    """
    kind = kind_of(result)
    if kind.draw is None:
        raise InputError(
            f"overlay: a result of the kind {kind.name} has no drawing; its ResultKind needs one"
        )
    canvas = Canvas(image_bgr)
    kind.draw(canvas, result)
    return canvas.pixels
