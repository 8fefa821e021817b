"""Results with a value for every pixel, as images with one channel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import Image

from edge_inference.core.images.frame import Frame
from edge_inference.core.images.image_header import MAX_SIDE
from edge_inference.core.results import Result
from edge_inference.errors import ImageError

#: Maximum bytes of a map in a message, which is copied.
MAP_BYTES = 64 << 20


def to_plane(values: NDArray[Any], encoding: str, item: Result) -> Frame:
    """Return the map ``(height, width)`` of a result as an image in a one-channel encoding."""
    height, width = values.shape
    pixels = np.ascontiguousarray(values).view(np.uint8).reshape(-1)
    step = width * values.itemsize
    return Frame(pixels, width, height, encoding, step, False, item.stamp_ns, item.frame_id)


def to_pixels(image: Image, encodings: Mapping[str, type[np.generic]]) -> NDArray[Any]:
    """Return the map in an image, ``(height, width)``; ``encodings`` names the valid ones.

    Raises ImageError for an image of another encoding or with too few bytes.
    """
    if image.encoding not in encodings:
        raise ImageError(
            f"image: expected encoding {' or '.join(encodings)}, got {image.encoding!r}"
        )
    if max(image.width, image.height) > MAX_SIDE:
        raise ImageError(
            f"image: expected at most {MAX_SIDE} pixels per side, got {image.width}x{image.height}"
        )
    dtype = np.dtype(encodings[image.encoding]).newbyteorder(">" if image.is_bigendian else "<")
    row, needed = image.width * dtype.itemsize, image.height * image.step
    if image.step < row or len(image.data) < needed:
        raise ImageError(
            f"image {image.width}x{image.height} {image.encoding}: expected a step of at least "
            f"{row} and {needed} bytes, got step {image.step} and {len(image.data)} bytes"
        )
    rows = np.frombuffer(image.data, dtype=np.uint8, count=needed).reshape(image.height, image.step)
    values = np.ascontiguousarray(rows[:, :row]).view(dtype)
    return values.astype(dtype.newbyteorder("="), copy=False)
