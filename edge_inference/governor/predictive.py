"""The predictive preset: a power budget, shared out by priority, engines before rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from edge_inference.core.directives.directive import DirectiveLevel, DirectiveLimits, Workload
from edge_inference.governor.allocation import (
    PowerDemand,
    PowerShare,
    allocate,
    best_point,
    share_with,
    want_of,
)
from edge_inference.governor.clock_cap import ClockCapController
from edge_inference.governor.directive_builder import a_share, operating_point_limits, the_least
from edge_inference.governor.dwell import Dwell
from edge_inference.governor.orders import DirectiveRequest
from edge_inference.governor.power_budget import busy_share
from edge_inference.governor.power_control import PowerController
from edge_inference.governor.ramp import ramp_factor
from edge_inference.governor.settings import GovernorSettings
from edge_inference.governor.state import GovernorPlan, GovernorState

#: This near to the limit, everything goes to the least at once.
_EMERGENCY_C = 1.0
#: Engines are chosen by a budget smoothed over this time, rates by the budget as it is.
_CALM_S = 30.0
#: Share of the whole range by which work may grow in a second.
_RISE_PER_S = 0.02
#: Another engine must be this much better before it is asked for, a dearer one on less budget.
_CLEARLY = 1.05
_SPARE = 0.92
#: A rate this near to the demand is no limit any more; one that was no limit becomes one later.
_ALL = 0.985
_STILL_ALL = 0.93
#: A rate that changes by less is not worth another directive.
_TOLERANCE = 0.06


@dataclass(frozen=True)
class _Range:
    """What work costs: ``floor`` cannot be changed, the rest lies between least and most."""

    floor: float
    lowest: float
    highest: float


class PredictivePreset:
    """Remembers the sustainable power and what each node serves with."""

    def __init__(self) -> None:
        """Start with everything allowed."""
        self._control = PowerController()
        self._in_watts: bool | None = None
        self._calm: float | None = None
        self._untroubled: float | None = None
        self._dwells: dict[str, Dwell] = {}
        #: What each node offers; with other operating points a number means another engine.
        self._offered: dict[str, list[tuple[str, str]]] = {}
        #: Rate of each node, and the operating point that it was priced as.
        self._granted: dict[str, tuple[float, int]] | None = None
        self._unlimited: set[str] = set()
        self._clock_cap = ClockCapController()

    def plan(self, situation: GovernorState) -> GovernorPlan:
        """Return what everyone is to do."""
        settings, watts = situation.settings, situation.watts
        self._forget_other_operating_points(situation)
        wants = _wants(situation)
        limits = _range(situation, wants)
        emergency = _is_emergency(situation)
        budget = self._budget(situation, limits, emergency)
        calm = self._calm_budget(budget, limits, situation.elapsed_s, emergency)
        held = self._choose(situation, list(wants.values()), calm - limits.floor, emergency)
        shares = self._share_out(situation, wants, limits, budget, held)
        reason = _reason(situation, emergency)
        share = self._share(situation, limits, budget)
        orders = []
        for workload in situation.flexible:
            want = wants.get(workload.node)
            if situation.escalations.get(workload.node, 0) > 1:
                orders.append(the_least(workload, DirectiveLevel.MINIMUM, settings, reason))
            elif want is None:
                factor = min(share, _ramp(situation))
                orders.append(a_share(workload, factor, settings, reason))
            else:
                orders.append(self._order(workload, want, shares[workload.node], settings, reason))
        unit = "busy" if watts.price is None else "W"
        facts = {
            "budget": f"{budget:.2f} {unit}",
            "least and most": f"{limits.lowest:.2f} to {limits.highest:.2f} {unit}",
        }
        return GovernorPlan(
            orders,
            share,
            reason,
            exhausted=budget <= limits.lowest if wants else share <= settings.minimum_factor,
            short_w=watts.budget_w is not None and watts.budget_w < limits.lowest,
            ordered_w=sum(each.cost for each in shares.values()) if watts.price else None,
            clock_cap=self._cap(situation, orders),
            facts=facts,
        )

    def give_up(self, situation: GovernorState) -> None:
        """Note that everyone was told to do the least; full speed comes back slowly."""
        for node, want in _wants(situation).items():
            self._dwells[node] = Dwell(want.cheapest, situation.time_s, changed=True)
        self._control.drop()
        self._calm = None

    def _forget_other_operating_points(self, situation: GovernorState) -> None:
        """Begin anew with nodes whose operating points are others, as where one has been withdrawn."""
        offered = {
            each.node: [
                (operating_point.model, operating_point.precision)
                for operating_point in each.operating_points
            ]
            for each in situation.flexible
        }
        for node, operating_points in offered.items():
            if self._offered.get(node, operating_points) != operating_points:
                self._dwells.pop(node, None)
                if self._granted is not None:
                    self._granted.pop(node, None)
        self._offered = offered

    def _budget(self, situation: GovernorState, limits: _Range, emergency: bool) -> float:
        watts = situation.watts
        in_watts = watts.price is not None
        if self._in_watts is not in_watts:
            # In another unit the sustainable power is another number.
            self._control = PowerController()
            self._in_watts = in_watts
            self._calm = self._untroubled = self._granted = None
        budget = self._control.update(
            _error_c(situation), situation.elapsed_s, limits.lowest, limits.highest
        )
        if situation.left >= 1.0 or self._untroubled is None:
            self._untroubled = budget
        if situation.left < 1.0:
            most = max(0.0, self._untroubled - limits.lowest)
            budget = min(budget, limits.lowest + situation.left * most)
        if watts.budget_w is not None and in_watts:
            budget = min(budget, watts.budget_w)
        if emergency:
            self._control.drop()
            budget = limits.lowest
        return max(limits.lowest, budget)

    def _share_out(
        self,
        situation: GovernorState,
        wants: Mapping[str, PowerDemand],
        limits: _Range,
        budget: float,
        held: Mapping[str, int],
    ) -> dict[str, PowerShare]:
        """Give out the budget, but let work grow only slowly: heat shows late."""
        if self._granted is not None:
            spent = sum(_cost(want, self._granted.get(node)) for node, want in wants.items())
            rise = _RISE_PER_S * (limits.highest - limits.lowest) * situation.elapsed_s
            budget = min(budget, max(limits.lowest, limits.floor + spent) + rise)
        served = {node: _dearer(want, held[node], situation) for node, want in wants.items()}
        priced = [_priced_as(want, held[node], served[node]) for node, want in wants.items()]
        shares = allocate(priced, budget - limits.floor, lambda want, _: held[want.node])
        self._granted = {node: (share.rate_hz, served[node]) for node, share in shares.items()}
        return shares

    def _calm_budget(
        self, budget: float, limits: _Range, elapsed_s: float, emergency: bool
    ) -> float:
        """Smooth the budget, as a share, so that a new price of work changes nothing."""
        span = limits.highest - limits.lowest
        share = (budget - limits.lowest) / span if span > 0.0 else 1.0
        if self._calm is None or emergency:
            self._calm = share
        self._calm += min(1.0, elapsed_s / _CALM_S) * (share - self._calm)
        return limits.lowest + self._calm * span

    def _choose(
        self, situation: GovernorState, wants: Sequence[PowerDemand], budget: float, emergency: bool
    ) -> dict[str, int]:
        """Return the operating point that each node is to serve with, changes being rare."""
        held: dict[str, int] = {}

        def choose(want: PowerDemand, available: float) -> int:
            dwell = self._dwells.get(want.node)
            if dwell is None or dwell.operating_point >= len(want.costs):
                used = situation.in_use[want.node]
                known = used if used in range(len(want.costs)) else 0
                dwell = Dwell(known or 0, situation.time_s)
                self._dwells[want.node] = dwell
            escalated = situation.escalations.get(want.node, 0) > 0
            wanted = _wanted(want, dwell.operating_point, available, emergency, escalated)
            held[want.node] = dwell.choose(
                wanted,
                is_cheaper=want.costs[wanted] < want.costs[dwell.operating_point],
                time_s=situation.time_s,
                down_s=situation.settings.dwell_down_s,
                up_s=situation.settings.dwell_up_s,
                now=emergency or escalated,
            )
            return held[want.node]

        allocate(wants, budget, choose)
        self._unlimited &= {workload.node for workload in situation.flexible}
        self._dwells = {node: self._dwells[node] for node in held}
        return held

    def _cap(self, situation: GovernorState, orders: Sequence[DirectiveRequest]) -> float | None:
        busy = busy_share(situation.workloads, situation.settings)
        held_back = any(order.level is not DirectiveLevel.FULL for order in orders)
        return self._clock_cap.update(situation.time_s, busy, held_back=held_back)

    def _order(
        self,
        workload: Workload,
        want: PowerDemand,
        share: PowerShare,
        settings: GovernorSettings,
        reason: str,
    ) -> DirectiveRequest:
        """Put a share into words; a rate just below the demand limits nothing."""
        enough = _STILL_ALL if workload.node in self._unlimited else _ALL
        rate = None
        self._unlimited.add(workload.node)
        if share.is_least or share.rate_hz < enough * want.demand_hz:
            rate = share.rate_hz
            self._unlimited.discard(workload.node)
        limits = DirectiveLimits(max_rate_hz=rate, max_batch=share.batch)
        if share.operating_point > 0:
            limits = operating_point_limits(workload, share.operating_point, limits)
        if limits.is_free:
            return DirectiveRequest(workload.node, DirectiveLevel.FULL, 1.0, reason=reason)
        factor = share.cost / want.most if want.most > 0.0 else 1.0
        factor = min(1.0, max(settings.minimum_factor, factor))
        is_least = share.operating_point == want.cheapest and share.rate_hz <= 1.001 * want.least_hz
        level = DirectiveLevel.MINIMUM if share.is_least or is_least else DirectiveLevel.REDUCED
        return DirectiveRequest(workload.node, level, factor, limits, reason, _TOLERANCE)

    def _share(self, situation: GovernorState, limits: _Range, budget: float) -> float:
        """Return the share of full speed for nodes that are not known by name."""
        span = limits.highest - limits.lowest
        share = (budget - limits.lowest) / span if span > 0.0 else _ramp(situation)
        return max(situation.settings.minimum_factor, min(1.0, share, situation.left))


def _wants(situation: GovernorState) -> dict[str, PowerDemand]:
    price = situation.watts.price or 1.0
    found = (want_of(each, price, situation.settings) for each in situation.flexible)
    return {want.node: want for want in found if want is not None}


def _range(situation: GovernorState, wants: dict[str, PowerDemand]) -> _Range:
    watts = situation.watts
    others = [each for each in situation.workloads if each.node not in wants]
    floor = (watts.price or 1.0) * busy_share(others, situation.settings)
    if watts.price is not None:
        floor += watts.base_w
    lowest = floor + sum(want.least for want in wants.values())
    # A little more than all, or the dearest engine would never seem to have power to spare.
    highest = floor + sum(want.most for want in wants.values()) / _SPARE
    return _Range(floor, lowest, max(lowest, highest))


def _cost(want: PowerDemand, granted: tuple[float, int] | None) -> float:
    """Return what was granted at today's costs; a node that is new has all that it wants."""
    if granted is None or granted[1] >= len(want.costs):
        return want.most
    rate_hz, operating_point = granted
    return rate_hz * want.costs[operating_point]


