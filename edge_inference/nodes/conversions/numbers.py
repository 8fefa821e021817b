"""Plain numbers, numbers that may be unknown, and the range that each of them can be true in."""

from __future__ import annotations

import math
from typing import NamedTuple

from std_msgs.msg import Float32

from edge_inference.composition.adapter import Adapter
from edge_inference.errors import InputError


class NumberRange(NamedTuple):
    """From the least to the most; ``or_zero``: or none at all."""

    least: float
    most: float
    or_zero: bool = False

    def holds(self, value: float) -> bool:
        """Tell whether a number lies within; NaN and infinity never do."""
        return self.least <= value <= self.most or (self.or_zero and value == 0.0)

    def __str__(self) -> str:
        """Return it in words."""
        return f"{'0, or ' if self.or_zero else ''}a number from {self.least:g} to {self.most:g}"


#: A share of a whole.
SHARE = NumberRange(0.0, 1.0)
#: Times a second; fewer than one in some hours is none.
RATE_HZ = NumberRange(1e-4, 1e6, or_zero=True)
#: A value that somebody has said.
SLOT_VALUE = NumberRange(-1e9, 1e9)
#: Nothing takes or waits for longer than some days.
TIME_MS = NumberRange(0.0, 1e9)
#: A recording that is played again is as old as it is.
AGE_MS = NumberRange(0.0, 1e13)


def from_optional(value: float | None, unknown: float = math.nan) -> float:
    """Return what stands for a number in a message; ``unknown`` where there is none."""
    return unknown if value is None else value


def to_number(value: float, within: NumberRange, name: str) -> float:
    """Return a message's number; InputError for one that cannot be true.

    ``name`` is of the message and its field.
    """
    if not within.holds(value):
        raise InputError(f"{name}: expected {within}, got {value:g}")
    return float(value)


def to_optional(value: float, within: NumberRange, name: str) -> float | None:
    """Return a message's number, None where NaN stands for unknown; InputError as above."""
    if math.isnan(value):
        return None
    if not within.holds(value):
        raise InputError(f"{name}: expected {within}, or NaN where it is not known, got {value:g}")
    return float(value)


def to_limit(value: float, within: NumberRange, name: str) -> float | None:
    """Return a message's limit, None where infinity stands for no limit; InputError as above."""
    if value == math.inf:
        return None
    if not within.holds(value):
        raise InputError(f"{name}: expected {within}, or infinity for no limit, got {value:g}")
    return float(value)


class Float32Adapter(Adapter[float]):
    """One number."""

    message_type = Float32

    def to_message(self, item: float) -> Float32:
        """Build the message."""
        return Float32(data=float(item))

    def from_message(self, message: Float32) -> float:
        """Return the number."""
        return float(message.data)
