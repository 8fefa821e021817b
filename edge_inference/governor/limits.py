"""Which temperatures count as too hot: the user's own numbers, or the board's trip points."""

from __future__ import annotations

from dataclasses import dataclass

from edge_inference.core.reading import Reading
from edge_inference.governor.settings import GovernorSettings

#: Trip points outside of this are a firmware's placeholders.
_PLAUSIBLE_TRIP_C = (50.0, 125.0)
#: A machine that tells only where it switches itself off slows down about this much earlier.
_THROTTLE_BEFORE_CRITICAL_C = 6.0


@dataclass(frozen=True)
class TemperatureBounds:
    """From ``throttle_c`` on less is asked; ``max_c`` is not to be passed."""

    throttle_c: float
    max_c: float

    def lowered(self, by_c: float) -> TemperatureBounds:
        """Return the same bounds so much lower."""
        return TemperatureBounds(self.throttle_c - by_c, self.max_c - by_c)


def bounds_of(reading: Reading, settings: GovernorSettings) -> TemperatureBounds:
    """Return the bounds of one temperature; one without a trip point has the absolute ones."""
    absolute = TemperatureBounds(settings.throttle_c, settings.max_c)
    if settings.limits_from != "board":
        return absolute
    slows_down = _own_throttling(reading)
    if slows_down is None:
        return absolute
    max_c = slows_down - settings.trip_margin_c
    return TemperatureBounds(max_c - (settings.max_c - settings.throttle_c), max_c)


def _own_throttling(reading: Reading) -> float | None:
    if _is_plausible(reading.throttle):
        return reading.throttle
    if reading.critical is not None and _is_plausible(reading.critical):
        return reading.critical - _THROTTLE_BEFORE_CRITICAL_C
    return None


def _is_plausible(trip_c: float | None) -> bool:
    lowest, highest = _PLAUSIBLE_TRIP_C
    return trip_c is not None and lowest <= trip_c <= highest
