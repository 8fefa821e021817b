"""Learns the power that inference costs: ``power_w = base_w + full_load_w * utilization``.

The utilization is the rate of inferences times the seconds of one inference, summed over all
nodes. The slope ``full_load_w`` follows from how power and utilization vary together over the
last minutes; the rest of the power is ``base_w``. Both follow slowly when the machine, its
leakage or its other work changes. ``PowerDropCheck`` tells whether lower limits have an effect.
"""

from __future__ import annotations

from collections import deque

from edge_inference.core.platform_state import PlatformState
from edge_inference.core.reading import Role
from edge_inference.governor.battery_sum import sum_batteries
from edge_inference.governor.directive_builder import valid_number

#: Sources of the power, best first; the first one with a value counts.
_SOURCES = (Role.TOTAL_POWER, Role.RAILS_SUM, Role.BATTERY_POWER)
_LEARN_S = 120.0
_SMOOTH_S = 6.0
#: The slope is learned once the utilization has had at least this standard deviation.
_MIN_DEVIATION = 0.02
#: Until then this share of the power counts as work; a learned share is at most the second one.
_ASSUMED_WORK_SHARE = 0.5
_MAX_WORK_SHARE = 0.9

#: Power is compared with its value this long ago, under limits that have settled since.
_DROP_WINDOW_S = 12.0
_SETTLE_S = 5.0
#: A smaller expected drop, in watts or as a share of the power, is not evaluated.
_MIN_DROP_W = 1.5
_MIN_DROP_SHARE = 0.1
#: Share of the expected drop that must be measured.
_REQUIRED_SHARE = 0.25


class PowerModel:
    """Learns base and slope from successive states."""

    def __init__(self) -> None:
        """Start without knowledge."""
        self._reset()

    def _reset(self) -> None:
        self._mean_w = self._mean_utilization = self._variance = self._covariance = 0.0
        self._learned_s = 0.0
        self._slope_w: float | None = None
        self.source: Role | None = None
        #: Smoothed power in watts, None while nothing measures it.
        self.power_w: float | None = None
        #: Power without any inference.
        self.base_w = 0.0

    @property
    def full_load_w(self) -> float | None:
        """Power of inferences without a pause, in watts; None while unknown."""
        return self._slope_w if self.power_w is not None else None

    def update(self, state: PlatformState, utilization: float, elapsed_s: float) -> None:
        """Learn from the power of the machine and the utilization at the same time."""
        measured = measure_power(state)
        if measured is None:
            self.power_w = None
            return
        source, measured_w = measured
        if source is not self.source:
            self._reset()
            self.source = source
        if self.power_w is None:
            self.power_w = measured_w
            self.base_w = measured_w - (self._slope_w or 0.0) * utilization
        self._learn(measured_w, utilization, elapsed_s)
        weight = min(1.0, elapsed_s / _SMOOTH_S)
        self.power_w += weight * (measured_w - self.power_w)
        rest_w = measured_w - (self._slope_w or 0.0) * utilization
        self.base_w += weight * (rest_w - self.base_w)

    def _learn(self, power_w: float, utilization: float, elapsed_s: float) -> None:
        self._learned_s += elapsed_s
        if self._mean_w == 0.0:
            self._mean_w, self._mean_utilization = power_w, utilization
        # First a plain mean, later an exponential one.
        weight = elapsed_s / max(elapsed_s, min(_LEARN_S, self._learned_s), 1e-9)
        over_w, over = power_w - self._mean_w, utilization - self._mean_utilization
        self._mean_w += weight * over_w
        self._mean_utilization += weight * over
        self._variance += weight * ((1.0 - weight) * over * over - self._variance)
        self._covariance += weight * ((1.0 - weight) * over * over_w - self._covariance)
        if self._mean_utilization <= 0.0 or self._mean_w <= 0.0:
            return
        average_w = self._mean_w / self._mean_utilization
        if self._variance > _MIN_DEVIATION**2 and self._covariance > 0.0:
            learned_w = min(self._covariance / self._variance, _MAX_WORK_SHARE * average_w)
            self._set_slope(learned_w, average_w)
        elif self._slope_w is None:
            self._set_slope(_ASSUMED_WORK_SHARE * average_w, average_w)

    def _set_slope(self, slope_w: float, average_w: float) -> None:
        """Set the slope, and move the base so that the modelled power stays the same."""
        slope_w = max(slope_w, 0.1 * average_w)
        if self._slope_w is not None:
            self.base_w += (self._slope_w - slope_w) * self._mean_utilization
        self._slope_w = slope_w


class PowerDropCheck:
    """Tells whether power drops after nodes are asked for less; if not, it has another cause."""

    def __init__(self) -> None:
        """Start without samples."""
        self._samples: deque[tuple[float, float, float]] = deque()

    def is_missing(self, time_s: float, expected_w: float | None, power_w: float | None) -> bool:
        """Add a sample; tell whether a clear drop of the expected power is not measured.

        ``expected_w`` is the power of inference that the directives allow.
        """
        if expected_w is None or power_w is None:
            self._samples.clear()
            return False
        self._samples.append((time_s, expected_w, power_w))
        while time_s - self._samples[0][0] > _DROP_WINDOW_S:
            self._samples.popleft()
        first_s, expected_before_w, power_before_w = self._samples[0]
        if time_s - first_s < _DROP_WINDOW_S - _SETTLE_S / 2.0:
            return False
        settled = [each_w for at_s, each_w, _ in self._samples if time_s - at_s <= _SETTLE_S]
        drop_w = expected_before_w - max(settled)
        if drop_w < max(_MIN_DROP_W, _MIN_DROP_SHARE * power_before_w):
            return False
        if power_before_w - power_w >= _REQUIRED_SHARE * drop_w:
            return False
        self._samples.clear()
        return True


def measure_power(state: PlatformState) -> tuple[Role, float] | None:
    """Return the best power in watts with its source: the board, else the rails, else batteries.

    The power of batteries that charge does not count.
    """
    measured = measured_powers(state)
    return next(((role, measured[role]) for role in _SOURCES if role in measured), None)


def measured_powers(state: PlatformState) -> dict[Role, float]:
    """Return the measured powers of the whole machine in watts, by source; each is above 0.

    No machine that runs takes 0 W: a sensor that says so measures nothing.
    """
    rails = next((each.value for each in state.by_role(Role.RAILS_SUM)), None)
    batteries = sum_batteries(state)
    powers = {
        Role.TOTAL_POWER: state.power_w,
        Role.RAILS_SUM: rails,
        Role.BATTERY_POWER: None if batteries is None else batteries.power_w,
    }
    valid = {role: valid_number(power_w) for role, power_w in powers.items()}
    return {role: power_w for role, power_w in valid.items() if power_w}
