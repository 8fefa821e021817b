"""Whether power falls when less is asked; where it does not, something else is the cause."""

from __future__ import annotations

from collections import deque

#: Power is compared with what it was this long ago, for orders at least so old.
_WINDOW_S = 12.0
_SETTLED_S = 5.0
#: Falls smaller than this, or than this part of the power, are not judged.
_LEAST_W = 1.5
_LEAST_PART = 0.1
#: The part of the expected fall that has to be seen.
_SEEN = 0.25


class PowerFall:
    """Remembers what the orders of the last seconds ought to cost, and the power measured."""

    def __init__(self) -> None:
        """Start with nothing remembered."""
        self._looks: deque[tuple[float, float, float]] = deque()

    def is_missing(self, time_s: float, ordered_w: float | None, power_w: float | None) -> bool:
        """Take one look; tell whether orders cost much less by now, yet power has not fallen."""
        if ordered_w is None or power_w is None:
            self._looks.clear()
            return False
        self._looks.append((time_s, ordered_w, power_w))
        while time_s - self._looks[0][0] > _WINDOW_S:
            self._looks.popleft()
        first_s, before_w, power_before_w = self._looks[0]
        if time_s - first_s < _WINDOW_S - _SETTLED_S / 2.0:
            return False
        since = [ordered for when, ordered, _ in self._looks if time_s - when <= _SETTLED_S]
        expected_w = before_w - max(since)
        if expected_w < max(_LEAST_W, _LEAST_PART * power_before_w):
            return False
        if power_before_w - power_w >= _SEEN * expected_w:
            return False
        self._looks.clear()
        return True
