"""Reads the decoding cost of an encoded image from its bytes, before a decoder reads them.

A decoder trusts the lengths of chunks, the size of the image and the number of scans. So this
module walks through JPEG (ITU-T T.81, annex B) from marker to marker and through PNG
(ISO/IEC 15948, clause 5) from chunk to chunk, as the decoder does.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass

from edge_inference.core.settings import setting
from edge_inference.errors import ImageError

#: Maximum side of an image, compressed or not.
MAX_SIDE = 16384

_MB = 1 << 20
_RAW_COPIES = 3
# A few bytes make one part, and each is read.
_MAX_PARTS = 1 << 16

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_JPEG_MAGIC = b"\xff\xd8\xff"

#: Samples per pixel and their depths in bits, by color type.
_PNG_TYPES = {
    0: (1, (1, 2, 4, 8, 16)),
    2: (3, (8, 16)),
    3: (3, (1, 2, 4, 8)),
    4: (4, (8, 16)),  # gray with alpha is decoded as color with alpha
    6: (4, (8, 16)),
}
_ANIMATION = (b"acTL", b"fcTL", b"fdAT")
# libpng decompresses each to up to 8 MB, although no code here uses it.
_COMPRESSED = (b"iCCP", b"iTXt", b"zTXt")
_MAX_COMPRESSED = 8

# Skips markers without a segment (TEM and RSTn) and stuffed zeros in the data.
_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd7\xff])")
_JPEG_END = re.compile(rb"\xff\xd9")
_START, _END, _START_OF_SCAN = 0xD8, 0xD9, 0xDA
# Start-of-frame markers contain the size; C4, C8 and CC are in their range but have another use.
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL, _PROGRESSIVE = (0xC0, 0xC1), 0xC2


@dataclass(frozen=True)
class ImageHeader:
    """An image's format, sides, and memory per pixel during decoding, in bytes."""

    kind: str
    width: int
    height: int
    bytes_per_pixel: int
    scans: int = 1


@dataclass(frozen=True)
class ImageBounds:
    """Limits of the memory and time that one image from outside may cost."""

    image_max_encoded_mb: int = setting(
        64,
        "maximum size of a compressed image",
        unit="MiB",
        minimum=1,
        maximum=1024,
        read_only=True,
    )
    image_max_pixels: int = setting(
        1 << 26, "maximum pixels of an image", minimum=1, maximum=MAX_SIDE**2, read_only=True
    )
    image_max_decode_mb: int = setting(
        384,
        "maximum memory during the decoding of an image; a raw image may have a third of it",
        unit="MiB",
        minimum=1,
        maximum=16384,
        read_only=True,
    )
    image_max_scans: int = setting(
        64, "maximum scans of a progressive JPEG", minimum=1, maximum=1000, read_only=True
    )

    @property
    def encoded_bytes(self) -> int:
        """Maximum bytes of a compressed image."""
        return self.image_max_encoded_mb * _MB

    @property
    def decode_bytes(self) -> int:
        """Maximum bytes of memory during the decoding of an image."""
        return self.image_max_decode_mb * _MB

    def check_length(self, length: int) -> None:
        """Raise ImageError for a compressed image of too many bytes."""
        if length > self.encoded_bytes:
            raise ImageError(
                f"compressed image of {length} bytes; expected at most {self.encoded_bytes}; "
                "scale it down at the source, or raise image_max_encoded_mb"
            )

    def check_header(self, header: ImageHeader) -> None:
        """Raise ImageError for an image that costs too much to decode."""
        width, height = header.width, header.height
        self.check_size(f"compressed image is {width}x{height}", width, height)
        needed = width * height * header.bytes_per_pixel
        if needed > self.decode_bytes:
            raise ImageError(
                f"compressed image is {width}x{height}, a {header.kind} that needs {needed} bytes "
                f"of memory to decode; expected at most {self.decode_bytes}; scale it down at the "
                "source, or raise image_max_decode_mb"
            )
        if header.scans > self.image_max_scans:
            raise ImageError(
                f"compressed image is a JPEG of {header.scans} scans; expected at most "
                f"{self.image_max_scans}; encode it as baseline JPEG, or raise image_max_scans"
            )

    def check_raw(self, width: int, height: int, length: int) -> None:
        """Raise ImageError for an uncompressed image of ``length`` bytes that is too large."""
        self.check_size(f"image is {width}x{height}", width, height)
        # The received bytes, a copy where samples are not bytes, and the converted colors.
        limit = self.decode_bytes // _RAW_COPIES
        if length > limit:
            raise ImageError(
                f"image of {length} bytes; expected at most {limit}; scale it down at the source, "
                "or raise image_max_decode_mb"
            )

    def check_size(self, subject: str, width: int, height: int) -> None:
        """Raise ImageError for sides or pixels out of bounds; ``subject`` begins the message."""
        is_within = 1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE
        if not is_within or width * height > self.image_max_pixels:
            raise ImageError(
                f"{subject}; expected sides of 1 to {MAX_SIDE} and at most {self.image_max_pixels} "
                "pixels; scale it down at the source, or raise image_max_pixels"
            )


DEFAULT_BOUNDS = ImageBounds()


