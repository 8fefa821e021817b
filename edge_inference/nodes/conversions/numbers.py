"""Plain numbers: a float as ``std_msgs/Float32``."""

from __future__ import annotations

from std_msgs.msg import Float32

from edge_inference.composition.adapter import Adapter


class Float32Adapter(Adapter[float]):
    """One number."""

    message_type = Float32

    def to_message(self, item: float) -> Float32:
        """Build the message."""
        return Float32(data=float(item))

    def from_message(self, message: Float32) -> float:
        """Return the number."""
        return float(message.data)
