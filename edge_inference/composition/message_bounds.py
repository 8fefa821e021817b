"""Bounds of messages from topics, checked before a message is deserialised.

The checker walks the bytes of a serialised message by the description of its type. It checks
the size, the length of every string, the count of every sequence, and control characters in
names. So the cost of a message is bounded, whatever its content: half a megabyte can claim a
hundred thousand objects. For sequences of numbers only the count is checked. The layout is that
of ``cdr``.
"""

from __future__ import annotations

import importlib
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rosidl_parser import definition as idl

from edge_inference.composition.cdr import HEADER_BYTES, find_body_end
from edge_inference.errors import InputError

#: Length of a name (of a frame, node, model, label …): 256 characters of any script.
MAX_NAME_BYTES = 1024
#: Length of a few sentences.
MAX_SENTENCE_BYTES = 8192
#: Length of a path in the file system.
MAX_PATH_BYTES = 4096
#: Number of elements of a sequence of strings or messages.
MAX_ELEMENTS = 1000
#: Fields that hold sentences, in any message; all other string fields hold names.
SENTENCES = frozenset(
    {
        "data",
        "engine",
        "final",
        "incremental",
        "preparing",
        "problem",
        "reason",
        "text",
        "throttling",
    }
)

# In UTF-8: C0, DEL, C1, line separators and characters that change the direction of text.
_CONTROL = rb"\x00-\x08\x0b\x0c\x0e-\x1f\x7f"
_HIDDEN = rb"\xc2[\x80-\x9f]|\xe2\x80[\xa8-\xae]|\xe2\x81[\xa6-\xa9]"
_FORBIDDEN_IN_NAMES = re.compile(rb"[" + _CONTROL + rb"\t\n\r]|" + _HIDDEN)
_FORBIDDEN_IN_SENTENCES = re.compile(rb"[" + _CONTROL + rb"]|" + _HIDDEN)

_SIZES = {
    **dict.fromkeys(("boolean", "octet", "char", "int8", "uint8"), 1),
    **dict.fromkeys(("int16", "uint16"), 2),
    **dict.fromkeys(("int32", "uint32", "float"), 4),
    **dict.fromkeys(("int64", "uint64", "double"), 8),
}
_LENGTHS = {0: struct.Struct(">I").unpack_from, 1: struct.Struct("<I").unpack_from}


@dataclass(frozen=True)
class MessageBounds:
    """The limits of one message type; fields are named as in its definition.

    ``size`` is the maximum of the serialised message in bytes. ``texts`` are the maximum bytes of
    strings that are neither a name nor a sentence, ``counts`` the maximum elements of sequences.
    A sequence of numbers without a count is limited only by ``size``.
    """

    size: int = 64 * 1024
    texts: Mapping[str, int] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)


class BoundsChecker:
    """Checks the bounds of serialised messages of one type."""

    def __init__(self, message_type: type[Any], bounds: MessageBounds) -> None:
        self._name = message_type.__name__
        self._size = bounds.size
        self._walk = _MessageMembers(message_type, bounds)

    def check(self, data: bytes) -> int:
        """Return the offset after the last member.

        Raises InputError for a message that exceeds its bounds, or is shorter than it says.
        """
        if len(data) > self._size:
            raise InputError(
                f"{self._name} message: expected at most {self._size} bytes, got {len(data)}"
            )
        end = find_body_end(data, self._name)
        try:
            return self._walk(_Message(self._name, data, end), HEADER_BYTES)
        except struct.error:
            raise _make_cut_short_error(self._name, len(data)) from None


class _Message:
    """A serialised message; ``end`` is the offset after the last byte of the body."""

    __slots__ = ("data", "end", "length", "name")

    def __init__(self, name: str, data: bytes, end: int) -> None:
        self.name = name
        self.data = data
        self.end = end
        self.length = _LENGTHS[data[1]]


