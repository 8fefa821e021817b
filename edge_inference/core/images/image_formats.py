"""Reads the headers of image files other than JPEG and PNG: BMP, PNM, WebP and TIFF."""

from __future__ import annotations

import re
import struct

from edge_inference.core.images.image_header import ImageHeader, read_header
from edge_inference.errors import ImageError

_BLANK = rb"(?:\s|#[^\n]*\n)+"
_PNM = re.compile(rb"P[1-6]" + _BLANK + rb"(\d{1,9})" + _BLANK + rb"(\d{1,9})(?=\s|#)")
_PNM_HEADER = 4096
# Four samples of 32 bits (red, green, blue, alpha), in the decoder and again in its result.
_MAX_BYTES_PER_PIXEL = 2 * 4 * 4

#: Tags of TIFF 6.0 for the sides of the image and of its tiles.
_TIFF_SIDES = {256: "width", 257: "height", 322: "tile width", 323: "tile height"}
_TIFF_NUMBERS = {1: "B", 3: "H", 4: "I"}


def read_file_header(data: bytes) -> ImageHeader:
    """Return the header of an image file.

    Raises ImageError, with only the reason, where the file is damaged or its format is not
    BMP, JPEG, PNG, PNM, TIFF or WebP.
    """
    header = read_header(data)
    if header is not None:
        return header
    try:
        if data.startswith(b"BM"):
            return _bmp(data)
        if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            return _webp(data)
        if data[:4] in (b"II*\0", b"MM\0*"):
            return _tiff(data, "<" if data.startswith(b"II") else ">")
    except struct.error as error:
        raise ImageError("its header is incomplete") from error
    match = _PNM.match(data[:_PNM_HEADER])
    if match:
        return ImageHeader("PNM", int(match[1]), int(match[2]), _MAX_BYTES_PER_PIXEL // 2)
    raise ImageError("neither BMP, JPEG, PNG, PNM, TIFF nor WebP")


def _bmp(data: bytes) -> ImageHeader:
    (size,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if size == 12 else "<ii", data, 18)
    return ImageHeader("BMP", width, abs(height), 8)  # negative: rows from top to bottom


def _webp(data: bytes) -> ImageHeader:
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return ImageHeader("WebP", width & 0x3FFF, height & 0x3FFF, 8)
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return ImageHeader("WebP", (bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1, 12)
    flags, *sides = struct.unpack_from("<B3x3s3s", data, 20)
    if kind != b"VP8X" or flags & 2:
        raise ImageError("the WebP is an animation or damaged; expected one image")
    width, height = (int.from_bytes(side, "little") + 1 for side in sides)
    return ImageHeader("WebP", width, height, 12)


def _tiff(data: bytes, order: str) -> ImageHeader:
    """Read the first directory; of a repeated tag the largest value counts."""
    (at,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, at)
    sides = dict.fromkeys(_TIFF_SIDES, 0)
    for number in range(count):
        tag, kind, _ = struct.unpack_from(f"{order}HHI", data, at + 2 + 12 * number)
        if tag in sides:
            if kind not in _TIFF_NUMBERS:
                raise ImageError(f"its {_TIFF_SIDES[tag]} is not a whole number")
            (value,) = struct.unpack_from(
                f"{order}{_TIFF_NUMBERS[kind]}", data, at + 10 + 12 * number
            )
            sides[tag] = max(sides[tag], value)
    width, height, tile_width, tile_height = sides.values()
    # A tile is decoded completely, even where it is larger than the image.
    return ImageHeader(
        "TIFF", max(width, tile_width), max(height, tile_height), _MAX_BYTES_PER_PIXEL // 2
    )
