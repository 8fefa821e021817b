"""Serialised messages (CDR): their header, and images as views without copies.

The layout is plain CDR (version 1) of OMG DDS-XTypes: a 4 byte encapsulation
header, then the members in order, each aligned to its own size, counted from
the end of the header.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.images.frame import CompressedFrame, Frame
from edge_inference.errors import ImageError, InputError

#: The encapsulation header, before the members.
HEADER_BYTES = 4
_LITTLE_ENDIAN = b"\x00\x01\x00\x00"
_SECOND_NS = 1_000_000_000
_EARLIEST_S, _LATEST_S = -(2**31), 2**31 - 1
_NO_OPTIONS = b"\x00\x00"
# The last two bits of the header's options are the number of padding bytes at the end of the
# body (DDS-XTypes 1.3, 7.6.3.1.2).
_PADDING = 0b11


def find_body_end(data: bytes, kind: str) -> int:
    """Return the offset after the members of a serialised message; only padding follows.

    Raises InputError for a message that is shorter than its header says, or is not plain CDR.
    """
    header = data[:HEADER_BYTES]
    if len(header) < HEADER_BYTES or header[0] != 0 or header[1] not in (0, 1):
        raise InputError(
            f"{kind} message: expected plain CDR (00 00 or 00 01 first), got {header.hex(' ')!r}"
        )
    padding = header[3] & _PADDING
    if len(data) < HEADER_BYTES + padding:
        raise InputError(
            f"{kind} message: expected {padding} bytes of padding, as its header says, "
            f"got a body of {len(data) - HEADER_BYTES}"
        )
    return len(data) - padding


def normalize_header(data: bytes, kind: str) -> bytes:
    """Return a serialised message whose header announces no padding.

    Fast CDR subtracts the announced padding from the end of the body without checking the length
    of the body, and may then read memory before it. Raises InputError as
    :func:`find_body_end` does.
    """
    end = find_body_end(data, kind)
    if data[2:HEADER_BYTES] == _NO_OPTIONS:
        return data
    return data[:2] + _NO_OPTIONS + data[HEADER_BYTES:end]


class _Reader:
    """Reads members in order; raises ImageError for a message that ends too early."""

    def __init__(self, data: bytes, kind: str) -> None:
        self._kind = kind
        if len(data) < HEADER_BYTES or data[0] != 0 or data[1] not in (0, 1):
            raise ImageError(
                f"{kind} message: expected plain CDR (00 00 or 00 01 first), "
                f"got {data[:4].hex(' ')!r}"
            )
        self._order = "<" if data[1] == 1 else ">"
        self._body = memoryview(data)[HEADER_BYTES:]
        self._at = 0

    def number(self, code: str) -> int:
        size = struct.calcsize(code)
        self._at += -self._at % size
        self._need(size)
        (value,) = struct.unpack_from(self._order + code, self._body, self._at)
        self._at += size
        return int(value)

    def text(self) -> str:
        length = self.number("I")
        self._need(length)
        raw = bytes(self._body[self._at : self._at + length]).rstrip(b"\x00")
        self._at += length
        return raw.decode("utf-8", errors="replace")

    def array(self) -> NDArray[np.uint8]:
        length = self.number("I")
        self._need(length)
        return np.frombuffer(self._body[self._at : self._at + length], dtype=np.uint8)

    def stamp_ns(self) -> int:
        seconds, nanoseconds = self.number("i"), self.number("I")
        if nanoseconds >= _SECOND_NS:
            raise ImageError(
                f"{self._kind} message: stamp: expected nanosec below {_SECOND_NS}, got "
                f"{nanoseconds}; check the clock of the publisher"
            )
        return seconds * _SECOND_NS + nanoseconds

    def _need(self, size: int) -> None:
        if self._at + size > len(self._body):
            raise ImageError(
                f"{self._kind} message is cut short: expected {size} more bytes at byte "
                f"{self._at}, got {len(self._body) - self._at}"
            )


class _Writer:
    """Writes members in order; arrays are copied once, when the parts are joined."""

    def __init__(self) -> None:
        self._parts: list[bytes | memoryview] = [_LITTLE_ENDIAN]
        self._at = 0

    def number(self, code: str, value: int) -> None:
        size = struct.calcsize(code)
        padding = -self._at % size
        self._add(b"\x00" * padding + struct.pack("<" + code, value))

    def text(self, value: str) -> None:
        raw = value.encode() + b"\x00"
        self.number("I", len(raw))
        self._add(raw)

    def array(self, value: NDArray[np.uint8]) -> None:
        self.number("I", value.size)
        self._add(np.ascontiguousarray(value).data)

    def stamp_ns(self, value: int) -> None:
        seconds, nanoseconds = divmod(value, _SECOND_NS)
        self.number("i", min(_LATEST_S, max(_EARLIEST_S, seconds)))
        self.number("I", nanoseconds)

    def finish(self) -> bytes:
        return b"".join(self._parts)

    def _add(self, part: bytes | memoryview) -> None:
        self._parts.append(part)
        self._at += len(part)


def read_image(data: bytes) -> Frame:
    """View a serialised ``sensor_msgs/Image``; raises ImageError if it is cut short."""
    reader = _Reader(data, "sensor_msgs/Image")
    stamp_ns, frame_id = reader.stamp_ns(), reader.text()
    height, width = reader.number("I"), reader.number("I")
    encoding, is_bigendian, step = reader.text(), reader.number("B"), reader.number("I")
    pixels = reader.array()
    return Frame(pixels, width, height, encoding, step, bool(is_bigendian), stamp_ns, frame_id)


def write_image(frame: Frame) -> bytes:
    """Serialise a ``sensor_msgs/Image`` with one copy of the pixels."""
    writer = _Writer()
    writer.stamp_ns(frame.stamp_ns)
    writer.text(frame.frame_id)
    writer.number("I", frame.height)
    writer.number("I", frame.width)
    writer.text(frame.encoding)
    writer.number("B", frame.is_bigendian)
    writer.number("I", frame.step)
    writer.array(frame.data)
    return writer.finish()


def read_compressed_image(data: bytes) -> CompressedFrame:
    """View a serialised ``sensor_msgs/CompressedImage``; raises ImageError if it is cut short."""
    reader = _Reader(data, "sensor_msgs/CompressedImage")
    stamp_ns, frame_id, image_format = reader.stamp_ns(), reader.text(), reader.text()
    return CompressedFrame(reader.array(), image_format, stamp_ns, frame_id)
