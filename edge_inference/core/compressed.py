"""JPEG and PNG pictures: checked before they are decoded, then 8-bit pixels."""

from __future__ import annotations

import struct

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_inference.core.frame import CompressedFrame
from edge_inference.errors import ImageError

#: Longest side of a picture, compressed or not.
MAX_SIDE = 16384
#: Most pixels a file may decode to; a few hundred bytes can claim any number.
MAX_PIXELS = 1 << 27

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_JPEG_MAGIC = b"\xff\xd8\xff"
_JPEG_END = b"\xff\xd9"
_START_OF_SCAN = 0xDA
# Start-of-frame markers carry the size; C4, C8 and CC share their range but do not.
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ORDER_OF_CHANNELS = {1: "gray", 3: "bgr", 4: "bgra"}


def decode(frame: CompressedFrame) -> tuple[NDArray[np.uint8], str]:
    """Decode to 8 bits a channel; return the pixels and their order: gray, bgr or bgra.

    The bytes decide whether it is JPEG or PNG, the ``format`` field does not.
    As in cv_bridge the pixels stay as stored: EXIF orientation is not applied.
    Raises ImageError for anything else, for truncated or corrupt data and for
    sizes above MAX_SIDE or MAX_PIXELS, before memory is spent on them.
    """
    data = frame.data.tobytes()
    width, height = _size(data, frame.format)
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE and width * height <= MAX_PIXELS):
        raise ImageError(
            f"compressed image is {width}x{height}; expected sides of 1 to {MAX_SIDE} and at most "
            f"{MAX_PIXELS} pixels; scale it down at the source"
        )
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise _corrupt(frame.format, len(data), str(error.err)) from error
    if pixels is None:
        raise _corrupt(frame.format, len(data), "the decoder refuses it")
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    return _eight_bits(pixels), _ORDER_OF_CHANNELS[channels]


def _size(data: bytes, format_name: str) -> tuple[int, int]:
    if data.startswith(_PNG_MAGIC):
        return _png_size(data, format_name)
    if data.startswith(_JPEG_MAGIC):
        return _jpeg_size(data, format_name)
    raise ImageError(
        f"compressed image of format {format_name!r} is neither JPEG nor PNG "
        f"({len(data)} bytes, starting with {data[:8].hex() or 'nothing'}); publish jpeg or png"
    )


def _png_size(data: bytes, format_name: str) -> tuple[int, int]:
    if data[12:16] != b"IHDR" or len(data) < 24:
        raise _corrupt(format_name, len(data), "the PNG header is incomplete")
    if b"IEND" not in data[-64:]:
        raise _corrupt(format_name, len(data), "the end of the PNG is missing")
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def _jpeg_size(data: bytes, format_name: str) -> tuple[int, int]:
    """Walk the segments up to the pixels (ITU-T T.81, annex B)."""
    size: tuple[int, int] | None = None
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker in _START_OF_FRAME:
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            size = width, height
        if marker == _START_OF_SCAN:
            break
        at += 2 + int(struct.unpack(">H", data[at + 2 : at + 4])[0])
    if size is None:
        raise _corrupt(format_name, len(data), "the JPEG header is incomplete")
    # libjpeg only warns here and fills the rest with grey.
    if data.rfind(_JPEG_END, at) < 0:
        raise _corrupt(format_name, len(data), "the end of the JPEG is missing")
    return size


def _eight_bits(pixels: NDArray[np.generic]) -> NDArray[np.uint8]:
    if pixels.dtype == np.uint16:
        return sixteen_to_eight(pixels.astype(np.uint16, copy=False))
    return np.asarray(pixels, dtype=np.uint8)


def sixteen_to_eight(pixels: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Scale 0..65535 to 0..255, rounded, as cv_bridge does."""
    return np.asarray(cv2.convertScaleAbs(pixels, alpha=255.0 / 65535.0), dtype=np.uint8)


def _corrupt(format_name: str, length: int, reason: str) -> ImageError:
    return ImageError(
        f"compressed image of format {format_name!r} ({length} bytes) cannot be decoded: {reason}; "
        "check that the publisher sends whole JPEG or PNG files"
    )