class _FixedSize:
    """Consecutive members of fixed sizes."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self.sizes = list(sizes)
        # Their length depends on the alignment, and so on the offset modulo 8.
        self._advance = [self._advance_past(at) - at for at in range(8)]

    def _advance_past(self, at: int) -> int:
        for size in self.sizes:
            at = _align(at, size) + size
        return at

    def __call__(self, message: _Message, at: int) -> int:
        at += self._advance[at & 7]
        if at > message.end:
            raise _make_cut_short_error(message.name, len(message.data))
        return at


class _String:
    def __init__(self, field_name: str, max_bytes: int, forbidden: re.Pattern[bytes]) -> None:
        self._field = field_name
        self._max_bytes = max_bytes
        self._find_forbidden = forbidden.search

    def __call__(self, message: _Message, at: int) -> int:
        data = message.data
        begin = (at + 3 & ~3) + 4
        (length,) = message.length(data, begin - 4)
        end: int = begin + length
        if length > self._max_bytes + 1:  # with the NUL at its end
            raise InputError(
                f"{message.name} message: {self._field}: expected at most {self._max_bytes} bytes "
                f"of text, got {length}"
            )
        if end > message.end:
            raise _make_cut_short_error(message.name, len(data))
        if length and self._find_forbidden(data, begin, end - (data[end - 1] == 0)):
            raise InputError(
                f"{message.name} message: {self._field}: expected no control characters, got "
                f"{data[begin:end][:60]!r}"
            )
        return end


class _NumberSequence:
    """A sequence of numbers; only its count is checked."""

    def __init__(self, field_name: str, max_count: int | None, size: int) -> None:
        self._field = field_name
        self._max_count = max_count
        self._size = size

    def __call__(self, message: _Message, at: int) -> int:
        at = at + 3 & ~3
        (count,) = message.length(message.data, at)
        at += 4
        if self._max_count is not None and count > self._max_count:
            raise _make_count_error(message.name, self._field, self._max_count, count)
        if count:
            at = _align(at, self._size) + count * self._size
        if at > message.end:
            raise _make_cut_short_error(message.name, len(message.data))
        return at


class _ElementSequence:
    """Strings or messages: ``count`` of them, or the number in the message."""

    def __init__(self, field_name: str, max_count: int, element: _Step, count: int | None) -> None:
        self._field = field_name
        self._max_count = max_count
        self._element = element
        self._count = count

    def __call__(self, message: _Message, at: int) -> int:
        count = self._count
        if count is None:
            at = at + 3 & ~3
            (count,) = message.length(message.data, at)
            at += 4
            if count > self._max_count:
                raise _make_count_error(message.name, self._field, self._max_count, count)
        element = self._element
        for _ in range(count):
            at = element(message, at)
        return at


class _MessageMembers:
    """The members of a message in order, including those of nested messages."""

    def __init__(self, message_type: type[Any], bounds: MessageBounds) -> None:
        sizes: list[int] = []
        self._steps: list[_Step] = []
        for step in _make_steps(message_type, bounds):
            if isinstance(step, _FixedSize):
                sizes += step.sizes
            else:
                self._steps += [_FixedSize(sizes)] if sizes else []
                self._steps.append(step)
                sizes = []
        self._steps += [_FixedSize(sizes)] if sizes else []

    def __call__(self, message: _Message, at: int) -> int:
        for step in self._steps:
            at = step(message, at)
        return at


_Step = _FixedSize | _String | _NumberSequence | _ElementSequence | _MessageMembers


def _make_steps(message_type: type[Any], bounds: MessageBounds) -> list[_Step]:
    names, kinds = list(message_type.get_fields_and_field_types()), message_type.SLOT_TYPES
    if not names:
        return [_FixedSize([1])]  # in rosidl an empty message has one byte
    members = zip(names, kinds, strict=True)
    return [step for name, kind in members for step in _make_member_steps(name, kind, bounds)]


def _make_member_steps(name: str, kind: Any, bounds: MessageBounds) -> list[_Step]:
    if isinstance(kind, idl.NamespacedType):
        return _make_steps(_find_class(kind), bounds)
    if isinstance(kind, idl.BasicType):
        return [_FixedSize([_SIZES[kind.typename]])]
    if isinstance(kind, idl.AbstractString):
        max_bytes, forbidden = MAX_NAME_BYTES, _FORBIDDEN_IN_NAMES
        if name in SENTENCES:
            max_bytes, forbidden = MAX_SENTENCE_BYTES, _FORBIDDEN_IN_SENTENCES
        return [_String(name, bounds.texts.get(name, max_bytes), forbidden)]
    if not isinstance(kind, idl.AbstractSequence | idl.Array):  # a wide string
        raise TypeError(f"{name}: {type(kind).__name__} is not supported")
    inner, size = kind.value_type, kind.size if isinstance(kind, idl.Array) else None
    declared = kind.maximum_size if isinstance(kind, idl.BoundedSequence) else None
    max_count = bounds.counts.get(name, declared)
    if isinstance(inner, idl.BasicType):
        item_size = _SIZES[inner.typename]
        return [
            _NumberSequence(name, max_count, item_size)
            if size is None
            else _FixedSize([item_size] * size)
        ]
    if isinstance(inner, idl.NamespacedType):
        element: _Step = _MessageMembers(_find_class(inner), bounds)
    else:
        (element,) = _make_member_steps(name, inner, bounds)
    return [_ElementSequence(name, MAX_ELEMENTS if max_count is None else max_count, element, size)]


def _find_class(kind: Any) -> type[Any]:
    found: type[Any] = getattr(importlib.import_module(".".join(kind.namespaces)), kind.name)
    return found


def _align(at: int, size: int) -> int:
    """Return the next aligned offset; alignment is counted from the end of the header."""
    return at + (HEADER_BYTES - at) % size


def _make_cut_short_error(name: str, size: int) -> InputError:
    return InputError(f"{name} message is cut short: expected more than the {size} bytes it has")


def _make_count_error(name: str, field_name: str, max_count: int, count: int) -> InputError:
    return InputError(
        f"{name} message: {field_name}: expected at most {max_count} elements, got {count}"
    )
