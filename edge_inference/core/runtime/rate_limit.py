"""Thins a stream of items to a commanded rate."""

from __future__ import annotations

import threading

from edge_inference.core.runtime.recent import RecentNames

#: A taker that has said nothing for so long is gone.
_GONE_NS = 5_000_000_000
_MOST_TAKERS = 64
#: Fewer items a second are none: a period has to be a number of nanoseconds.
_LEAST_HZ = 1e-6


class RateLimit:
    """Admits items so that in the long run there are no more than so many a second.

    After the generic cell rate algorithm (ITU-T I.371): an item may come ``tolerance`` periods
    early or late, so that a source whose items jitter, or whose rate is no multiple of the limit,
    is not thinned below the limit. Times are nanoseconds of one rising clock.
    """

    def __init__(self, tolerance: float = 0.5) -> None:
        self._tolerance = tolerance
        self._due_ns = 0.0

    def admits(self, now_ns: int, max_rate_hz: float | None) -> bool:
        """Tell whether an item that comes now may pass; None is no limit."""
        if max_rate_hz is None:
            self._due_ns = now_ns
            return True
        if not max_rate_hz >= _LEAST_HZ:  # NaN, too
            return False
        period_ns = 1e9 / max_rate_hz
        slack_ns = self._tolerance * period_ns
        # A limit that has just been raised must not wait for the old one's turn.
        self._due_ns = min(self._due_ns, now_ns + period_ns + slack_ns)
        if now_ns < self._due_ns - slack_ns:
            return False
        # Some of the lateness is made up for, else a rate just above the limit falls below it.
        self._due_ns = max(self._due_ns, now_ns - slack_ns) + period_ns
        return True


class Thinning:
    """Gives up, before they cost anything, the items that nobody behind may take.

    Each taker tells its own limit; the fastest one decides. Counts from any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._limit = RateLimit()
        self._takers: RecentNames[float | None] = RecentNames(_MOST_TAKERS, _GONE_NS)
        self._skipped = 0

    def hear(self, taker: str, max_rate_hz: float | None, now_ns: int) -> None:
        """Take note of how often a taker may take an item; None is no limit."""
        self._takers.hear(taker, max_rate_hz, now_ns)

    def admits(self, now_ns: int) -> bool:
        """Tell whether an item that comes now is to be worked on."""
        with self._lock:
            limits = list(self._takers.known(now_ns).values())
            rates = [limit for limit in limits if limit is not None]
            fastest = max(rates) if rates and len(rates) == len(limits) else None
            admitted = self._limit.admits(now_ns, fastest)
            self._skipped += not admitted
            return admitted

    def take_skipped(self) -> int:
        """Return how many items were given up since the last call."""
        with self._lock:
            skipped, self._skipped = self._skipped, 0
            return skipped
