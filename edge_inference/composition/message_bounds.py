"""What comes from topics is bounded here, before anything is made of it.

A serialised message is walked by its type's description, over its bytes: their number, the length
of every text, the count of every sequence, and no control characters in names. Only then is it
deserialised. So a message costs no more than its bounds allow, however it is filled in: half a
megabyte can claim a hundred thousand objects. Of long arrays of numbers only the count is looked
at. The layout is that of ``cdr``.
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

#: A name (of a frame, node, model, label …), in bytes: 256 characters of any script.
MAX_NAME_BYTES = 1024
#: A sentence, or a few, in bytes.
MAX_SENTENCE_BYTES = 8192
#: A path in the file system, in bytes.
MAX_PATH_BYTES = 4096
#: Elements of a sequence of texts or messages.
MAX_ELEMENTS = 1000
#: Fields that hold sentences, in whatever message; all others hold names.
SENTENCES = frozenset(
    {"data", "engine", "final", "incremental", "problem", "reason", "text", "throttling", "wanted"}
)

# In UTF-8: C0, DEL, C1, and what parts lines or turns the direction of writing.
_CONTROL = rb"\x00-\x08\x0b\x0c\x0e-\x1f\x7f"
_HIDDEN = rb"\xc2[\x80-\x9f]|\xe2\x80[\xa8-\xae]|\xe2\x81[\xa6-\xa9]"
_NOT_IN_NAMES = re.compile(rb"[" + _CONTROL + rb"\t\n\r]|" + _HIDDEN)
_NOT_IN_SENTENCES = re.compile(rb"[" + _CONTROL + rb"]|" + _HIDDEN)

_SIZES = {
    **dict.fromkeys(("boolean", "octet", "char", "int8", "uint8"), 1),
    **dict.fromkeys(("int16", "uint16"), 2),
    **dict.fromkeys(("int32", "uint32", "float"), 4),
    **dict.fromkeys(("int64", "uint64", "double"), 8),
}
_LENGTHS = {0: struct.Struct(">I").unpack_from, 1: struct.Struct("<I").unpack_from}


@dataclass(frozen=True)
class MessageBounds:
    """The most that one kind of message may hold; fields are named as in its definition.

    ``size`` is the message's in bytes, serialised. ``texts`` are the bytes of texts that are
    neither a name nor a sentence, ``counts`` the elements of sequences; a sequence of numbers that
    is not named is bounded by ``size`` alone.
    """

    size: int = 64 * 1024
    texts: Mapping[str, int] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)


class BoundsChecker:
    """Lets serialised messages of one type through that keep within its bounds."""

    def __init__(self, message_type: type[Any], bounds: MessageBounds) -> None:
        self._name = message_type.__name__
        self._size = bounds.size
        self._walk = _Members(message_type, bounds)

    def check(self, data: bytes) -> int:
        """Return the place behind the last member; what follows is nobody's.

        Raises InputError for a message that is beyond its bounds, or shorter than it says.
        """
        if len(data) > self._size:
            raise InputError(
                f"{self._name} message: expected at most {self._size} bytes, got {len(data)}"
            )
        end = find_body_end(data, self._name)
        try:
            return self._walk(_Message(self._name, data, end), HEADER_BYTES)
        except struct.error:
            raise _cut_short(self._name, len(data)) from None


class _Message:
    """The bytes that are walked; ``end`` is the place after the last of the body."""

    __slots__ = ("data", "end", "length", "name")

    def __init__(self, name: str, data: bytes, end: int) -> None:
        self.name = name
        self.data = data
        self.end = end
        self.length = _LENGTHS[data[1]]


class _Plain:
    """Members of fixed sizes, one behind the other."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self.sizes = list(sizes)
        # Where they end depends on how they are aligned, which their place modulo 8 tells.
        self._advance = [self._past(at) - at for at in range(8)]

    def _past(self, at: int) -> int:
        for size in self.sizes:
            at = _aligned(at, size) + size
        return at

    def __call__(self, message: _Message, at: int) -> int:
        at += self._advance[at & 7]
        if at > message.end:
            raise _cut_short(message.name, len(message.data))
        return at


class _Text:
    def __init__(self, field_name: str, most: int, odd: re.Pattern[bytes]) -> None:
        self._field = field_name
        self._most = most
        self._find_odd = odd.search

    def __call__(self, message: _Message, at: int) -> int:
        data = message.data
        begin = (at + 3 & ~3) + 4
        (length,) = message.length(data, begin - 4)
        end: int = begin + length
        if length > self._most + 1:  # with the NUL at its end
            raise InputError(
                f"{message.name} message: {self._field}: expected at most {self._most} bytes of "
                f"text, got {length}"
            )
        if end > message.end:
            raise _cut_short(message.name, len(data))
        if length and self._find_odd(data, begin, end - (data[end - 1] == 0)):
            raise InputError(
                f"{message.name} message: {self._field}: expected no control characters, got "
                f"{data[begin:end][:60]!r}"
            )
        return end


