"""Forecasts temperatures, and the share of the thermal limit that they use.

Follows Android's ADPF: the headroom is 1.0 at the limit, and the forecast is a straight line
through the last samples. ``Timestep`` counts the time of the governor.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from edge_inference.governor.failsafe import ZoneTemperature

#: After a longer pause, the samples of before no longer describe a trend.
_GAP_S = 5.0
#: A pause counts as at most this long, so that no integral runs away.
_MAX_STEP_S = 2.0
#: The headroom is 0 this far below the limit, and stays 0 below that.
_SPAN_C = 30.0
_SAMPLES = 30
_RECENT_SAMPLES = 3
#: A line through fewer samples, or over a shorter time, follows the noise.
_MIN_SAMPLES = 5
_MIN_SPAN_S = 2.0


@dataclass(frozen=True)
class TemperatureForecast:
    """One zone: the mean of its last samples, and its trend line now and in the future."""

    zone: ZoneTemperature
    recent_c: float
    current_c: float
    forecast_c: float


class Timestep:
    """Converts stamps to elapsed time; a clock that stands still or goes back adds no time."""

    def __init__(self) -> None:
        """Start without a stamp."""
        self._last_ns: int | None = None
        #: Elapsed seconds in total; a gap counts as a short step.
        self.time_s = 0.0
        self.elapsed_s = 0.0
        #: Whether the last step was a gap or a clock set back.
        self.jumped = False

    def advance(self, now_ns: int) -> None:
        """Take the next stamp."""
        step_s = 0.0 if self._last_ns is None else (now_ns - self._last_ns) / 1e9
        self.jumped = step_s > _GAP_S or step_s < 0.0
        self.elapsed_s = min(_MAX_STEP_S, max(0.0, step_s))
        self.time_s += self.elapsed_s
        self._last_ns = now_ns


class Trend:
    """The last temperatures of one zone."""

    def __init__(self) -> None:
        """Start without a sample."""
        self._samples: deque[tuple[float, float]] = deque(maxlen=_SAMPLES)

    def add(self, time_s: float, temperature_c: float) -> None:
        """Add a sample; it replaces the last one if the time has not advanced."""
        if self._samples and time_s <= self._samples[-1][0]:
            self._samples.pop()
        self._samples.append((time_s, temperature_c))

    def recent_c(self) -> float | None:
        """Return the mean of the last few samples, which reacts faster than the line."""
        values = [value for _, value in self._samples][-_RECENT_SAMPLES:]
        return sum(values) / len(values) if values else None

    def forecast_c(self, ahead_s: float) -> float | None:
        """Return the temperature on the line ``ahead_s`` from now; None without a sample.

        With too few samples for a line, return their mean.
        """
        count = len(self._samples)
        if not count:
            return None
        mean_s = sum(time_s for time_s, _ in self._samples) / count
        mean_c = sum(value for _, value in self._samples) / count
        last_s = self._samples[-1][0]
        if count < _MIN_SAMPLES or last_s - self._samples[0][0] < _MIN_SPAN_S:
            return mean_c
        variance = sum((time_s - mean_s) ** 2 for time_s, _ in self._samples)
        covariance = sum((time_s - mean_s) * (value - mean_c) for time_s, value in self._samples)
        return mean_c + covariance / variance * (last_s + ahead_s - mean_s)


class TemperatureForecaster:
    """Keeps one trend for each control zone."""

    def __init__(self) -> None:
        """Start without trends."""
        self._trends: dict[str, Trend] = {}

    def update(
        self, zones: Sequence[ZoneTemperature], time_s: float, *, ahead_s: float, jumped: bool
    ) -> tuple[TemperatureForecast, ...]:
        """Return a forecast for each zone; after a jump of the clock, from new samples only."""
        trends = {} if jumped else self._trends
        self._trends = {zone.name: trends.get(zone.name) or Trend() for zone in zones}
        return tuple(self._forecast(zone, time_s, ahead_s) for zone in zones)

    def _forecast(
        self, zone: ZoneTemperature, time_s: float, ahead_s: float
    ) -> TemperatureForecast:
        trend = self._trends[zone.name]
        trend.add(time_s, zone.temperature_c)
        values = trend.recent_c(), trend.forecast_c(0.0), trend.forecast_c(ahead_s)
        read_c = zone.temperature_c
        recent_c, current_c, forecast_c = (read_c if each is None else each for each in values)
        return TemperatureForecast(zone, recent_c, current_c, forecast_c)


def headroom(temperature_c: float, max_c: float) -> float:
    """Return the used share of the limit: 1 at ``max_c``, more above it, never below 0."""
    return max(0.0, 1.0 - (max_c - temperature_c) / _SPAN_C)


def worst_headroom(forecasts: Sequence[TemperatureForecast]) -> float | None:
    """Return the headroom of the zone nearest to its limit; None without zones."""
    return max(
        (headroom(each.forecast_c, each.zone.bounds.max_c) for each in forecasts), default=None
    )
