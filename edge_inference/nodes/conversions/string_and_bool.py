"""Adapters for std_msgs: String and Bool."""

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
    """A flag."""

    message_type = Bool

    def to_message(self, item: bool) -> Bool:
        """Build the message."""
        return Bool(data=item)

    def from_message(self, message: Bool) -> bool:
        """Return the flag."""
        return bool(message.data)
