"""How much of the thermal limit is used, and where the temperature is going.

After Android's ADPF: 1.0 at the limit, from a straight line through the last samples.
"""

from __future__ import annotations

from collections import deque

#: Headroom is 0 this far below the limit, and less still below that.
_SPAN_C = 30.0
_SAMPLES = 30
_RECENT = 3
#: A line through fewer samples, or a shorter time, follows the noise.
_FEWEST = 5
_SHORTEST_S = 2.0


class Trend:
    """The last temperatures of one zone."""

    def __init__(self) -> None:
        """Start without a sample."""
        self._samples: deque[tuple[float, float]] = deque(maxlen=_SAMPLES)

    def add(self, time_s: float, temperature_c: float) -> None:
        """Add a sample; time that does not go on replaces the last one."""
        if self._samples and time_s <= self._samples[-1][0]:
            self._samples.pop()
        self._samples.append((time_s, temperature_c))

    def clear(self) -> None:
        """Forget all samples, as after a gap in time."""
        self._samples.clear()

    def recent_c(self) -> float | None:
        """Return the mean of the very last samples, quicker than a line; None without a sample."""
        values = [value for _, value in self._samples][-_RECENT:]
        return sum(values) / len(values) if values else None

    def forecast_c(self, ahead_s: float) -> float | None:
        """Return the temperature expected, None without a sample.

        Too few samples for a line: their mean.
        """
        count = len(self._samples)
        if not count:
            return None
        mean_s = sum(time_s for time_s, _ in self._samples) / count
        mean_c = sum(value for _, value in self._samples) / count
        last_s = self._samples[-1][0]
        if count < _FEWEST or last_s - self._samples[0][0] < _SHORTEST_S:
            return mean_c
        spread = sum((time_s - mean_s) ** 2 for time_s, _ in self._samples)
        together = sum((time_s - mean_s) * (value - mean_c) for time_s, value in self._samples)
        return mean_c + together / spread * (last_s + ahead_s - mean_s)


def headroom(temperature_c: float, max_c: float) -> float:
    """Return the share of the limit that is used: 1 at ``max_c``, above 1 beyond, never below 0."""
    return max(0.0, 1.0 - (max_c - temperature_c) / _SPAN_C)
