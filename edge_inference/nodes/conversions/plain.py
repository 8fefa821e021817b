"""Plain words, and plain yes and no."""

from __future__ import annotations

from std_msgs.msg import Bool, String

from edge_inference.composition.adapter import Adapter


class StringAdapter(Adapter[str]):
    """A text."""

    message_type = String

    def to_message(self, item: str) -> String:
        """Build the message."""
        return String(data=item)

    def from_message(self, message: String) -> str:
        """Return the text."""
        return str(message.data)


class BoolAdapter(Adapter[bool]):
    """Yes or no."""

    message_type = Bool

    def to_message(self, item: bool) -> Bool:
        """Build the message."""
        return Bool(data=item)

    def from_message(self, message: Bool) -> bool:
        """Return what it says."""
        return bool(message.data)
