"""A sliding window of time in slots: what is in it is added to the newest slot and merged."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Slot = TypeVar("Slot")

#: The window moves in steps of one slot, so that it covers up to one slot more than its length.
SLOTS = 10


class SlidingWindow(Generic[Slot]):
    """The slots of the last ``window_ns`` nanoseconds of any monotonic clock; None: of all time.

    ``make`` returns an empty slot. A length may be changed to another one at any time; a longer
    window fills with time.
    """

    def __init__(self, make: Callable[[], Slot], window_ns: int | None) -> None:
        self.window_ns = window_ns
        self._make = make
        #: Begin, end and content of each slot; the end is None for all time.
        self._slots: deque[tuple[int, int | None, Slot]] = deque()

    def current(self, now_ns: int) -> Slot:
        """Return the slot for what happens now."""
        if self._slots:
            _, end_ns, slot = self._slots[-1]
            if end_ns is None or now_ns < end_ns:
                return slot
        slot = self._make()
        if self.window_ns is None:
            self._slots.append((now_ns, None, slot))
            return slot
        slot_ns = max(1, self.window_ns // SLOTS)
        begin_ns = now_ns // slot_ns * slot_ns
        self._slots.append((begin_ns, begin_ns + slot_ns, slot))
        self._remove_old(now_ns)
        return slot

    def slots(self, now_ns: int) -> list[Slot]:
        """Return the slots in the window that ends now, the oldest first."""
        self._remove_old(now_ns)
        return [slot for _, _, slot in self._slots]

    def begin_ns(self, now_ns: int) -> int | None:
        """Return the begin of what ``slots`` covers; None for all time."""
        if self.window_ns is None:
            return None
        self._remove_old(now_ns)
        oldest_ns = now_ns - self.window_ns
        return min(oldest_ns, self._slots[0][0]) if self._slots else oldest_ns

    def _remove_old(self, now_ns: int) -> None:
        if self.window_ns is None:
            return
        oldest_ns = now_ns - self.window_ns
        while self._slots and (end_ns := self._slots[0][1]) is not None and end_ns <= oldest_ns:
            self._slots.popleft()
