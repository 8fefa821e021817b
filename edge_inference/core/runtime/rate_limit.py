"""Limits a stream of items to a commanded rate."""

from __future__ import annotations

import threading

from edge_inference.core.runtime.expiring_map import ExpiringMap

#: A consumer that has not reported its limit for this long no longer counts.
_CONSUMER_TIMEOUT_NS = 5_000_000_000
_MAX_CONSUMERS = 64
#: A lower rate counts as zero: a period must be a number of nanoseconds.
_MIN_HZ = 1e-6


class RateLimiter:
    """Admits items so that their long-run rate does not exceed a limit.

    It follows the generic cell rate algorithm (ITU-T I.371): an item may come ``tolerance``
    periods early or late. A source that jitters, or whose rate is no multiple of the limit, is
    therefore not reduced below the limit. Times are nanoseconds of one monotonic clock.
    """

    def __init__(self, tolerance: float = 0.5) -> None:
        self._tolerance = tolerance
        self._due_ns = 0.0

    def admits(self, now_ns: int, max_rate_hz: float | None) -> bool:
        """Tell whether an item that comes now may pass; None means no limit."""
        if max_rate_hz is None:
            self._due_ns = now_ns
            return True
        if not max_rate_hz >= _MIN_HZ:  # also rejects NaN
            return False
        period_ns = 1e9 / max_rate_hz
        slack_ns = self._tolerance * period_ns
        # After a raise of the limit, the due time of the old limit must not delay an item.
        self._due_ns = min(self._due_ns, now_ns + period_ns + slack_ns)
        if now_ns < self._due_ns - slack_ns:
            return False
        # A late item may be followed sooner; else a source just above the limit falls below it.
        self._due_ns = max(self._due_ns, now_ns - slack_ns) + period_ns
        return True


class DownstreamRateLimiter:
    """Drops items that no consumer downstream may take, before they cost any work.

    Each consumer reports its own limit; the highest one applies. Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._limiter = RateLimiter()
        self._limits: ExpiringMap[float | None] = ExpiringMap(_MAX_CONSUMERS, _CONSUMER_TIMEOUT_NS)
        self._skipped = 0

    def set_limit(self, consumer: str, max_rate_hz: float | None, now_ns: int) -> None:
        """Store the rate limit that a consumer has reported; None means no limit."""
        self._limits.put(consumer, max_rate_hz, now_ns)

    def admits(self, now_ns: int) -> bool:
        """Tell whether an item that comes now must be processed."""
        with self._lock:
            limits = list(self._limits.current(now_ns).values())
            rates = [limit for limit in limits if limit is not None]
            fastest = max(rates) if rates and len(rates) == len(limits) else None
            admitted = self._limiter.admits(now_ns, fastest)
            self._skipped += not admitted
            return admitted

    def take_skipped(self) -> int:
        """Return the number of items dropped since the last call."""
        with self._lock:
            skipped, self._skipped = self._skipped, 0
            return skipped
