"""Newest data first: the mailbox before a worker, and the age of what is in it."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")

#: How far ahead of our clock a camera's stamp may be before it counts as wrong.
FUTURE_TOLERANCE_NS = 50_000_000


class Mailbox(Generic[Item]):
    """Hands items from any thread to one worker, and never grows beyond ``depth``.

    With ``depth`` 1 the worker always gets the latest item. When the mailbox is
    full, ``put`` drops the oldest item; with ``wait=True`` it waits for room
    instead, which slows a producer down to the worker's pace.
    """

    def __init__(self, depth: int = 1, wait: bool = False) -> None:
        # Each with whether its producer would have waited for room.
        self._items: deque[tuple[Item, bool]] = deque()
        self._changed = threading.Condition()
        self._depth = depth
        self._wait = wait
        self._closed = False

    @property
    def is_closed(self) -> bool:
        """Tell whether nothing is taken in any more."""
        return self._closed

    def configure(self, depth: int, wait: bool) -> None:
        """Change depth and policy; items beyond the new depth go with the next ``put``."""
        with self._changed:
            self._depth = depth
            self._wait = wait
            self._changed.notify_all()

    def put(self, item: Item, may_wait: bool = True) -> list[Item]:
        """Add an item; return the items that were dropped for it (itself, once closed).

        ``may_wait`` False is for callers that must not be held up. Where the
        policy is to wait they never cost those who do wait an item: the oldest
        of their own kind is dropped, or else the new item itself.
        """
        with self._changed:
            while self._wait and may_wait and not self._closed and len(self._items) >= self._depth:
                self._changed.wait()
            if self._closed:
                return [item]
            self._items.append((item, may_wait))
            dropped = []
            while len(self._items) > self._depth:
                dropped.append(self._drop_one())
            self._changed.notify_all()
            return dropped

    def take(self) -> Item | None:
        """Wait for the oldest item and return it; None once the mailbox is closed."""
        with self._changed:
            while not self._items and not self._closed:
                self._changed.wait()
            if self._closed:
                return None
            item, _ = self._items.popleft()
            self._changed.notify_all()
            return item

    def close(self) -> list[Item]:
        """Wake everybody up for good; return what nobody took."""
        with self._changed:
            self._closed = True
            left = [item for item, _ in self._items]
            self._items.clear()
            self._changed.notify_all()
            return left

    def __len__(self) -> int:
        return len(self._items)

    def _drop_one(self) -> Item:
        waits = (waited for _, waited in self._items) if self._wait else ()
        place = next((place for place, waited in enumerate(waits) if not waited), 0)
        item, _ = self._items[place]
        del self._items[place]
        return item


def stamp_fault(stamp_ns: int, now_ns: int) -> str | None:
    """Say what is wrong with a capture stamp, None where its age can be told."""
    if stamp_ns <= 0:
        return "stamp_zero"
    if stamp_ns > now_ns + FUTURE_TOLERANCE_NS:
        return "stamp_in_future"
    return None


def age_ms(stamp_ns: int, now_ns: int) -> float | None:
    """Return the milliseconds since capture, None where the stamp cannot tell."""
    if stamp_fault(stamp_ns, now_ns):
        return None
    return max(0, now_ns - stamp_ns) / 1e6
