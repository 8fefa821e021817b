"""Converts numbers, optional numbers and limits, and checks their ranges."""

from __future__ import annotations

import math
from typing import NamedTuple

from std_msgs.msg import Float32

from edge_inference.composition.adapter import Adapter
from edge_inference.errors import InputError


class NumberRange(NamedTuple):
    """An inclusive range; with ``allow_zero``, 0 is also valid."""

    minimum: float
    maximum: float
    allow_zero: bool = False

    def contains(self, value: float) -> bool:
        """Tell whether a number is in the range; NaN and infinity are not."""
        return self.minimum <= value <= self.maximum or (self.allow_zero and value == 0.0)

    def __str__(self) -> str:
        """Return the range as text for an error."""
        text = f"a number from {self.minimum:g} to {self.maximum:g}"
        return f"0, or {text}" if self.allow_zero else text


#: A fraction of a whole.
SHARE = NumberRange(0.0, 1.0)
#: A rate; values below one in some hours are invalid.
RATE_HZ = NumberRange(1e-4, 1e6, allow_zero=True)
#: A number in a spoken command.
SLOT_VALUE = NumberRange(-1e9, 1e9)
#: A duration; longer than some days is invalid.
TIME_MS = NumberRange(0.0, 1e9)
#: An age; a replayed recording may be years old.
AGE_MS = NumberRange(0.0, 1e13)


def from_optional(value: float | None, unknown: float = math.nan) -> float:
    """Return the number for a message; ``unknown`` stands for None.

    The number is a float: rclpy writes the bytes of an int into the message as if it were one.
    """
    return unknown if value is None else float(value)


def to_number(value: float, allowed: NumberRange, name: str) -> float:
    """Return a number of a message; raises InputError where it is out of range.

    ``name`` names the message and its field.
    """
    if not allowed.contains(value):
        raise InputError(f"{name}: expected {allowed}, got {value:g}")
    return float(value)


def to_optional(value: float, allowed: NumberRange, name: str) -> float | None:
    """Return a number of a message, None for NaN; raises InputError like ``to_number``."""
    if math.isnan(value):
        return None
    if not allowed.contains(value):
        raise InputError(f"{name}: expected {allowed}, or NaN if unknown, got {value:g}")
    return float(value)


def to_limit(value: float, allowed: NumberRange, name: str) -> float | None:
    """Return a limit of a message, None for infinity; raises InputError like ``to_number``."""
    if value == math.inf:
        return None
    if not allowed.contains(value):
        raise InputError(f"{name}: expected {allowed}, or infinity for no limit, got {value:g}")
    return float(value)


class Float32Adapter(Adapter[float]):
    """A number as ``std_msgs/Float32``."""

    message_type = Float32

    def to_message(self, item: float) -> Float32:
        """Build the message."""
        return Float32(data=float(item))

    def from_message(self, message: Float32) -> float:
        """Return the number."""
        return float(message.data)
