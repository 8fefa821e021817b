"""How much power work costs: ``power = base + watts_per_busy * busy``, learned while running.

``busy`` is inferences per second times the seconds of one inference, summed over all nodes. The
slope comes from how power and work vary together over the last minutes, the base is what is left;
both follow slowly when the machine, its leakage or what else it does changes.
"""

from __future__ import annotations

from collections.abc import Iterable

from edge_inference.core.platform_state import PlatformState
from edge_inference.core.reading import Reading, Role
from edge_inference.governor.demand import number

#: Where power is looked for, best first; the first that has a value is gone by.
_SOURCES = (Role.TOTAL_POWER, Role.RAILS_SUM, Role.BATTERY_POWER)
_LEARN_S = 120.0
_FOLLOW_S = 6.0
#: The standard deviation that work must have had before its price is believed.
_LEAST_SPREAD = 0.02
#: Until then this part of the power is taken to be work; later it is never more than the second.
_ASSUMED_WORK = 0.5
_MOST_WORK = 0.9


class PowerModel:
    """Learns base and slope from one look after the other."""

    def __init__(self) -> None:
        """Start knowing nothing."""
        self._forget()

    def _forget(self) -> None:
        self._mean_w = self._mean_busy = self._variance = self._covariance = 0.0
        self._learned_s = 0.0
        self._price: float | None = None
        self.source: Role | None = None
        #: Smoothed power in watts, None while nothing measures it.
        self.power_w: float | None = None
        #: Power that is there without any inference.
        self.base_w = 0.0

    @property
    def watts_per_busy(self) -> float | None:
        """Watts of one inference after the other without a pause; None while not known."""
        return self._price if self.power_w is not None else None

    def update(self, state: PlatformState, busy: float, elapsed_s: float) -> None:
        """Learn from a look at the machine and the work done at that time."""
        reading = power_reading(state.readings)
        if reading is None or reading.value is None:
            self.power_w = None
            return
        if reading.role is not self.source:
            self._forget()
            self.source = reading.role
        if self.power_w is None:
            self.power_w = reading.value
            self.base_w = reading.value - (self._price or 0.0) * busy
        self._learn(reading.value, busy, elapsed_s)
        weight = min(1.0, elapsed_s / _FOLLOW_S)
        self.power_w += weight * (reading.value - self.power_w)
        left = reading.value - (self._price or 0.0) * busy
        self.base_w += weight * (left - self.base_w)

    def _learn(self, power_w: float, busy: float, elapsed_s: float) -> None:
        self._learned_s += elapsed_s
        if self._mean_w == 0.0:
            self._mean_w, self._mean_busy = power_w, busy
        # At first a plain average, later one that forgets.
        weight = elapsed_s / max(elapsed_s, min(_LEARN_S, self._learned_s), 1e-9)
        over_w, over_busy = power_w - self._mean_w, busy - self._mean_busy
        self._mean_w += weight * over_w
        self._mean_busy += weight * over_busy
        self._variance += weight * ((1.0 - weight) * over_busy * over_busy - self._variance)
        self._covariance += weight * ((1.0 - weight) * over_busy * over_w - self._covariance)
        if self._mean_busy <= 0.0 or self._mean_w <= 0.0:
            return
        average = self._mean_w / self._mean_busy
        if self._variance > _LEAST_SPREAD**2 and self._covariance > 0.0:
            learned = min(self._covariance / self._variance, _MOST_WORK * average)
            self._move_price(learned, average)
        elif self._price is None:
            self._move_price(_ASSUMED_WORK * average, average)

    def _move_price(self, price: float, average: float) -> None:
        """Take over a price, and leave the power explained as it was."""
        price = max(price, 0.1 * average)
        if self._price is not None:
            self.base_w += (self._price - price) * self._mean_busy
        self._price = price


def power_reading(readings: Iterable[Reading]) -> Reading | None:
    """Return the reading to go by: of the board, else the sum of rails, else of the battery.

    A battery that is being charged tells nothing.
    """
    found = {each.role: each for each in readings if each.role in _SOURCES and _is_true(each)}
    return next((found[role] for role in _SOURCES if role in found), None)


def _is_true(reading: Reading) -> bool:
    return bool(number(reading.value))