def read_header(data: bytes | memoryview) -> ImageHeader | None:
    """Return the header of a JPEG or PNG, None for other data.

    Raises ImageError, with only the reason, where the image is truncated, damaged, or of a type
    that no camera sends: an animation, arithmetic or lossless JPEG, a JPEG not of 8 bits.
    """
    data = memoryview(data)
    if data[: len(_PNG_MAGIC)] == _PNG_MAGIC:
        return _read_png(data)
    if data[: len(_JPEG_MAGIC)] == _JPEG_MAGIC:
        return _read_jpeg(data)
    return None


def _read_png(data: memoryview) -> ImageHeader:
    if bytes(data[8:16]) != b"\0\0\0\x0dIHDR" or len(data) < 33:
        raise ImageError("the PNG header is incomplete")
    width, height, depth, color, *methods = struct.unpack_from(">IIBBBBB", data, 16)
    samples, depths = _PNG_TYPES.get(color, (0, ()))
    if depth not in depths or methods[:2] != [0, 0] or methods[2] > 1:
        raise ImageError(
            f"the PNG header has depth {depth}, color type {color} and methods {methods}, "
            "which is not a valid combination"
        )
    at, kinds, compressed = len(_PNG_MAGIC), set[bytes](), 0
    for _ in range(_MAX_PARTS):
        if at + 12 > len(data):
            raise ImageError("the end of the PNG is missing")
        length, kind = struct.unpack_from(">I4s", data, at)
        if not kind.isalpha() or (kind == b"IHDR" and kinds):
            raise ImageError(f"the PNG has a chunk {kind!r}, which is invalid or in a wrong place")
        if kind in _ANIMATION:
            raise ImageError("the PNG is an animation; expected one image")
        compressed += kind in _COMPRESSED
        if compressed > _MAX_COMPRESSED:
            raise ImageError(
                f"the PNG has more than {_MAX_COMPRESSED} compressed texts and profiles"
            )
        at += 12 + length
        if at > len(data):
            raise ImageError(
                f"the end of the PNG is missing: its chunk {kind!r} is {length} bytes long, "
                f"{max(0, len(data) - at + length)} are there"
            )
        # libpng only warns on stderr, and ignores damaged ancillary chunks (lower case).
        (check,) = struct.unpack_from(">I", data, at - 4)
        if kind[:1].isupper() and zlib.crc32(data[at - 8 - length : at - 4]) != check:
            raise ImageError(f"the PNG is damaged: the checksum of its chunk {kind!r} is wrong")
        kinds.add(kind)
        if kind == b"IEND":
            break
    else:
        raise ImageError(f"the PNG has more than {_MAX_PARTS} chunks")
    if b"IDAT" not in kinds:
        raise ImageError("the PNG has no pixels")
    samples = 4 if b"tRNS" in kinds else samples
    # Once in the decoder, and once more in its result.
    return ImageHeader("PNG", width, height, 2 * samples * (2 if depth == 16 else 1))


def _read_jpeg(data: memoryview) -> ImageHeader:
    frame: tuple[int, int, int] | None = None
    at, scans, is_buffered, has_end = 2, 0, False, False
    for _ in range(_MAX_PARTS):
        match = _MARKER.search(data, at)
        if match is None or match[1][0] == _END:
            has_end = match is not None
            break
        marker, at = match[1][0], match.end()
        if marker == _START or at + 2 > len(data):
            raise ImageError("the JPEG header is incomplete")
        (length,) = struct.unpack_from(">H", data, at)
        if length < 2 or at + length > len(data):
            raise ImageError(f"the JPEG header is incomplete: its part {marker:02x} is truncated")
        content = data[at + 2 : at + length]
        at += length
        if marker in _START_OF_FRAME:
            if frame is not None:
                raise ImageError("the JPEG contains its size twice")
            frame = _read_frame(marker, content)
            is_buffered = marker == _PROGRESSIVE
        elif marker == _START_OF_SCAN:
            if frame is None or not len(content):
                raise ImageError("the JPEG header is incomplete")
            scans += 1
            is_buffered = is_buffered or content[0] < frame[2]
            if not is_buffered:  # one scan has all components; the decoder stops after it
                has_end = bytes(data[-2:]) == b"\xff\xd9" or _JPEG_END.search(data, at) is not None
                break
    else:
        raise ImageError(f"the JPEG has more than {_MAX_PARTS} parts")
    if frame is None or not scans:
        raise ImageError("the JPEG header is incomplete")
    if not has_end:  # libjpeg only warns here and fills the rest with gray
        raise ImageError("the end of the JPEG is missing")
    width, height, components = frame
    decoded = 1 if components == 1 else 3
    # With several scans, the decoder buffers two bytes per component until the last scan.
    cost = max(2 * decoded, 2 * components + decoded if is_buffered else 0)
    return ImageHeader("JPEG", width, height, cost, scans)


def _read_frame(marker: int, content: memoryview) -> tuple[int, int, int]:
    """Return width, height and number of components from a start of frame."""
    if marker not in (*_SEQUENTIAL, _PROGRESSIVE):
        raise ImageError(
            f"the JPEG is of process {marker:02x}, arithmetic or lossless; expected baseline or "
            "progressive"
        )
    if len(content) < 6:
        raise ImageError("the JPEG header is incomplete")
    precision, height, width, components = struct.unpack_from(">BHHB", content)
    if precision != 8 or components not in (1, 3, 4) or len(content) != 6 + 3 * components:
        raise ImageError(
            f"the JPEG has {components} components of {precision} bits in {len(content)} bytes; "
            "expected 1, 3 or 4 of 8 bits"
        )
    return width, height, components
