"""Hands the newest of a series of items to any number of waiters; it is never a queue."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

Item = TypeVar("Item")


class NewestItem(Generic[Item]):
    """The newest item and its number; used in the thread of one event loop."""

    def __init__(self) -> None:
        self._item: Item | None = None
        self._number = 0
        self._changed = asyncio.Event()

    def put(self, item: Item) -> None:
        """Replace the item and wake those who wait."""
        self._item = item
        self._number += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def after(self, number: int) -> tuple[int, Item]:
        """Wait for an item with another number than ``number``; return its number and the item."""
        while self._number == number:
            await self._changed.wait()
        assert self._item is not None
        return self._number, self._item
