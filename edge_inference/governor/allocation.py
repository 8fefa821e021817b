"""Allocates a power budget to nodes, by priority; each gets the engine with the highest utility.

The utility is the rate of inferences times their accuracy. Costs and the budget have the same
unit, watts or utilization. Pure functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edge_inference.core.directives.directive import Workload
from edge_inference.governor.directive_builder import (
    demand_hz,
    inference_seconds,
    min_rate_hz,
    pareto_points,
    valid_number,
)
from edge_inference.governor.power_budget import total_utilization
from edge_inference.governor.settings import GovernorSettings
from edge_inference.governor.state import GovernorState

#: A more expensive engine must fit into this share of the budget.
SPARE_SHARE = 0.92
#: An unknown accuracy is assumed to be this much lower than that of the point before.
_UNKNOWN_STEP = 0.02
#: A budget of exactly the minimum must suffice despite rounding.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class PowerDemand:
    """What a node can use at most; ``costs`` are those of one inference per second."""

    node: str
    priority: int
    demand_hz: float
    min_rate_hz: float
    batch: int
    costs: tuple[float, ...]
    accuracies: tuple[float, ...]

    @property
    def usable_points(self) -> list[int]:
        """Indices of the operating points that may be requested, the most expensive first."""
        return pareto_points(self.costs)

    @property
    def cheapest_point(self) -> int:
        """Index of the operating point with the lowest cost."""
        return self.usable_points[-1]

    @property
    def min_cost(self) -> float:
        """Cost at the minimum rate, with the whole batch."""
        return self.min_rate_hz * self.costs[self.cheapest_point]

    @property
    def max_cost(self) -> float:
        """Cost of the whole demand with the most accurate operating point."""
        return self.demand_hz * self.costs[self.usable_points[0]]


@dataclass(frozen=True)
class PowerShare:
    """The share of a node: ``operating_point`` at ``rate_hz``.

    ``batch`` is None where it is not limited. ``is_below_minimum`` means that the budget did not
    suffice for the minimum.
    """

    operating_point: int
    rate_hz: float
    cost: float
    utility: float
    batch: int | None = None
    is_below_minimum: bool = False


@dataclass(frozen=True)
class CostRange:
    """The total cost is between ``lowest`` and ``highest``; ``fixed`` is the part that stays."""

    fixed: float
    lowest: float
    highest: float

    def factor(self, budget: float) -> float | None:
        """Return the position of a budget in the range; None if there is nothing to reduce."""
        span = self.highest - self.lowest
        return (budget - self.lowest) / span if span > 0.0 else None


#: Chooses the operating point of a node for an available budget.
ChoosePoint = Callable[[PowerDemand, float], int]


def make_power_demand(
    workload: Workload, full_load_w: float, settings: GovernorSettings
) -> PowerDemand | None:
    """Return the demand of a node, at ``full_load_w`` per second of inference; None if unknown."""
    demand = demand_hz(workload)
    if not workload.operating_points or not demand:
        return None
    seconds = inference_seconds(workload.operating_points, settings)
    return PowerDemand(
        workload.node,
        workload.priority,
        demand,
        min_rate_hz(workload, settings),
        max(1, workload.batch),
        tuple(full_load_w * each for each in seconds),
        _accuracies(workload),
    )


def power_demands(state: GovernorState) -> dict[str, PowerDemand]:
    """Return the known demands of all flexible nodes."""
    full_load_w = state.power.full_load_w or 1.0
    demands = (make_power_demand(each, full_load_w, state.settings) for each in state.flexible)
    return {demand.node: demand for demand in demands if demand is not None}


def cost_range(state: GovernorState, demands: Mapping[str, PowerDemand]) -> CostRange:
    """Return the range of the total cost, between minimum and demand of the given nodes."""
    power = state.power
    others = [each for each in state.workloads if each.node not in demands]
    fixed = (power.full_load_w or 1.0) * total_utilization(others, state.settings)
    if power.full_load_w is not None:
        fixed += power.base_w
    lowest = fixed + sum(demand.min_cost for demand in demands.values())
    # Slightly more than the demand: else the most expensive engine never has budget to spare.
    highest = fixed + sum(demand.max_cost for demand in demands.values()) / SPARE_SHARE
    return CostRange(fixed, lowest, max(lowest, highest))


def best_point(demand: PowerDemand, budget: float) -> int:
    """Return the operating point with the highest utility for a budget.

    If the budget does not suffice for the minimum, return the cheapest one.
    """
    shares = [share_at_point(demand, point, budget) for point in demand.usable_points]
    sufficient = [share for share in shares if not share.is_below_minimum]
    if not sufficient:
        return demand.cheapest_point
    return max(sufficient, key=lambda share: share.utility).operating_point


def share_at_point(demand: PowerDemand, operating_point: int, budget: float) -> PowerShare:
    """Return the share of a node with one operating point."""
    cost = demand.costs[operating_point]
    rate = demand.demand_hz if cost <= 0.0 else min(demand.demand_hz, budget / cost)
    if rate < demand.min_rate_hz * (1.0 - _ROUNDING):
        return _share_below_minimum(demand, operating_point, budget)
    rate = max(rate, demand.min_rate_hz)
    utility = rate * demand.accuracies[operating_point]
    return PowerShare(operating_point, rate, rate * cost, utility)


def allocate(
    demands: Sequence[PowerDemand], budget: float, choose_point: ChoosePoint = best_point
) -> dict[str, PowerShare]:
    """Allocate ``budget`` to nodes.

    The minimum of every node is reserved. The rest goes to the node with the highest priority up
    to its demand, then to the next one. Nodes of equal priority are served in order of name.
    """
    reserved = sum(demand.min_cost for demand in demands)
    shares = {}
    for demand in sorted(demands, key=lambda each: (-each.priority, each.node)):
        reserved -= demand.min_cost
        available = budget - reserved
        shares[demand.node] = share_at_point(demand, choose_point(demand, available), available)
        budget -= shares[demand.node].cost
    return shares


def _share_below_minimum(demand: PowerDemand, operating_point: int, budget: float) -> PowerShare:
    """Return the minimum rate, with as many images per batch as the budget allows."""
    cost = demand.min_rate_hz * demand.costs[operating_point]
    part = budget / cost if cost > 0.0 else 1.0  # a cost of 0 always fits
    # Clamp before the conversion to int: with a tiny cost the part may be infinite.
    batch = max(1, int(demand.batch * min(1.0, max(0.0, part))))
    cost *= batch / demand.batch
    return PowerShare(operating_point, demand.min_rate_hz, cost, 0.0, batch, is_below_minimum=True)


def _accuracies(workload: Workload) -> tuple[float, ...]:
    accuracies: list[float] = []
    for operating_point in workload.operating_points:
        known = valid_number(operating_point.accuracy)
        before = accuracies[-1] if accuracies else 1.0
        accuracies.append(max(0.0, before - _UNKNOWN_STEP) if known is None else known)
    return tuple(accuracies)
