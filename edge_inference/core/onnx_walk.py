"""ONNX files as protobuf's wire format: what is in them, without loading it.

Weights are stepped over, so that a gigabyte of them costs nothing.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import NamedTuple

#: Bytes of one element, by ONNX's number of its type; those of others count as one.
ELEMENT_BYTES = {1: 4, 4: 2, 5: 2, 6: 4, 7: 8, 10: 2, 11: 8, 12: 4, 13: 8, 14: 8, 15: 16, 16: 2}
FLOAT_BYTES = 4

#: Fields of the messages in a file; a network has some ten for each node.
MOST_FIELDS = 10_000_000

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WINDOW = 1 << 16
#: More values than any shape has.
_MOST_VALUES = 64
_STRUCT = {1: "f", 6: "i", 7: "q", 11: "d"}
_INT64_SIGN = 1 << 63


class MalformedError(ValueError):
    """The bytes are no message."""


class TooManyFieldsError(ValueError):
    """More of them than any network has."""


class Source:
    """Bytes of an open file, read where they are looked at."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.size = os.fstat(descriptor).st_size
        self._fields = 0
        self._start = 0
        self._window = b""

    def varint(self, at: int) -> tuple[int, int]:
        """Return a number and where it ends."""
        value = shift = 0
        while shift < 70:
            offset = at - self._start
            if not 0 <= offset < len(self._window):
                self._start, self._window = at, os.pread(self._descriptor, _WINDOW, at)
                offset = 0
                if not self._window:
                    break
            byte = self._window[offset]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, at
            shift += 7
        raise MalformedError("a number without an end")

    def count_field(self) -> None:
        """Note a field that is looked at. Raises TooManyFieldsError."""
        self._fields += 1
        if self._fields > MOST_FIELDS:
            raise TooManyFieldsError(f"expected at most {MOST_FIELDS} fields, got more")

    def bytes(self, first: int, last: int) -> bytes:
        """Return the bytes of a place."""
        return os.pread(self._descriptor, last - first, first)


class Field(NamedTuple):
    """One field: its number and its value, or where its bytes are."""

    number: int
    value: int
    inner: Message | None


class Message:
    """A message at a place of a file."""

    def __init__(self, source: Source, first: int = 0, last: int | None = None) -> None:
        self._source = source
        self._first = first
        self._last = source.size if last is None else last

    def __iter__(self) -> Iterator[Field]:
        """Yield the fields. Raises MalformedError."""
        source, at, end = self._source, self._first, self._last
        while at < end:
            source.count_field()
            key, at = source.varint(at)
            kind = key & 7
            if kind == _VARINT:
                value, at = source.varint(at)
                yield Field(key >> 3, value, None)
            elif kind == _BYTES:
                length, at = source.varint(at)
                if at + length > end:
                    raise MalformedError("a field that is longer than its message")
                yield Field(key >> 3, length, Message(source, at, at + length))
                at += length
            elif kind in (_FIXED32, _FIXED64):
                at += 4 if kind == _FIXED32 else 8
                yield Field(key >> 3, 0, None)
            else:
                raise MalformedError(f"a field of kind {kind}")

    def __len__(self) -> int:
        return self._last - self._first

    def data(self, at_most: int) -> bytes:
        """Return the bytes. Raises MalformedError for more than anybody has."""
        if len(self) > at_most:
            raise MalformedError(f"{len(self)} bytes")
        return self._source.bytes(self._first, self._last)

    def text(self) -> str:
        """Return a name."""
        return self.data(_WINDOW).decode(errors="replace")

    def all(self, number: int) -> Iterator[Message]:
        """Yield the messages of one field."""
        for field in self:
            if field.number == number and field.inner is not None:
                yield field.inner

    def one(self, number: int) -> Message | None:
        """Return the message of one field, the last where there are more."""
        found = None
        for found in self.all(number):  # noqa: B007 - the last counts
            pass
        return found

    def numbers(self, number: int) -> list[int]:
        """Return the values of a field of whole numbers, packed or one by one."""
        found: list[int] = []
        for field in self:
            if field.number != number:
                continue
            if field.inner is None:
                found.append(_signed(field.value))
                continue
            at, end = field.inner._first, field.inner._last
            while at < end and len(found) <= _MOST_VALUES:
                value, at = self._source.varint(at)
                found.append(_signed(value))
            if len(found) > _MOST_VALUES:
                break
        return found


class Tensor(NamedTuple):
    """What a TensorProto says of itself."""

    name: str
    dims: tuple[int, ...]
    kind: int
    external: dict[str, str] | None
    message: Message

    @property
    def element_bytes(self) -> int:
        """Bytes of one element."""
        return ELEMENT_BYTES.get(self.kind, 1)

    def values(self) -> list[float] | None:
        """Return the few numbers that it holds itself, None for anything else."""
        if self.kind not in _STRUCT:
            return None
        raw = self.message.one(9)
        if raw is not None:
            form, size = _STRUCT[self.kind], self.element_bytes
            if len(raw) > _MOST_VALUES * size or len(raw) % size:
                return None
            return list(struct.unpack(f"<{len(raw) // size}{form}", raw.data(len(raw))))
        numbers = self.message.numbers({6: 5, 7: 7}.get(self.kind, 0))
        return [*numbers] if 0 < len(numbers) <= _MOST_VALUES else None


def read_tensor(message: Message) -> Tensor:
    """Read a TensorProto, except for its data."""
    name, kind, external = "", 0, None
    for field in message:
        if field.number == 2:
            kind = field.value
        elif field.number == 8 and field.inner is not None:
            name = field.inner.text()
        elif field.number == 13 and field.inner is not None:
            key, value = field.inner.one(1), field.inner.one(2)
            external = external or {}
            external[key.text() if key else ""] = value.text() if value else ""
    return Tensor(name, tuple(message.numbers(1)), kind, external, message)


def _signed(value: int) -> int:
    value &= (1 << 64) - 1
    return value - (1 << 64) if value & _INT64_SIGN else value