def _dearer(want: PowerDemand, held: int, situation: GovernorState) -> int:
    """Return the operating point that a node costs as: the one in use, while a cheaper one is made ready."""
    used = situation.in_use[want.node]
    if used is None or used not in range(len(want.costs)):
        return held
    return max(held, used, key=lambda operating_point: want.costs[operating_point])


def _priced_as(want: PowerDemand, held: int, served: int) -> PowerDemand:
    costs = (*want.costs[:held], want.costs[served], *want.costs[held + 1 :])
    return replace(want, costs=costs)


def _error_c(situation: GovernorState) -> float:
    """Return how far the temperatures will stay below their target; without any, far."""
    margin = situation.settings.target_margin_c
    return min(
        (each.heat.bounds.max_c - margin - each.ahead_c for each in situation.outlooks),
        default=100.0,
    )


def _is_emergency(situation: GovernorState) -> bool:
    return any(
        max(each.recent_c, each.now_c) >= each.heat.bounds.max_c - _EMERGENCY_C
        or each.ahead_c >= each.heat.bounds.max_c + _EMERGENCY_C
        for each in situation.outlooks
    )


def _ramp(situation: GovernorState) -> float:
    minimum = situation.settings.minimum_factor
    return min(
        (ramp_factor(each.now_c, each.heat.bounds, minimum) for each in situation.outlooks),
        default=1.0,
    )


