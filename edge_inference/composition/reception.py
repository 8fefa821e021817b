"""How a message has arrived: by reference, or from where, how late and after how many lost ones."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

#: Length of the identity of an endpoint; some ROS releases pad it with zeros.
GID_LENGTH = 16
#: Maximum number of publishers of a topic whose sequence numbers are followed.
_MAX_PUBLISHERS = 64
#: A greater gap is no loss but another count; the middleware's number for "unknown" is one, too.
_MAX_GAP = 1_000_000


class Reception(NamedTuple):
    """How an object has arrived.

    ``by_reference``: from this process, without a message. ``receive_ms`` is the time from the
    reception of the message by the middleware to the callback, None by reference, and where the
    middleware does not tell. ``lost`` messages of the same publisher, just before this one, never
    came.
    """

    by_reference: bool
    receive_ms: float | None = None
    lost: int = 0


BY_REFERENCE = Reception(by_reference=True)


class RawCallback:
    """A subscription callback that receives the bytes of a message and its info.

    rclpy inspects the callback's signature to decide whether to pass the info; its events executor
    passes both as one tuple, and before Iron there are only the bytes.
    """

    __signature__ = inspect.signature(lambda data, info: None)

    def __init__(self, callback: Callable[[bytes, Any], None]) -> None:
        self._callback = callback

    def __call__(self, *arguments: Any) -> None:
        """Receive a message."""
        if len(arguments) == 1:
            arguments = arguments[0] if isinstance(arguments[0], tuple) else (arguments[0], None)
        self._callback(*arguments)


class ReceptionLog:
    """Follows the sequence numbers of the publishers of one subscription.

    Only for the executor's thread. A publisher that starts again has another identity, or counts
    from the beginning; neither is a loss. Before Kilted rclpy does not report the publisher of a
    message: then losses are counted only while ``count_publishers`` returns 1.
    """

    def __init__(self, count_publishers: Callable[[], int]) -> None:
        self._count_publishers = count_publishers
        self._last: OrderedDict[bytes | None, int] = OrderedDict()

    def add(self, info: Any, now_ns: int) -> Reception:
        """Return how the message with this info has arrived.

        ``info`` is rclpy's, None where there is none. ``now_ns`` is on the system clock, as the
        middleware's time of reception.
        """
        if not isinstance(info, Mapping):
            return Reception(by_reference=False)
        received_ns = info.get("received_timestamp") or 0
        # After a step of the system clock back, the time is unknown.
        receive_ms = (now_ns - received_ns) / 1e6 if 0 < received_ns <= now_ns else None
        return Reception(False, receive_ms, self._count_lost(info))

    def _count_lost(self, info: Mapping[str, Any]) -> int:
        publisher, number = publisher_id(info), info.get("publication_sequence_number")
        if number is None:
            return 0
        last = self._last.pop(publisher, number)
        self._last[publisher] = number
        if len(self._last) > _MAX_PUBLISHERS:
            self._last.popitem(last=False)
        gap = number - last - 1
        if not 0 < gap < _MAX_GAP or (publisher is None and self._count_publishers() != 1):
            return 0
        return gap


def publisher_id(info: Any) -> bytes | None:
    """Return the identity of a message's publisher, None if rclpy does not report it."""
    gid = info.get("publisher_gid") if isinstance(info, Mapping) else None
    return gid["data"][:GID_LENGTH] if gid else None
