"""Checks JPEG and PNG images and decodes them to 8-bit pixels."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_inference.core.images.frame import CompressedFrame
from edge_inference.core.images.image_header import ImageHeader, read_header
from edge_inference.core.images.silent_opencv import silent_opencv
from edge_inference.errors import ImageError

_CHANNEL_ORDERS = {1: "gray", 3: "bgr", 4: "bgra"}


def decode(frame: CompressedFrame) -> tuple[NDArray[np.uint8], str]:
    """Decode to 8 bits per channel; return the pixels and their order: gray, bgr or bgra.

    The bytes decide between JPEG and PNG, not the ``format`` field.
    As in cv_bridge, the EXIF orientation is not applied.
    Raises ImageError for other formats, for truncated or corrupt data, and for an
    image beyond the frame's bounds, before memory is allocated for it.
    """
    data = frame.data
    frame.bounds.check_length(data.size)
    header = _read_header(frame)
    frame.bounds.check_header(header)
    try:
        with silent_opencv():
            pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise _corrupt_error(frame, str(error.err)) from error
    if pixels is None or pixels.shape[:2] != (header.height, header.width):
        raise _corrupt_error(frame, "the decoder rejects it")
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    return _to_eight_bits(pixels), _CHANNEL_ORDERS[channels]


def _read_header(frame: CompressedFrame) -> ImageHeader:
    data = frame.data
    try:
        header = read_header(data.data)
    except ImageError as error:
        raise _corrupt_error(frame, str(error)) from error
    if header is None:
        raise ImageError(
            f"compressed image of format {frame.format!r:.100} is neither JPEG nor PNG "
            f"({data.size} bytes, starting with {data[:8].tobytes().hex() or 'nothing'}); "
            "publish jpeg or png"
        )
    return header


def _to_eight_bits(pixels: NDArray[np.generic]) -> NDArray[np.uint8]:
    if pixels.dtype == np.uint16:
        return sixteen_to_eight(pixels.astype(np.uint16, copy=False))
    return np.asarray(pixels, dtype=np.uint8)


def sixteen_to_eight(pixels: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Scale 0..65535 to 0..255, rounded, as cv_bridge does."""
    return np.asarray(cv2.convertScaleAbs(pixels, alpha=255.0 / 65535.0), dtype=np.uint8)


def _corrupt_error(frame: CompressedFrame, reason: str) -> ImageError:
    return ImageError(
        f"compressed image of format {frame.format!r:.100} ({frame.data.size} bytes) cannot be "
        f"decoded: {reason}; check that the publisher sends complete JPEG or PNG files"
    )