def _wanted(
    want: PowerDemand, current: int, available: float, emergency: bool, escalated: bool
) -> int:
    """Return the operating point that a node should serve with, the current one unless it is worth it."""
    if emergency:
        return want.cheapest
    if escalated:
        cheaper = [each for each in want.usable if want.costs[each] < want.costs[current]]
        return max(cheaper, key=lambda index: want.costs[index], default=current)
    best = best_point(want, available)
    if want.costs[best] > want.costs[current]:
        # One step at a time, and only with power to spare.
        available *= _SPARE
        dearer = [each for each in want.usable if want.costs[each] > want.costs[current]]
        best = min(dearer, key=lambda index: want.costs[index])
    new, old = share_with(want, best, available), share_with(want, current, available)
    has_all = new.rate_hz >= _ALL * want.demand_hz
    is_better = new.worth > (1.0 if has_all else _CLEARLY) * old.worth
    is_better |= old.is_least and not new.is_least
    is_better |= current not in want.usable and want.costs[best] <= want.costs[current]
    return best if is_better else current


def _reason(situation: GovernorState, emergency: bool) -> str:
    nearest = min(
        situation.outlooks,
        key=lambda each: each.heat.bounds.max_c - each.ahead_c,
        default=None,
    )
    if nearest is None:
        return "no temperature is known"
    words = (
        f"{nearest.heat.name} at {nearest.now_c:.1f} °C, going to {nearest.ahead_c:.1f}, "
        f"limit {nearest.heat.bounds.max_c:.0f}"
    )
    return f"emergency: {words}" if emergency else words
