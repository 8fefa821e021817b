"""Compares the clock of plans with the steady clock: it may stand still, run slow or jump back."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

# A simulation may be slow; a slower clock counts as broken.
_SLOWEST_PACE = 0.1
_PACE_WINDOW_NS = 500_000_000
# Period and length of the recorded history of both clocks.
_READING_PERIOD_NS = 20_000_000
_HISTORY_NS = 60_000_000_000


class ClockMonitor:
    """Monitors a clock (of the node, possibly of a simulation) in every control cycle.

    Times are in nanoseconds; ``steady_ns`` is a monotonic clock in real time. Not thread-safe.
    """

    def __init__(self, steady_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self.steady_ns = steady_ns
        now_ns = steady_ns()
        #: The time of the last update, the last advance of the clock, and the start of the current
        #: window: pairs of the clock's time (unknown at first) and the steady time.
        self._seen_ns = now_ns
        self._went_on: tuple[int | None, int] = (None, now_ns)
        self._window: tuple[int | None, int] = (None, now_ns)
        self._pace = 1.0
        self._readings: deque[tuple[int, int]] = deque()

    def update(self, now_ns: int) -> float:
        """Record the time of the clock; return the steady time since the last update, in s."""
        steady_ns = self.steady_ns()
        gap_s = (steady_ns - self._seen_ns) / 1e9
        self._seen_ns = steady_ns
        shown_ns = self._went_on[0]
        if shown_ns is not None and now_ns < shown_ns:
            self._readings.clear()
            self._window = (now_ns, steady_ns)
        if now_ns != shown_ns:
            self._went_on = (now_ns, steady_ns)
            self._record(now_ns, steady_ns)
        self._measure_pace(now_ns, steady_ns)
        return gap_s

    def problem(self, max_standstill_s: float) -> str:
        """Return the problem of the clock; empty if it runs.

        ``max_standstill_s`` is how long it may stand still.
        """
        still_s = (self._seen_ns - self._went_on[1]) / 1e9
        if still_s > max_standstill_s:
            return f"The clock has stood still for {still_s:.2f} seconds"
        if self._pace < _SLOWEST_PACE:
            return f"The clock runs at {self._pace:.2g} of its pace"
        return ""

    def steady_age_s(self, stamp_ns: int) -> float:
        """Return the steady time, in s, since the clock first showed ``stamp_ns`` or more.

        0 if it has not shown it. A stamp from a standstill of the clock counts as its start, the
        oldest possible time.
        """
        reached_ns = next((at for shown, at in self._readings if shown >= stamp_ns), None)
        return 0.0 if reached_ns is None else (self.steady_ns() - reached_ns) / 1e9

    def _record(self, now_ns: int, steady_ns: int) -> None:
        if self._readings and steady_ns - self._readings[-1][1] < _READING_PERIOD_NS:
            return
        self._readings.append((now_ns, steady_ns))
        while steady_ns - self._readings[0][1] > _HISTORY_NS:
            self._readings.popleft()

    def _measure_pace(self, now_ns: int, steady_ns: int) -> None:
        begun_ns, begun_steady_ns = self._window
        passed_ns = steady_ns - begun_steady_ns
        if begun_ns is None:
            self._window = (now_ns, steady_ns)
        elif passed_ns >= _PACE_WINDOW_NS:
            self._pace = (now_ns - begun_ns) / passed_ns
            self._window = (now_ns, steady_ns)
