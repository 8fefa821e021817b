"""Thins a stream of items to a commanded rate."""

from __future__ import annotations


class RateLimit:
    """Admits items so that in the long run there are no more than so many a second.

    The generic cell rate algorithm (ITU-T I.371): an item may come ``tolerance`` periods early,
    so that a source whose items jitter, or whose rate is no multiple of the limit, is not thinned
    below the limit. Times are nanoseconds of one rising clock.
    """

    def __init__(self, tolerance: float = 0.5) -> None:
        self._tolerance = tolerance
        self._due_ns = 0

    def admits(self, now_ns: int, max_rate_hz: float | None) -> bool:
        """Tell whether an item that comes now may pass; None is no limit."""
        if max_rate_hz is None:
            self._due_ns = now_ns
            return True
        if max_rate_hz <= 0:
            return False
        period_ns = 1e9 / max_rate_hz
        # A limit that has just been raised must not wait for the old one's turn.
        due_ns = min(self._due_ns, now_ns + period_ns)
        if now_ns < due_ns - self._tolerance * period_ns:
            return False
        self._due_ns = int(max(now_ns, due_ns) + period_ns)
        return True