class _Numbers:
    """A sequence of numbers: only its count is looked at."""

    def __init__(self, field_name: str, most: int | None, size: int) -> None:
        self._field = field_name
        self._most = most
        self._size = size

    def __call__(self, message: _Message, at: int) -> int:
        at = at + 3 & ~3
        (count,) = message.length(message.data, at)
        at += 4
        if self._most is not None and count > self._most:
            raise _too_many(message.name, self._field, self._most, count)
        if count:
            at = _aligned(at, self._size) + count * self._size
        if at > message.end:
            raise _cut_short(message.name, len(message.data))
        return at


class _Elements:
    """Texts or messages, as many as ``count``, or as many as the message says."""

    def __init__(self, field_name: str, most: int, element: _Step, count: int | None) -> None:
        self._field = field_name
        self._most = most
        self._element = element
        self._count = count

    def __call__(self, message: _Message, at: int) -> int:
        count = self._count
        if count is None:
            at = at + 3 & ~3
            (count,) = message.length(message.data, at)
            at += 4
            if count > self._most:
                raise _too_many(message.name, self._field, self._most, count)
        element = self._element
        for _ in range(count):
            at = element(message, at)
        return at


class _Members:
    """The members of a message in order; those of messages in it are among them."""

    def __init__(self, message_type: type[Any], bounds: MessageBounds) -> None:
        sizes: list[int] = []
        self._steps: list[_Step] = []
        for step in _steps(message_type, bounds):
            if isinstance(step, _Plain):
                sizes += step.sizes
            else:
                self._steps += [_Plain(sizes)] if sizes else []
                self._steps.append(step)
                sizes = []
        self._steps += [_Plain(sizes)] if sizes else []

    def __call__(self, message: _Message, at: int) -> int:
        for step in self._steps:
            at = step(message, at)
        return at


_Step = _Plain | _Text | _Numbers | _Elements | _Members


def _steps(message_type: type[Any], bounds: MessageBounds) -> list[_Step]:
    names, kinds = list(message_type.get_fields_and_field_types()), message_type.SLOT_TYPES
    if not names:
        return [_Plain([1])]  # rosidl gives an empty message one byte
    members = zip(names, kinds, strict=True)
    return [step for name, kind in members for step in _steps_of(name, kind, bounds)]


def _steps_of(name: str, kind: Any, bounds: MessageBounds) -> list[_Step]:
    if isinstance(kind, idl.NamespacedType):
        return _steps(_class_of(kind), bounds)
    if isinstance(kind, idl.BasicType):
        return [_Plain([_SIZES[kind.typename]])]
    if isinstance(kind, idl.AbstractString):
        usual, odd = MAX_NAME_BYTES, _NOT_IN_NAMES
        if name in SENTENCES:
            usual, odd = MAX_SENTENCE_BYTES, _NOT_IN_SENTENCES
        return [_Text(name, bounds.texts.get(name, usual), odd)]
    if not isinstance(kind, idl.AbstractSequence | idl.Array):  # a kind of text that nobody uses
        raise TypeError(f"{name}: {type(kind).__name__} is not known")
    inner, size = kind.value_type, kind.size if isinstance(kind, idl.Array) else None
    own = kind.maximum_size if isinstance(kind, idl.BoundedSequence) else None
    most = bounds.counts.get(name, own)
    if isinstance(inner, idl.BasicType):
        width = _SIZES[inner.typename]
        return [_Numbers(name, most, width) if size is None else _Plain([width] * size)]
    if isinstance(inner, idl.NamespacedType):
        element: _Step = _Members(_class_of(inner), bounds)
    else:
        (element,) = _steps_of(name, inner, bounds)
    return [_Elements(name, MAX_ELEMENTS if most is None else most, element, size)]


def _class_of(kind: Any) -> type[Any]:
    found: type[Any] = getattr(importlib.import_module(".".join(kind.namespaces)), kind.name)
    return found


def _aligned(at: int, size: int) -> int:
    """Return the next place for a number; places are counted from the end of the header."""
    return at + (HEADER_BYTES - at) % size


def _cut_short(name: str, size: int) -> InputError:
    return InputError(f"{name} message is cut short: expected more than the {size} bytes it has")


def _too_many(name: str, field_name: str, most: int, count: int) -> InputError:
    return InputError(
        f"{name} message: {field_name}: expected at most {most} elements, got {count}"
    )
