"""ONNX files as protobuf's wire format: what is in them, without loading it.

Weights are stepped over, so that a gigabyte of them costs nothing.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

#: Bytes of one element, by ONNX's number of its type; those of others count as one.
ELEMENT_BYTES = {1: 4, 4: 2, 5: 2, 6: 4, 7: 8, 10: 2, 11: 8, 12: 4, 13: 8, 14: 8, 15: 16, 16: 2}
FLOAT_BYTES = 4

#: Fields of the messages in a file; a network has some ten for each node.
MAX_FIELDS = 10_000_000

_VARINT, _FIXED64, _BYTES, _GROUP, _END, _FIXED32 = range(6)
_WINDOW = 1 << 16
#: More letters than a name has, and more values than a shape.
_LONGEST_NAME = 1 << 16
_MOST_VALUES = 64
#: protobuf itself follows no more.
_DEEPEST_GROUP = 100
_STRUCT = {1: "f", 6: "i", 7: "q", 11: "d"}
#: Where a tensor keeps its numbers unless they are raw, by its type.
_WHOLE_DATA, _FLOAT_DATA = {6: 5, 7: 7}, {1: 4, 11: 10}
_INT64_SIGN = 1 << 63


class MalformedMessageError(ValueError):
    """The bytes are no message."""


class LimitExceededError(ValueError):
    """More of something than any network has."""


class ByteSource:
    """Bytes of an open file, read where they are looked at."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.size = os.fstat(descriptor).st_size
        self._fields = 0
        self._start = 0
        self._window = b""

    def varint(self, at: int) -> tuple[int, int]:
        """Return a number and where it ends."""
        offset = at - self._start
        if 0 <= offset < len(self._window) and self._window[offset] < 0x80:
            return self._window[offset], at + 1
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
        raise MalformedMessageError("a number without an end")

    def count_field(self) -> None:
        """Note a field that is looked at. Raises ExcessError."""
        self._fields += 1
        if self._fields > MAX_FIELDS:
            raise LimitExceededError(f"expected at most {MAX_FIELDS} fields, got more")

    def bytes(self, first: int, last: int) -> bytes:
        """Return the bytes of a place."""
        return os.pread(self._descriptor, last - first, first)


class WireField(NamedTuple):
    """One field: its number and its value, or where its bytes are."""

    number: int
    value: int
    inner: WireMessage | None
    is_number: bool = True


class WireMessage:
    """A message at a place of a file, or at several: what comes again is added, as protobuf does.

    Of a text or of bytes the last counts.
    """

    def __init__(self, source: ByteSource, *spans: tuple[int, int]) -> None:
        self._source = source
        self._spans = spans or ((0, source.size),)

    def __iter__(self) -> Iterator[WireField]:
        """Yield the fields. Raises MalformedError, ExcessError."""
        for first, last in self._spans:
            yield from self._fields(first, last)

    def _fields(self, at: int, end: int) -> Iterator[WireField]:
        source = self._source
        while at < end:
            source.count_field()
            key, at = source.varint(at)
            kind = key & 7
            if kind == _VARINT:
                value, at = source.varint(at)
                yield WireField(key >> 3, value, None)
            elif kind == _BYTES:
                length, at = source.varint(at)
                if at + length > end:
                    raise MalformedMessageError("a field that is longer than its message")
                yield WireField(
                    key >> 3, length, WireMessage(source, (at, at + length)), is_number=False
                )
                at += length
            elif kind in (_FIXED32, _FIXED64):
                size = 4 if kind == _FIXED32 else 8
                yield WireField(key >> 3, 0, WireMessage(source, (at, at + size)))
                at += size
            elif kind == _GROUP:
                at = self._after_group(at, key >> 3, end)
            else:
                raise MalformedMessageError(f"a field of kind {kind}")

    def _after_group(self, at: int, number: int, end: int) -> int:
        """Return where a group ends: an old form of a field, which ONNX has nowhere."""
        source, groups = self._source, [number]
        while groups:
            if at >= end or len(groups) > _DEEPEST_GROUP:
                raise MalformedMessageError("a group without an end")
            source.count_field()
            key, at = source.varint(at)
            kind = key & 7
            if kind == _VARINT:
                _, at = source.varint(at)
            elif kind == _BYTES:
                length, at = source.varint(at)
                at += length
            elif kind in (_FIXED32, _FIXED64):
                at += 4 if kind == _FIXED32 else 8
            elif kind == _GROUP:
                groups.append(key >> 3)
            elif kind != _END or groups.pop() != key >> 3:
                raise MalformedMessageError("a group that ends as another")
        return at

    def __len__(self) -> int:
        first, last = self._spans[-1]
        return last - first

    def data(self) -> bytes:
        """Return the bytes."""
        return self._source.bytes(*self._spans[-1])

    def text(self) -> str:
        """Return a name. Raises ExcessError for one that is longer than any."""
        if len(self) > _LONGEST_NAME:
            raise LimitExceededError(
                f"expected names of at most {_LONGEST_NAME} bytes, got {len(self)}"
            )
        return self.data().decode(errors="replace")

    def all(self, number: int) -> Iterator[WireMessage]:
        """Yield the messages of one field."""
        for field in self:
            if field.number == number and field.inner is not None and not field.is_number:
                yield field.inner

    def parts(self, *numbers: int) -> dict[int, list[WireMessage]]:
        """Return the messages of some fields, in one walk."""
        found: dict[int, list[WireMessage]] = {number: [] for number in numbers}
        for field in self:
            if field.number in found and field.inner is not None and not field.is_number:
                found[field.number].append(field.inner)
        return found

    def one(self, number: int) -> WireMessage | None:
        """Return the message of one field, all of it where it comes in parts."""
        return merge_messages([*self.all(number)])

    def numbers(self, number: int) -> list[int]:
        """Return the values of a field of whole numbers, packed or one by one.

        Raises ExcessError for more than a shape has.
        """
        found: list[int] = []
        for field in self:
            if field.number != number:
                continue
            if field.inner is None:
                found.append(_signed(field.value))
            elif not field.is_number:
                ((at, end),) = field.inner._spans
                while at < end and len(found) <= _MOST_VALUES:
                    value, at = self._source.varint(at)
                    found.append(_signed(value))
            _expect_few(len(found))
        return found

    def floats(self, number: int, form: str = "f") -> list[float]:
        """Return the values of a field of floats, packed or one by one; as :meth:`numbers`."""
        found: list[float] = []
        for field in self:
            if field.number == number and field.inner is not None:
                found += _unpacked(field.inner, form)
                _expect_few(len(found))
        return found


