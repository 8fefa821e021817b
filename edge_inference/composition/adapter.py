"""How an object that nodes hand over by reference looks as a ROS message."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

from rclpy.serialization import deserialize_message, serialize_message

from edge_inference.composition.cdr import with_plain_header

Object = TypeVar("Object")


class Adapter(ABC, Generic[Object]):
    """Turns one kind of object into one ROS message type and back.

    ``to_bytes`` and ``from_bytes`` are the CDR form; override them where the
    generated code is slow (pictures). All four are pure; ``from_*`` raise
    InputError for a message that contradicts itself.
    """

    #: The ROS message class, as in ``create_publisher``.
    message_type: type[Any]

    @abstractmethod
    def to_message(self, item: Object) -> Any:
        """Build the message."""

    @abstractmethod
    def from_message(self, message: Any) -> Object:
        """Build the object; it may keep views of the message's data."""

    def to_bytes(self, item: Object) -> bytes:
        """Build the message in serialised form."""
        return serialize_message(self.to_message(item))

    def from_bytes(self, data: bytes) -> Object:
        """Build the object from the serialised message; it may keep views of ``data``."""
        plain = with_plain_header(data, self.message_type.__name__)
        return self.from_message(deserialize_message(plain, self.message_type))
