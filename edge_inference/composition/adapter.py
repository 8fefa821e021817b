"""How an object that nodes hand over by reference looks as a ROS message."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, ClassVar, Generic, TypeVar, final

from rclpy.serialization import deserialize_message, serialize_message

from edge_inference.composition.cdr import normalize_header
from edge_inference.composition.message_bounds import BoundsChecker, MessageBounds
from edge_inference.errors import InputError

Object = TypeVar("Object")


class Adapter(ABC, Generic[Object]):
    """Turns one kind of object into one ROS message type and back.

    ``to_bytes`` and ``read`` are the CDR form; override them where the generated code is slow
    (images). All are pure; ``from_*`` raise InputError for a message that contradicts itself.
    What comes from outside enters by ``from_bytes`` alone, which keeps it within ``bounds``.
    """

    #: The ROS message class, as in ``create_publisher``.
    message_type: type[Any]
    #: The most that a message from outside may hold.
    bounds: ClassVar[MessageBounds] = MessageBounds()

    @abstractmethod
    def to_message(self, item: Object) -> Any:
        """Build the message."""

    @abstractmethod
    def from_message(self, message: Any) -> Object:
        """Build the object; it may keep views of the message's data."""

    def to_bytes(self, item: Object) -> bytes:
        """Build the message in serialised form."""
        return serialize_message(self.to_message(item))

    @final
    def from_bytes(self, data: bytes) -> Object:
        """Build the object from the serialised message; it may keep views of ``data``.

        Raises InputError for a message beyond its bounds, before anything is made of it.
        """
        self._gate.check(data)
        return self.read(data)

    def read(self, data: bytes) -> Object:
        """Build the object from a serialised message within its bounds."""
        name = self.message_type.__name__
        plain = normalize_header(data, name)
        try:
            message = deserialize_message(plain, self.message_type)
        except Exception as error:  # of whichever middleware there is
            raise InputError(
                f"{name} message: expected one that can be read, got {len(data)} bytes: {error}"
            ) from error
        return self.from_message(message)

    @cached_property
    def _gate(self) -> BoundsChecker:
        return BoundsChecker(self.message_type, self.bounds)