def merge_messages(messages: Sequence[WireMessage]) -> WireMessage | None:
    """Return the parts of a message as one, as protobuf does; None for none."""
    if not messages:
        return None
    return WireMessage(messages[0]._source, *(span for part in messages for span in part._spans))


def last_text(messages: Sequence[WireMessage]) -> str:
    """Return the text that counts of some; none is empty. Raises ExcessError."""
    return messages[-1].text() if messages else ""


def _unpacked(message: WireMessage, form: str) -> list[float]:
    size = struct.calcsize(form)
    _expect_few(len(message) // size)
    data = message.data()
    return list(struct.unpack(f"<{len(data) // size}{form}", data[: len(data) // size * size]))


def _expect_few(count: int) -> None:
    if count > _MOST_VALUES:
        raise LimitExceededError(f"expected shapes of at most {_MOST_VALUES} axes, got more")


class OnnxTensor(NamedTuple):
    """What a TensorProto says of itself."""

    name: str
    dims: tuple[int, ...]
    kind: int
    external: dict[str, str] | None
    message: WireMessage

    @property
    def element_bytes(self) -> int:
        """Bytes of one element."""
        return ELEMENT_BYTES.get(self.kind, 1)

    def values(self) -> list[float]:
        """Return the few numbers that it holds itself, none where it holds none.

        Raises ExcessError for more than a shape has.
        """
        if self.kind not in _STRUCT:
            return []
        raw = self.message.one(9)
        if raw is not None:
            return _unpacked(raw, _STRUCT[self.kind])
        if self.kind in _WHOLE_DATA:
            return [*self.message.numbers(_WHOLE_DATA[self.kind])]
        return self.message.floats(_FLOAT_DATA[self.kind], _STRUCT[self.kind])


def read_tensor(message: WireMessage) -> OnnxTensor:
    """Read a TensorProto, except for its data."""
    name, kind, external = "", 0, None
    for field in message:
        if field.number == 2:
            kind = field.value
        elif field.inner is None or field.is_number:
            continue
        elif field.number == 8:
            name = field.inner.text()
        elif field.number == 13:
            key, value = field.inner.one(1), field.inner.one(2)
            external = external or {}
            external[key.text() if key else ""] = value.text() if value else ""
    return OnnxTensor(name, tuple(message.numbers(1)), kind, external, message)


def _signed(value: int) -> int:
    value &= (1 << 64) - 1
    return value - (1 << 64) if value & _INT64_SIGN else value
