"""How much work is offered to a node, and how much of it is done."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Hashable

#: Rates are taken over so long.
WINDOW_NS = 5_000_000_000
#: Weight of the latest measurement in a running mean of process times.
_NEWEST = 0.1


class WorkMeter:
    """Counts from any thread; times are nanoseconds of one rising clock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._offered: deque[tuple[int, int]] = deque()
        self._done: deque[tuple[int, int]] = deque()
        self._process_ms: dict[Hashable, float] = {}
        self._started_ns: int | None = None

    def offer(self, now_ns: int, count: int = 1) -> None:
        """Count what was offered, taken in or not."""
        with self._lock:
            if self._started_ns is None:
                self._started_ns = now_ns
            self._offered.append((now_ns, count))
            _forget(self._offered, now_ns)

    def done(self, now_ns: int, way: Hashable, process_ms: float) -> None:
        """Count a piece of work, the way that it was done in, and its time."""
        with self._lock:
            self._done.append((now_ns, 1))
            _forget(self._done, now_ns)
            before = self._process_ms.get(way, process_ms)
            self._process_ms[way] = before + _NEWEST * (process_ms - before)

    def demand_hz(self, now_ns: int) -> float | None:
        """Return what is offered a second; None before anything has been."""
        return self._rate(self._offered, now_ns)

    def rate_hz(self, now_ns: int) -> float | None:
        """Return what is done a second; None before anything has been offered."""
        return self._rate(self._done, now_ns)

    def process_ms(self, way: Hashable) -> float | None:
        """Return the running mean time of one piece of work; None where there has been none."""
        with self._lock:
            return self._process_ms.get(way)

    def _rate(self, counted: deque[tuple[int, int]], now_ns: int) -> float | None:
        with self._lock:
            if self._started_ns is None:
                return None
            _forget(counted, now_ns)
            # Right after the start the window is not full yet.
            span_ns = min(WINDOW_NS, max(now_ns - self._started_ns, WINDOW_NS // 5))
            return sum(count for _, count in counted) / (span_ns / 1e9)


def _forget(counted: deque[tuple[int, int]], now_ns: int) -> None:
    while counted and counted[0][0] < now_ns - WINDOW_NS:
        counted.popleft()
