"""The predictive preset: allocates a power budget by priority, changes engines before rates.

``ClockCapController`` proposes a lower clock for the optional actuator: the same work at a lower
clock and voltage costs less energy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from edge_inference.core.directives.directive import DirectiveLevel, DirectiveLimits, Workload
from edge_inference.governor.allocation import (
    SPARE_SHARE,
    CostRange,
    PowerDemand,
    PowerShare,
    allocate,
    best_point,
    cost_range,
    power_demands,
    share_at_point,
)
from edge_inference.governor.directive_builder import (
    DirectiveRequest,
    limit_to_operating_point,
    request_factor,
    request_minimum,
)
from edge_inference.governor.dwell import Dwell
from edge_inference.governor.power_budget import PowerController, total_utilization
from edge_inference.governor.ramp import ramp_factor
from edge_inference.governor.settings import GovernorSettings
from edge_inference.governor.state import GovernorPlan, GovernorState

#: This near to the limit, all nodes go to the minimum at once.
_EMERGENCY_C = 1.0
#: Engines are chosen by a budget smoothed over this time, rates by the budget itself.
_SMOOTH_S = 30.0
#: Share of the whole range by which work may grow per second.
_RISE_PER_S = 0.02
#: An engine must have this much more utility to be chosen.
_UTILITY_GAIN = 1.05
#: A rate this near to the demand becomes no limit; no limit becomes a rate below the second one.
_UNLIMITED_FROM = 0.985
_LIMITED_BELOW = 0.93
#: A smaller change of the rate does not make a new directive.
_TOLERANCE = 0.06

_CLOCK_STEP = 0.1
_MIN_CLOCK = 0.6
_CLOCK_DOWN_S = 30.0
_CLOCK_UP_S = 60.0
#: Below this utilization a lower clock suffices; above the second one the clock rises.
_IDLE_UTILIZATION = 0.6
_FULL_UTILIZATION = 0.8


class ClockCapController:
    """Steps the cap down while nodes are limited and time remains, else up."""

    def __init__(self) -> None:
        """Start with the highest clock."""
        self.share = 1.0
        self._changed_s = 0.0

    def update(self, time_s: float, utilization: float, *, is_limited: bool) -> float | None:
        """Return the share of the highest clock that suffices; None for no cap."""
        waited_s = time_s - self._changed_s
        if utilization > _FULL_UTILIZATION and waited_s >= _CLOCK_STEP * _CLOCK_DOWN_S:
            self._move(_CLOCK_STEP, time_s)
        elif is_limited and utilization < _IDLE_UTILIZATION and waited_s >= _CLOCK_DOWN_S:
            self._move(-_CLOCK_STEP, time_s)
        elif not is_limited and waited_s >= _CLOCK_UP_S:
            self._move(_CLOCK_STEP, time_s)
        return self.share if self.share < 1.0 else None

    def _move(self, by: float, time_s: float) -> None:
        self.share = round(min(1.0, max(_MIN_CLOCK, self.share + by)), 3)
        self._changed_s = time_s


class PredictivePreset:
    """Remembers the sustainable power, and the engine and rate of each node."""

    def __init__(self) -> None:
        """Start without a limit."""
        self._control = PowerController()
        self._is_in_watts: bool | None = None
        #: The smoothed budget, as a share of the range.
        self._smooth_factor: float | None = None
        self._unthrottled_budget: float | None = None
        self._dwells: dict[str, Dwell] = {}
        #: Operating points of each node; when they change, an index means another engine.
        self._known_points: dict[str, list[tuple[str, str]]] = {}
        #: Rate of each node, and the operating point whose cost was assumed for it.
        self._granted: dict[str, tuple[float, int]] | None = None
        self._unlimited: set[str] = set()
        self._clock_cap = ClockCapController()

    def plan(self, state: GovernorState) -> GovernorPlan:
        """Return the requests for all flexible nodes."""
        settings, power = state.settings, state.power
        self._forget_changed_nodes(state)
        demands = power_demands(state)
        costs = cost_range(state, demands)
        emergency = _is_emergency(state)
        budget = self._update_budget(state, costs, emergency)
        smooth = self._smooth_budget(budget, costs, state.elapsed_s, emergency)
        chosen = self._choose_points(state, list(demands.values()), smooth - costs.fixed, emergency)
        shares = self._allocate(state, demands, costs, budget, chosen)
        reason = _describe_reason(state, emergency)
        default_factor = _default_factor(state, costs, budget)
        requests = []
        for workload in state.flexible:
            demand = demands.get(workload.node)
            if state.escalations.get(workload.node, 0) > 1:
                requests.append(request_minimum(workload, DirectiveLevel.MINIMUM, settings, reason))
            elif demand is None:
                factor = min(default_factor, _thermal_factor(state))
                requests.append(request_factor(workload, factor, settings, reason))
            else:
                share = shares[workload.node]
                requests.append(self._make_request(workload, demand, share, settings, reason))
        unit = "utilization" if power.full_load_w is None else "W"
        is_minimum = default_factor <= settings.minimum_factor
        return GovernorPlan(
            requests,
            default_factor,
            reason,
            exhausted=budget <= costs.lowest if demands else is_minimum,
            exceeds_power=power.budget_w is not None and power.budget_w < costs.lowest,
            expected_w=sum(each.cost for each in shares.values()) if power.full_load_w else None,
            clock_cap=self._update_clock_cap(state, requests),
            diagnostics={
                "budget": f"{budget:.2f} {unit}",
                "budget range": f"{costs.lowest:.2f} to {costs.highest:.2f} {unit}",
            },
        )

    def enter_failsafe(self, state: GovernorState) -> None:
        """Note that all nodes go to the safe level; full speed then comes back slowly."""
        for node, demand in power_demands(state).items():
            self._dwells[node] = Dwell(demand.cheapest_point, state.time_s, changed=True)
        self._control.drop()
        self._smooth_factor = None

    def _forget_changed_nodes(self, state: GovernorState) -> None:
        """Forget nodes whose operating points have changed, as when one is withdrawn."""
        known_points = {
            each.node: [(point.model, point.precision) for point in each.operating_points]
            for each in state.flexible
        }
        for node, points in known_points.items():
            if self._known_points.get(node, points) != points:
                self._dwells.pop(node, None)
                if self._granted is not None:
                    self._granted.pop(node, None)
        self._known_points = known_points

    def _update_budget(self, state: GovernorState, costs: CostRange, emergency: bool) -> float:
        power = state.power
        is_in_watts = power.full_load_w is not None
        if self._is_in_watts is not is_in_watts:
            # The unit changes, and with it the value of the sustainable power.
            self._control = PowerController()
            self._is_in_watts = is_in_watts
            self._smooth_factor = self._unthrottled_budget = self._granted = None
        budget = self._control.update(
            _target_error_c(state), state.elapsed_s, costs.lowest, costs.highest
        )
        if state.throttle_factor >= 1.0 or self._unthrottled_budget is None:
            self._unthrottled_budget = budget
        if state.throttle_factor < 1.0:
            reducible = max(0.0, self._unthrottled_budget - costs.lowest)
            budget = min(budget, costs.lowest + state.throttle_factor * reducible)
        if power.budget_w is not None and is_in_watts:
            budget = min(budget, power.budget_w)
        if emergency:
            self._control.drop()
            budget = costs.lowest
        return max(costs.lowest, budget)

    def _smooth_budget(
        self, budget: float, costs: CostRange, elapsed_s: float, emergency: bool
    ) -> float:
        """Smooth the budget as a share of the range: a new cost of work must not change it."""
        factor = costs.factor(budget)
        factor = 1.0 if factor is None else factor
        if self._smooth_factor is None or emergency:
            self._smooth_factor = factor
        self._smooth_factor += min(1.0, elapsed_s / _SMOOTH_S) * (factor - self._smooth_factor)
        return costs.lowest + self._smooth_factor * (costs.highest - costs.lowest)

    def _choose_points(
        self, state: GovernorState, demands: Sequence[PowerDemand], budget: float, emergency: bool
    ) -> dict[str, int]:
        """Return the operating point for each node; it changes rarely."""
        chosen: dict[str, int] = {}

        def choose_point(demand: PowerDemand, available: float) -> int:
            dwell = self._dwells.get(demand.node)
            if dwell is None or dwell.operating_point >= len(demand.costs):
                used = state.operating_points[demand.node]
                known = used if used in range(len(demand.costs)) else 0
                dwell = Dwell(known or 0, state.time_s)
                self._dwells[demand.node] = dwell
            escalated = state.escalations.get(demand.node, 0) > 0
            current = dwell.operating_point
            best = _best_change(demand, current, available, emergency, escalated)
            chosen[demand.node] = dwell.choose(
                best,
                is_cheaper=demand.costs[best] < demand.costs[current],
                time_s=state.time_s,
                down_s=state.settings.dwell_down_s,
                up_s=state.settings.dwell_up_s,
                is_urgent=emergency or escalated,
            )
            return chosen[demand.node]

        allocate(demands, budget, choose_point)
        self._unlimited &= {workload.node for workload in state.flexible}
        self._dwells = {node: self._dwells[node] for node in chosen}
        return chosen

    def _allocate(
        self,
        state: GovernorState,
        demands: Mapping[str, PowerDemand],
        costs: CostRange,
        budget: float,
        chosen: Mapping[str, int],
    ) -> dict[str, PowerShare]:
        """Allocate the budget, but let work grow only slowly: the temperature follows late."""
        if self._granted is not None:
            spent = sum(_cost(each, self._granted.get(node)) for node, each in demands.items())
            rise = _RISE_PER_S * (costs.highest - costs.lowest) * state.elapsed_s
            budget = min(budget, max(costs.lowest, costs.fixed + spent) + rise)
        cost_points = {
            node: _cost_point(each, chosen[node], state) for node, each in demands.items()
        }
        adjusted = [
            _replace_cost(each, chosen[node], cost_points[node]) for node, each in demands.items()
        ]
        shares = allocate(adjusted, budget - costs.fixed, lambda each, _: chosen[each.node])
        self._granted = {node: (share.rate_hz, cost_points[node]) for node, share in shares.items()}
        return shares

    def _update_clock_cap(
        self, state: GovernorState, requests: Sequence[DirectiveRequest]
    ) -> float | None:
        utilization = total_utilization(state.workloads, state.settings)
        is_limited = any(request.level is not DirectiveLevel.FULL for request in requests)
        return self._clock_cap.update(state.time_s, utilization, is_limited=is_limited)

    def _make_request(
        self,
        workload: Workload,
        demand: PowerDemand,
        share: PowerShare,
        settings: GovernorSettings,
        reason: str,
    ) -> DirectiveRequest:
        """Turn a share into a request; a rate just below the demand limits nothing."""
        threshold = _LIMITED_BELOW if workload.node in self._unlimited else _UNLIMITED_FROM
        rate = None
        self._unlimited.add(workload.node)
        if share.is_below_minimum or share.rate_hz < threshold * demand.demand_hz:
            rate = share.rate_hz
            self._unlimited.discard(workload.node)
        limits = DirectiveLimits(max_rate_hz=rate, max_batch=share.batch)
        if share.operating_point > 0:
            limits = limit_to_operating_point(workload, share.operating_point, limits)
        if limits.is_free:
            return DirectiveRequest(workload.node, DirectiveLevel.FULL, 1.0, reason=reason)
        factor = share.cost / demand.max_cost if demand.max_cost > 0.0 else 1.0
        factor = min(1.0, max(settings.minimum_factor, factor))
        is_minimum = share.is_below_minimum or (
            share.operating_point == demand.cheapest_point
            and share.rate_hz <= 1.001 * demand.min_rate_hz
        )
        level = DirectiveLevel.MINIMUM if is_minimum else DirectiveLevel.REDUCED
        return DirectiveRequest(workload.node, level, factor, limits, reason, _TOLERANCE)


def _cost(demand: PowerDemand, granted: tuple[float, int] | None) -> float:
    """Return the present cost of what was granted; a new node counts with its whole demand."""
    if granted is None or granted[1] >= len(demand.costs):
        return demand.max_cost
    rate_hz, operating_point = granted
    return rate_hz * demand.costs[operating_point]


def _cost_point(demand: PowerDemand, chosen: int, state: GovernorState) -> int:
    """Return the point whose cost applies: the one in use, until a cheaper engine is ready."""
    used = state.operating_points[demand.node]
    if used is None or used not in range(len(demand.costs)):
        return chosen
    return max(chosen, used, key=lambda point: demand.costs[point])


def _replace_cost(demand: PowerDemand, chosen: int, cost_point: int) -> PowerDemand:
    costs = (*demand.costs[:chosen], demand.costs[cost_point], *demand.costs[chosen + 1 :])
    return replace(demand, costs=costs)


def _target_error_c(state: GovernorState) -> float:
    """Return how far the forecasts stay below the target; a large value without a forecast."""
    margin_c = state.settings.target_margin_c
    return min(
        (each.zone.bounds.max_c - margin_c - each.forecast_c for each in state.forecasts),
        default=100.0,
    )


def _is_emergency(state: GovernorState) -> bool:
    return any(
        max(each.recent_c, each.current_c) >= each.zone.bounds.max_c - _EMERGENCY_C
        or each.forecast_c >= each.zone.bounds.max_c + _EMERGENCY_C
        for each in state.forecasts
    )


def _default_factor(state: GovernorState, costs: CostRange, budget: float) -> float:
    """Return the share of full speed for nodes that have not reported yet."""
    factor = costs.factor(budget)
    factor = _thermal_factor(state) if factor is None else factor
    return max(state.settings.minimum_factor, min(1.0, factor, state.throttle_factor))


def _thermal_factor(state: GovernorState) -> float:
    minimum = state.settings.minimum_factor
    return min(
        (ramp_factor(each.current_c, each.zone.bounds, minimum) for each in state.forecasts),
        default=1.0,
    )


def _best_change(
    demand: PowerDemand, current: int, available: float, emergency: bool, escalated: bool
) -> int:
    """Return the operating point to change to; the current one unless another is clearly better."""
    if emergency:
        return demand.cheapest_point
    costs = demand.costs
    if escalated:
        cheaper = [each for each in demand.usable_points if costs[each] < costs[current]]
        return max(cheaper, key=lambda index: costs[index], default=current)
    best = best_point(demand, available)
    if costs[best] > costs[current]:
        # One step at a time, and only with budget to spare.
        available *= SPARE_SHARE
        more_expensive = [each for each in demand.usable_points if costs[each] > costs[current]]
        best = min(more_expensive, key=lambda index: costs[index])
    new, old = share_at_point(demand, best, available), share_at_point(demand, current, available)
    meets_demand = new.rate_hz >= _UNLIMITED_FROM * demand.demand_hz
    is_better = new.utility > (1.0 if meets_demand else _UTILITY_GAIN) * old.utility
    is_better |= old.is_below_minimum and not new.is_below_minimum
    is_better |= current not in demand.usable_points and costs[best] <= costs[current]
    return best if is_better else current


def _describe_reason(state: GovernorState, emergency: bool) -> str:
    nearest = min(
        state.forecasts, key=lambda each: each.zone.bounds.max_c - each.forecast_c, default=None
    )
    if nearest is None:
        return "no temperature is known"
    reason = (
        f"{nearest.zone.name} at {nearest.current_c:.1f} °C, forecast {nearest.forecast_c:.1f}, "
        f"limit {nearest.zone.bounds.max_c:.0f}"
    )
    return f"emergency: {reason}" if emergency else reason
