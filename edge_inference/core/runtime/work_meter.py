"""Measures how much work a node is offered, how much it does, and how long it takes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Hashable

#: Rates are measured over this time.
WINDOW_NS = 5_000_000_000
#: Weight of the newest measurement in the running mean of process times.
_NEWEST_WEIGHT = 0.1


class WorkMeter:
    """Thread-safe. Times are nanoseconds of one monotonic clock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._offered: deque[tuple[int, int]] = deque()
        self._done: deque[tuple[int, int]] = deque()
        self._process_ms: dict[Hashable, float] = {}
        self._started_ns: int | None = None

    def record_offered(self, now_ns: int, count: int = 1) -> None:
        """Count offered items, whether they are accepted or not."""
        with self._lock:
            if self._started_ns is None:
                self._started_ns = now_ns
            self._offered.append((now_ns, count))
            _drop_old(self._offered, now_ns)

    def record_done(self, now_ns: int, operating_point: Hashable, process_ms: float) -> None:
        """Count one inference, with its operating point and its duration."""
        with self._lock:
            self._done.append((now_ns, 1))
            _drop_old(self._done, now_ns)
            before = self._process_ms.get(operating_point, process_ms)
            self._process_ms[operating_point] = before + _NEWEST_WEIGHT * (process_ms - before)

    def demand_hz(self, now_ns: int) -> float | None:
        """Return the rate of offered items; None before the first one."""
        return self._rate(self._offered, now_ns)

    def rate_hz(self, now_ns: int) -> float | None:
        """Return the rate of inferences; None before the first item is offered."""
        return self._rate(self._done, now_ns)

    def process_ms(self, operating_point: Hashable) -> float | None:
        """Return the running mean duration of one inference; None before the first one."""
        with self._lock:
            return self._process_ms.get(operating_point)

    def _rate(self, counted: deque[tuple[int, int]], now_ns: int) -> float | None:
        with self._lock:
            if self._started_ns is None:
                return None
            _drop_old(counted, now_ns)
            # Shortly after the start the window is not full yet.
            span_ns = min(WINDOW_NS, max(now_ns - self._started_ns, WINDOW_NS // 5))
            return sum(count for _, count in counted) / (span_ns / 1e9)


def _drop_old(counted: deque[tuple[int, int]], now_ns: int) -> None:
    while counted and counted[0][0] < now_ns - WINDOW_NS:
        counted.popleft()
