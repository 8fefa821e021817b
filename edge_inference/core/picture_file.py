"""Pictures written to files."""

from __future__ import annotations

from pathlib import Path

import cv2

from edge_inference.core.encodings import to_bgr
from edge_inference.core.frame import Frame
from edge_inference.errors import ImageError


def write_jpeg(file: Path, frame: Frame, quality: int = 90) -> None:
    """Write a frame as JPEG; ``quality`` is 1 to 100.

    Raises OSError where the file cannot be written, ImageError where the frame
    cannot be encoded.
    """
    try:
        encoded, data = cv2.imencode(".jpg", to_bgr(frame), [cv2.IMWRITE_JPEG_QUALITY, quality])
    except cv2.error as error:
        raise ImageError(f"{file.name}: cannot be encoded as JPEG: {error.err}") from error
    if not encoded:
        raise ImageError(f"{file.name}: cannot be encoded as JPEG ({frame.width}x{frame.height})")
    file.write_bytes(data.tobytes())
