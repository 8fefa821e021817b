"""Reads the structure of ONNX files from protobuf's wire format, without loading them.

Weights are skipped, so that a gigabyte of them costs nothing.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

#: Bytes of one element by ONNX's TensorProto.DataType; other types count as one byte.
ELEMENT_BYTES = {1: 4, 4: 2, 5: 2, 6: 4, 7: 8, 10: 2, 11: 8, 12: 4, 13: 8, 14: 8, 15: 16, 16: 2}
FLOAT_BYTES = 4
#: The names of ONNX's TensorProto.DataType, which are numpy's where numpy has the type.
TYPE_NAMES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    8: "string",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    14: "complex64",
    15: "complex128",
    16: "bfloat16",
    17: "float8e4m3fn",
    18: "float8e4m3fnuz",
    19: "float8e5m2",
    20: "float8e5m2fnuz",
    21: "uint4",
    22: "int4",
    23: "float4e2m1",
}

#: Maximum number of message fields in a file; a network has about ten for each node.
MAX_FIELDS = 10_000_000
#: Maximum nesting of graphs, such as a loop in a branch.
MAX_GRAPH_DEPTH = 16
#: TensorProto.DataLocation of values in another file.
EXTERNAL = 1

_VARINT, _FIXED64, _BYTES, _GROUP, _END, _FIXED32 = range(6)
_READ_AHEAD_BYTES = 1 << 16
#: Maximum length of a name, and maximum number of values of a shape.
_MAX_NAME_BYTES = 1 << 16
_MAX_VALUES = 64
#: protobuf's own recursion limit.
_MAX_GROUP_DEPTH = 100
#: The struct format of an element, by data type.
_STRUCT_FORMAT = {1: "f", 6: "i", 7: "q", 11: "d"}
#: The field with a tensor's values if raw_data is not used, by data type.
_INTEGER_FIELDS, _FLOAT_FIELDS = {6: 5, 7: 7}, {1: 4, 11: 10}
_INT64_SIGN_BIT = 1 << 63


class MalformedMessageError(ValueError):
    """The bytes are not a valid message."""


class TruncatedMessageError(MalformedMessageError):
    """A field is longer than its message: the file ends before ``end``, or is damaged."""

    def __init__(self, end: int) -> None:
        super().__init__("a field longer than its message")
        self.end = end


class LimitExceededError(ValueError):
    """A file has more of something than any network needs."""


class ByteSource:
    """An open file whose bytes are read on demand."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.size = os.fstat(descriptor).st_size
        self._fields = 0
        self._start = 0
        self._buffer = b""

    def varint(self, position: int) -> tuple[int, int]:
        """Return a varint and the position after it."""
        offset = position - self._start
        if 0 <= offset < len(self._buffer) and self._buffer[offset] < 0x80:
            return self._buffer[offset], position + 1
        value = shift = 0
        while shift < 70:
            offset = position - self._start
            if not 0 <= offset < len(self._buffer):
                self._start = position
                self._buffer = os.pread(self._descriptor, _READ_AHEAD_BYTES, position)
                offset = 0
                if not self._buffer:
                    break
            byte = self._buffer[offset]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, position
            shift += 7
        raise MalformedMessageError("a varint without an end")

    def count_field(self) -> None:
        """Count a field that is read. Raises LimitExceededError."""
        self._fields += 1
        if self._fields > MAX_FIELDS:
            raise LimitExceededError(f"expected at most {MAX_FIELDS} fields, got more")

    def bytes(self, first: int, last: int) -> bytes:
        """Return the bytes from ``first`` to before ``last``."""
        return os.pread(self._descriptor, last - first, first)


class WireField(NamedTuple):
    """One field: its number, and its value or its bytes as a message."""

    number: int
    value: int
    inner: WireMessage | None
    is_number: bool = True


