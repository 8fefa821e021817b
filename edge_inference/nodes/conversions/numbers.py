"""Plain numbers, and numbers that may be unknown."""

from __future__ import annotations

import math

from std_msgs.msg import Float32

from edge_inference.composition.adapter import Adapter


def from_optional(value: float | None, unknown: float = math.nan) -> float:
    """Return what stands for a number in a message; ``unknown`` where there is none."""
    return unknown if value is None else value


def to_optional(value: float) -> float | None:
    """Return a message's number, None where NaN or infinity stands for none."""
    return float(value) if math.isfinite(value) else None


class Float32Adapter(Adapter[float]):
    """One number."""

    message_type = Float32

    def to_message(self, item: float) -> Float32:
        """Build the message."""
        return Float32(data=float(item))

    def from_message(self, message: Float32) -> float:
        """Return the number."""
        return float(message.data)
