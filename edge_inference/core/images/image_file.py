"""Reads image files within bounds, and writes them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_inference.core.bounded_file import read_bytes
from edge_inference.core.images.compressed import decode
from edge_inference.core.images.encodings import to_bgr
from edge_inference.core.images.frame import CompressedFrame, Frame
from edge_inference.core.images.image_formats import read_file_header
from edge_inference.core.images.image_header import DEFAULT_BOUNDS
from edge_inference.core.images.silent_opencv import silent_opencv
from edge_inference.errors import ImageError

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_COLOR_TYPE = 25


def read_image(file: Path, *, keeps_alpha: bool = False) -> NDArray[np.uint8]:
    """Read an image file as (H, W, 3) BGR, rotated by its EXIF orientation.

    With ``keeps_alpha`` a PNG file with alpha is (H, W, 4) BGRA. Raises OSError where the path is
    not a readable regular file. Raises ImageError, without the file name, where the file is not
    an image or exceeds the default bounds.
    """
    data = read_bytes(file, DEFAULT_BOUNDS.encoded_bytes)
    try:
        DEFAULT_BOUNDS.check_header(read_file_header(data))
        with silent_opencv():
            if keeps_alpha and _is_png_with_alpha(data):
                return decode(CompressedFrame(np.frombuffer(data, np.uint8), "png"))[0]
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except (ImageError, cv2.error) as error:
        reason = error.err if isinstance(error, cv2.error) else error
        raise ImageError(f"not an image that OpenCV can read: {reason}") from error
    if image is None:
        raise ImageError("not an image that OpenCV can read")
    return np.asarray(image, dtype=np.uint8)


def _is_png_with_alpha(data: bytes) -> bool:
    """Tell whether a PNG file's color type has alpha: 4 (gray) or 6 (RGB)."""
    return data.startswith(_PNG) and data[_PNG_COLOR_TYPE : _PNG_COLOR_TYPE + 1] in (b"\4", b"\6")


def encode_jpeg(frame: Frame, quality: int = 90) -> NDArray[np.uint8]:
    """Return a frame as the bytes of a JPEG file; ``quality`` is 1 to 100.

    Raises ImageError where it cannot be encoded.
    """
    try:
        encoded, data = cv2.imencode(".jpg", to_bgr(frame), [cv2.IMWRITE_JPEG_QUALITY, quality])
    except cv2.error as error:
        raise ImageError(f"cannot be encoded as JPEG: {error.err}") from error
    if not encoded:
        raise ImageError(f"cannot be encoded as JPEG ({frame.width}x{frame.height})")
    return np.asarray(data, dtype=np.uint8).reshape(-1)


def write_jpeg(file: Path, frame: Frame, quality: int = 90) -> None:
    """Write a frame as JPEG; ``quality`` is 1 to 100.

    Raises OSError where the file cannot be written, ImageError where the frame
    cannot be encoded.
    """
    try:
        data = encode_jpeg(frame, quality)
    except ImageError as error:
        raise ImageError(f"{file.name}: {error}") from error
    file.write_bytes(data.tobytes())


def write_png(file: Path, frame: Frame, max_side: int | None = None) -> None:
    """Write a frame as PNG, shrunk to at most ``max_side`` pixels on its longer side.

    Raises OSError where the file cannot be written, ImageError where the frame
    cannot be converted to colors.
    """
    pixels = to_bgr(frame)
    scale = 1.0 if max_side is None else max_side / max(pixels.shape[:2])
    if scale < 1:
        width, height = (max(round(side * scale), 1) for side in (frame.width, frame.height))
        pixels = np.asarray(
            cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), np.uint8
        )
    encoded, data = cv2.imencode(".png", pixels)
    if not encoded:
        raise ImageError(f"{file.name}: cannot be encoded as PNG ({frame.width}x{frame.height})")
    file.write_bytes(data.tobytes())
