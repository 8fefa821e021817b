"""Follows every temperature that decides, and forecasts it."""

from __future__ import annotations

from collections.abc import Sequence

from edge_inference.governor.failsafe import ZoneTemperature
from edge_inference.governor.state import TemperatureForecast
from edge_inference.governor.temperature_forecast import Trend, headroom


class TemperatureForecaster:
    """One trend for each temperature."""

    def __init__(self) -> None:
        """Start without any."""
        self._trends: dict[str, Trend] = {}

    def look(
        self, heats: Sequence[ZoneTemperature], time_s: float, *, ahead_s: float, jumped: bool
    ) -> tuple[TemperatureForecast, ...]:
        """Return what is to be expected; after a jump of the clock from the new samples only."""
        trends = {} if jumped else self._trends
        self._trends = {heat.name: trends.get(heat.name) or Trend() for heat in heats}
        return tuple(self._outlook(heat, time_s, ahead_s) for heat in heats)

    def _outlook(self, heat: ZoneTemperature, time_s: float, ahead_s: float) -> TemperatureForecast:
        trend = self._trends[heat.name]
        trend.add(time_s, heat.temperature_c)
        looks = trend.recent_c(), trend.forecast_c(0.0), trend.forecast_c(ahead_s)
        read_c = heat.temperature_c
        recent_c, now_c, ahead_c = (read_c if each is None else each for each in looks)
        return TemperatureForecast(heat, recent_c, now_c, ahead_c)


def worst_headroom(outlooks: Sequence[TemperatureForecast]) -> float | None:
    """Return the headroom of the temperature nearest to its limit; None without one."""
    return max((headroom(each.ahead_c, each.heat.bounds.max_c) for each in outlooks), default=None)
