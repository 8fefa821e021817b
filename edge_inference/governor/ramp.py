"""The ramp preset: lowers all rates by the temperature alone, and learns nothing."""

from __future__ import annotations

from dataclasses import replace

from edge_inference.core.directives.directive import DirectiveLevel
from edge_inference.governor.directive_builder import request_factor, request_minimum
from edge_inference.governor.failsafe import TemperatureBounds
from edge_inference.governor.power_budget import total_utilization
from edge_inference.governor.state import GovernorPlan, GovernorState


def ramp_factor(temperature_c: float, bounds: TemperatureBounds, minimum: float) -> float:
    """Return the share of full speed: 1 up to ``throttle_c``, ``minimum`` at ``max_c``."""
    over = (temperature_c - bounds.throttle_c) / (bounds.max_c - bounds.throttle_c)
    return min(1.0, max(minimum, 1.0 - over))


class Ramp:
    """The ramp with hysteresis, for one temperature.

    Once it throttles, the factor follows the ramp down and up. Full speed comes back only below
    ``throttle_c - release_c``; between there and the ramp the last factor holds.
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


class RampPreset:
    """Keeps one ramp for each zone."""

    def __init__(self) -> None:
        """Start at full speed."""
        self._ramps: dict[str, Ramp] = {}

    def plan(self, state: GovernorState) -> GovernorPlan:
        """Return the requests for all flexible nodes."""
        settings = state.settings
        factor = min(self._thermal_factor(state), state.throttle_factor)
        power_factor = _power_factor(state)
        exceeds_power = power_factor < settings.minimum_factor
        factor = max(settings.minimum_factor, min(factor, power_factor))
        reason = _describe_reason(state, factor)
        requests = []
        for workload in state.flexible:
            if state.escalations.get(workload.node, 0):
                requests.append(request_minimum(workload, DirectiveLevel.MINIMUM, settings, reason))
            else:
                requests.append(request_factor(workload, factor, settings, reason))
        return GovernorPlan(
            requests,
            factor,
            reason,
            exhausted=factor <= settings.minimum_factor,
            exceeds_power=exceeds_power,
        )

    def enter_failsafe(self, state: GovernorState) -> None:
        """Ignore that all nodes go to the safe level: it does not change a ramp."""

    def _thermal_factor(self, state: GovernorState) -> float:
        settings = state.settings
        ramps = {each.zone.name: Ramp() for each in state.forecasts}
        ramps.update((name, self._ramps[name]) for name in ramps if name in self._ramps)
        self._ramps = ramps
        for forecast in state.forecasts:
            zone = forecast.zone
            ramps[zone.name].update(
                zone.temperature_c,
                zone.bounds,
                release_c=settings.release_c,
                minimum=settings.minimum_factor,
            )
        return min((ramp.factor for ramp in ramps.values()), default=1.0)


def _power_factor(state: GovernorState) -> float:
    """Return the share of the demanded work that a limit in watts allows; 1 without a limit."""
    power = state.power
    if power.budget_w is None or power.full_load_w is None:
        return 1.0
    settings = state.settings
    critical = [each for each in state.workloads if each.safety_critical]
    critical_w = power.full_load_w * total_utilization(critical, settings)
    available_w = power.budget_w - power.base_w - critical_w
    demanded = [replace(each, rate_hz=each.demand_hz) for each in state.flexible]
    demanded_w = power.full_load_w * total_utilization(demanded, settings)
    return 1.0 if demanded_w <= 0.0 else min(1.0, available_w / demanded_w)


def _describe_reason(state: GovernorState, factor: float) -> str:
    nearest = min(state.forecasts, key=lambda each: each.zone.margin_c, default=None)
    if nearest is None:
        return "no temperature is known"
    zone = nearest.zone
    return (
        f"{zone.name} at {zone.temperature_c:.1f} °C, limit {zone.bounds.max_c:.0f}: "
        f"{factor:.0%} of the demand"
    )
