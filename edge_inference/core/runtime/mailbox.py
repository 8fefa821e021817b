"""The queue before a worker that keeps the newest items."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Mailbox(Generic[Item]):
    """Passes items from any thread to one worker, and holds at most ``depth`` items.

    With ``depth`` 1 the worker always gets the latest item. When the mailbox is
    full, ``put`` drops the oldest item; with ``wait=True`` it waits for space
    instead, which slows the producer down to the rate of the worker.
    """

    def __init__(self, depth: int = 1, wait: bool = False) -> None:
        # Each item with its ``may_wait``.
        self._items: deque[tuple[Item, bool]] = deque()
        self._changed = threading.Condition()
        self._depth = depth
        self._wait = wait
        self._closed = False

    @property
    def is_closed(self) -> bool:
        """Tell whether the mailbox accepts no more items."""
        return self._closed

    def configure(self, depth: int, wait: bool) -> None:
        """Change depth and policy; the next ``put`` drops the items beyond the new depth."""
        with self._changed:
            self._depth = depth
            self._wait = wait
            self._changed.notify_all()

    def put(self, item: Item, may_wait: bool = True) -> list[Item]:
        """Add an item; return the dropped items (the item itself, once closed).

        ``may_wait`` is False for callers that must not block. Where the policy is to wait, their
        items never displace an item of a caller that waits: the oldest item
        of a caller that did not wait is dropped, possibly the new item.
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
        """Close the mailbox and wake all waiting threads; return the remaining items."""
        with self._changed:
            self._closed = True
            remaining = [item for item, _ in self._items]
            self._items.clear()
            self._changed.notify_all()
            return remaining

    def __len__(self) -> int:
        return len(self._items)

    def _drop_one(self) -> Item:
        could_wait = (may_wait for _, may_wait in self._items) if self._wait else ()
        index = next((index for index, may_wait in enumerate(could_wait) if not may_wait), 0)
        item, _ = self._items[index]
        del self._items[index]
        return item
