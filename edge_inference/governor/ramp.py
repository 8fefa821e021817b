"""The plain ramp: the hotter, the less; nothing else is looked at."""

from __future__ import annotations

from edge_inference.governor.limits import TemperatureBounds


def ramp_factor(temperature_c: float, bounds: TemperatureBounds, minimum: float) -> float:
    """Return the share of full speed at a temperature: 1 up to throttle, ``minimum`` at max."""
    over = (temperature_c - bounds.throttle_c) / (bounds.max_c - bounds.throttle_c)
    return min(1.0, max(minimum, 1.0 - over))


class Ramp:
    """The ramp with its hysteresis, for one temperature.

    Once it throttles, the factor follows the ramp down and up, but full speed comes back only
    below ``throttle - release``; between there and the ramp the last factor holds.
    """

    def __init__(self) -> None:
        """Start at full speed."""
        self.factor = 1.0

    def update(
        self, temperature_c: float, bounds: TemperatureBounds, *, release_c: float, minimum: float
    ) -> float:
        """Return the factor for a new temperature."""
        raw = ramp_factor(temperature_c, bounds, minimum)
        if raw < 1.0:
            self.factor = raw
        elif temperature_c < bounds.throttle_c - release_c or self.factor >= 1.0:
            self.factor = 1.0
        return self.factor
