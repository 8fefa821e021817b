"""Image files written by their specifications, the sound ones and the others."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, content: bytes = b"", length: int | None = None) -> bytes:
    """Return a PNG chunk; ``length`` is what it claims, by default the truth."""
    claimed = len(content) if length is None else length
    check = zlib.crc32(kind + content)
    return struct.pack(">I", claimed) + kind + content + struct.pack(">I", check)


def png_header(
    width: int, height: int, depth: int = 8, color: int = 2, methods: tuple[int, ...] = (0, 0, 0)
) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, *methods))


def png(*chunks: bytes) -> bytes:
    return PNG_MAGIC + b"".join(chunks)


def small_png(*extra: bytes) -> bytes:
    """Return a sound PNG of 2x1 black pixels, with chunks before its pixels."""
    pixels = chunk(b"IDAT", zlib.compress(bytes(7)))
    return png(png_header(2, 1), *extra, pixels, chunk(b"IEND"))


def part(marker: int, content: bytes = b"", length: int | None = None) -> bytes:
    """Return a JPEG marker segment; ``length`` is what it claims, by default the truth."""
    claimed = len(content) + 2 if length is None else length
    return b"\xff" + bytes([marker]) + struct.pack(">H", claimed) + content


def start_of_frame(
    width: int, height: int, marker: int = 0xC0, components: int = 3, precision: int = 8
) -> bytes:
    described = b"".join(bytes([number + 1, 0x11, 0]) for number in range(components))
    return part(marker, struct.pack(">BHHB", precision, height, width, components) + described)


def start_of_scan(components: int = 3) -> bytes:
    described = b"".join(bytes([number + 1, 0]) for number in range(components))
    return part(0xDA, bytes([components]) + described + b"\x00\x3f\x00")


def jpeg(*parts: bytes) -> bytes:
    """Return a JPEG of these parts; its data is not decodable."""
    return b"\xff\xd8" + b"".join(parts) + b"\xff\xd9"


def real_jpeg(width: int = 64, height: int = 48, progressive: bool = False) -> bytes:
    image = np.full((height, width, 3), 90, np.uint8)
    flags = [cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)]
    return cv2.imencode(".jpg", image, flags)[1].tobytes()