class WireMessage:
    """A message in one or several parts of a file.

    As in protobuf, the parts of a repeated message are merged; for texts and bytes, the last part
    counts.
    """

    def __init__(self, source: ByteSource, *spans: tuple[int, int]) -> None:
        self._source = source
        self._spans = spans or ((0, source.size),)

    def __iter__(self) -> Iterator[WireField]:
        """Yield the fields. Raises MalformedMessageError, LimitExceededError."""
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
                    raise TruncatedMessageError(at + length)
                yield WireField(
                    key >> 3, length, WireMessage(source, (at, at + length)), is_number=False
                )
                at += length
            elif kind in (_FIXED32, _FIXED64):
                size = 4 if kind == _FIXED32 else 8
                yield WireField(key >> 3, 0, WireMessage(source, (at, at + size)))
                at += size
            elif kind == _GROUP:
                at = self._skip_group(at, key >> 3, end)
            else:
                raise MalformedMessageError(f"a field of wire type {kind}")

    def _skip_group(self, at: int, number: int, end: int) -> int:
        """Return the end of a group, an old kind of field that ONNX does not use."""
        source, groups = self._source, [number]
        while groups:
            if at >= end or len(groups) > _MAX_GROUP_DEPTH:
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
                raise MalformedMessageError("a group that ends another group")
        return at

    def __len__(self) -> int:
        first, last = self._spans[-1]
        return last - first

    def data(self) -> bytes:
        """Return the bytes."""
        return self._source.bytes(*self._spans[-1])

    def text(self) -> str:
        """Return a name. Raises LimitExceededError for one that is too long."""
        if len(self) > _MAX_NAME_BYTES:
            raise LimitExceededError(
                f"expected names of at most {_MAX_NAME_BYTES} bytes, got {len(self)}"
            )
        return self.data().decode(errors="replace")

    def all(self, number: int) -> Iterator[WireMessage]:
        """Yield the messages of one field."""
        for field in self:
            if field.number == number and field.inner is not None and not field.is_number:
                yield field.inner

    def parts(self, *numbers: int) -> dict[int, list[WireMessage]]:
        """Return the messages of several fields, in one pass."""
        messages: dict[int, list[WireMessage]] = {number: [] for number in numbers}
        for field in self:
            if field.number in messages and field.inner is not None and not field.is_number:
                messages[field.number].append(field.inner)
        return messages

    def one(self, number: int) -> WireMessage | None:
        """Return the merged message of one field, None if there is none."""
        return merge_messages([*self.all(number)])

    def numbers(self, number: int) -> list[int]:
        """Return the values of a field of integers, packed or not.

        Raises LimitExceededError for more values than a shape has.
        """
        values: list[int] = []
        for field in self:
            if field.number != number:
                continue
            if field.inner is None:
                values.append(_signed(field.value))
            elif not field.is_number:
                ((at, end),) = field.inner._spans
                while at < end and len(values) <= _MAX_VALUES:
                    value, at = self._source.varint(at)
                    values.append(_signed(value))
            _check_count(len(values))
        return values

    def floats(self, number: int, struct_format: str = "f") -> list[float]:
        """Return the values of a field of floats, packed or not, like :meth:`numbers`."""
        values: list[float] = []
        for field in self:
            if field.number == number and field.inner is not None:
                values += _unpack(field.inner, struct_format)
                _check_count(len(values))
        return values


def merge_messages(messages: Sequence[WireMessage]) -> WireMessage | None:
    """Return the parts of a message as one message, None without parts."""
    if not messages:
        return None
    return WireMessage(messages[0]._source, *(span for part in messages for span in part._spans))


def last_text(messages: Sequence[WireMessage]) -> str:
    """Return the last text, or an empty one without texts. Raises LimitExceededError."""
    return messages[-1].text() if messages else ""


def _unpack(message: WireMessage, struct_format: str) -> list[float]:
    size = struct.calcsize(struct_format)
    _check_count(len(message) // size)
    data = message.data()
    return list(
        struct.unpack(f"<{len(data) // size}{struct_format}", data[: len(data) // size * size])
    )


def _check_count(count: int) -> None:
    if count > _MAX_VALUES:
        raise LimitExceededError(f"expected shapes of at most {_MAX_VALUES} axes, got more")


class OnnxTensor(NamedTuple):
    """The fields of a TensorProto without its data."""

    name: str
    dims: tuple[int, ...]
    kind: int
    external: dict[str, str] | None
    message: WireMessage

    @property
    def element_bytes(self) -> int:
        """Return the bytes of one element."""
        return ELEMENT_BYTES.get(self.kind, 1)

    def values(self) -> list[float]:
        """Return the values stored in the message, none for external data.

        Raises LimitExceededError for more values than a shape has.
        """
        if self.kind not in _STRUCT_FORMAT:
            return []
        raw = self.message.one(9)
        if raw is not None:
            return _unpack(raw, _STRUCT_FORMAT[self.kind])
        if self.kind in _INTEGER_FIELDS:
            return [*self.message.numbers(_INTEGER_FIELDS[self.kind])]
        return self.message.floats(_FLOAT_FIELDS[self.kind], _STRUCT_FORMAT[self.kind])


def read_tensor(message: WireMessage) -> OnnxTensor:
    """Read a TensorProto without its data."""
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
    return value - (1 << 64) if value & _INT64_SIGN_BIT else value
