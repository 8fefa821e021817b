"""Conversion between an object that nodes pass by reference and its ROS message."""

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
    """Converts one kind of object to one ROS message type and back.

    ``to_bytes`` and ``read`` use serialised CDR; override them where the generated code is slow
    (images). All methods are pure; ``from_*`` raise InputError for an inconsistent message.
    Messages from other processes enter only through ``from_bytes``, which checks ``bounds``.
    """

    #: The ROS message class, as in ``create_publisher``.
    message_type: type[Any]
    #: The limits of a message from another process.
    bounds: ClassVar[MessageBounds] = MessageBounds()

    @abstractmethod
    def to_message(self, item: Object) -> Any:
        """Build the message."""

    @abstractmethod
    def from_message(self, message: Any) -> Object:
        """Build the object; it may keep views of the data in the message."""

    def to_bytes(self, item: Object) -> bytes:
        """Build the serialised message."""
        return serialize_message(self.to_message(item))

    @final
    def from_bytes(self, data: bytes) -> Object:
        """Build the object from the serialised message; it may keep views of ``data``.

        Raises InputError for a message that exceeds its bounds, before it is deserialised.
        """
        self._bounds_checker.check(data)
        return self.read(data)

    def read(self, data: bytes) -> Object:
        """Build the object from a serialised message within its bounds."""
        name = self.message_type.__name__
        plain = normalize_header(data, name)
        try:
            message = deserialize_message(plain, self.message_type)
        except Exception as error:  # the type depends on the middleware
            raise InputError(
                f"{name} message: expected a valid message, got {len(data)} bytes: {error}"
            ) from error
        return self.from_message(message)

    @cached_property
    def _bounds_checker(self) -> BoundsChecker:
        return BoundsChecker(self.message_type, self.bounds)
