"""Offers frames to an engine at a fixed rate, like a camera in front of a mailbox of one frame."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

Cancelled = Callable[[], bool]


@dataclass(frozen=True)
class PacedRun:
    """``latencies_ms`` are from the arrival of a frame to its result, in the order of results.

    ``dropped`` frames were replaced by a newer one while they waited. ``seconds`` is the time from
    the first arrival to the last result, or to the end of the last period if that is later.
    """

    rate_hz: float
    latencies_ms: tuple[float, ...]
    dropped: int
    seconds: float

    @property
    def offered(self) -> int:
        """The number of frames that arrived."""
        return len(self.latencies_ms) + self.dropped

    @property
    def drop_share(self) -> float:
        """The share of the frames that were dropped, 0 to 1."""
        return self.dropped / self.offered if self.offered else 0.0


def _wait(seconds: float) -> None:
    threading.Event().wait(seconds)


def run_at_rate(
    infer: Callable[[int], object],
    rate_hz: float,
    seconds: float,
    *,
    now_ns: Callable[[], int] = time.perf_counter_ns,
    wait: Callable[[float], object] = _wait,
    cancelled: Cancelled = lambda: False,
) -> PacedRun:
    """Call ``infer`` with the number of the newest frame whenever one has arrived.

    Frame i arrives i periods after the start, whether or not the engine is busy (an open loop), so
    that a slow inference also delays the frames behind it. Ends early once ``cancelled``. Errors
    of ``infer`` pass through.
    """
    period_ns = 1e9 / rate_hz
    total = max(1, round(rate_hz * seconds))
    latencies: list[float] = []
    dropped = number = 0
    started_ns = ended_ns = now_ns()
    while number < total and not cancelled():
        ahead_ns = started_ns + round(number * period_ns) - now_ns()
        if ahead_ns > 0:
            wait(ahead_ns / 1e9)
            continue
        newest = min(int((now_ns() - started_ns) / period_ns), total - 1)
        newest = max(newest, number)  # the division may round down at the very moment of arrival
        dropped += newest - number
        infer(newest)
        ended_ns = now_ns()
        latencies.append((ended_ns - started_ns - round(newest * period_ns)) / 1e6)
        number = newest + 1
    ended_ns = max(ended_ns, started_ns + round(number * period_ns))
    return PacedRun(rate_hz, tuple(latencies), dropped, (ended_ns - started_ns) / 1e9)
