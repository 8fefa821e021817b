"""The ramp preset: a share of everyone's demand, by temperature and nothing learned."""

from __future__ import annotations

from dataclasses import replace

from edge_inference.core.directives.directive import DirectiveLevel
from edge_inference.governor.directive_builder import a_share, the_least
from edge_inference.governor.power_budget import busy_share
from edge_inference.governor.ramp import Ramp
from edge_inference.governor.state import GovernorPlan, GovernorState


class RampPreset:
    """Remembers for each temperature whether it throttles."""

    def __init__(self) -> None:
        """Start at full speed."""
        self._ramps: dict[str, Ramp] = {}

    def plan(self, situation: GovernorState) -> GovernorPlan:
        """Return what everyone is to do."""
        settings = situation.settings
        factor = min(self._by_temperature(situation), situation.left)
        by_watts = _by_watts(situation)
        short_w = by_watts < settings.minimum_factor
        factor = max(settings.minimum_factor, min(factor, by_watts))
        reason = _reason(situation, factor)
        orders = []
        for workload in situation.flexible:
            if situation.escalations.get(workload.node, 0):
                orders.append(the_least(workload, DirectiveLevel.MINIMUM, settings, reason))
            else:
                orders.append(a_share(workload, factor, settings, reason))
        return GovernorPlan(
            orders, factor, reason, exhausted=factor <= settings.minimum_factor, short_w=short_w
        )

    def give_up(self, situation: GovernorState) -> None:
        """Note that everyone was told to do the least: nothing that the ramp remembers."""

    def _by_temperature(self, situation: GovernorState) -> float:
        settings = situation.settings
        ramps = {each.heat.name: Ramp() for each in situation.outlooks}
        ramps.update((name, self._ramps[name]) for name in ramps if name in self._ramps)
        self._ramps = ramps
        for outlook in situation.outlooks:
            heat = outlook.heat
            ramps[heat.name].update(
                heat.temperature_c,
                heat.bounds,
                release_c=settings.release_c,
                minimum=settings.minimum_factor,
            )
        return min((ramp.factor for ramp in ramps.values()), default=1.0)


def _by_watts(situation: GovernorState) -> float:
    """Return the share of the present work that a limit in watts leaves; 1 without one."""
    watts = situation.watts
    if watts.budget_w is None or watts.price is None:
        return 1.0
    settings = situation.settings
    critical = [each for each in situation.workloads if each.safety_critical]
    room = watts.budget_w - watts.base_w - watts.price * busy_share(critical, settings)
    wanted = watts.price * _wanted_busy(situation)
    return 1.0 if wanted <= 0.0 else min(1.0, room / wanted)


def _wanted_busy(situation: GovernorState) -> float:
    wanted = [replace(each, rate_hz=each.demand_hz) for each in situation.flexible]
    return busy_share(wanted, situation.settings)


def _reason(situation: GovernorState, factor: float) -> str:
    hottest = min(situation.outlooks, key=lambda each: each.heat.below_max_c, default=None)
    if hottest is None:
        return "no temperature is known"
    heat = hottest.heat
    return (
        f"{heat.name} at {heat.temperature_c:.1f} °C, limit {heat.bounds.max_c:.0f}: "
        f"{factor:.0%} of the demand"
    )
