"""Shares a budget out among nodes: by priority, each with the engine that gives it most.

Costs and the budget are in the same unit, watts or busy shares. Pure functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge_inference.core.directives.directive import Workload
from edge_inference.governor.demand import (
    demand_hz,
    inference_seconds,
    least_hz,
    number,
    worthwhile,
)
from edge_inference.governor.settings import GovernorSettings

#: An operating point of unknown accuracy counts as this much less accurate than the one before it.
_UNKNOWN_STEP = 0.02
#: A budget for exactly the least is enough for it.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class PowerDemand:
    """What a node would do with enough power; costs are those of one inference per second."""

    node: str
    priority: int
    demand_hz: float
    least_hz: float
    batch: int
    costs: tuple[float, ...]
    accuracies: tuple[float, ...]

    @property
    def usable(self) -> list[int]:
        """Indexes of the operating points that may be asked for, the dearest first."""
        return worthwhile(self.costs)

    @property
    def cheapest(self) -> int:
        """Index of the operating point that costs least."""
        return self.usable[-1]

    @property
    def least(self) -> float:
        """What the node costs at its least rate, its whole batch included."""
        return self.least_hz * self.costs[self.cheapest]

    @property
    def most(self) -> float:
        """What the node costs with all that it wants."""
        return self.demand_hz * self.costs[self.usable[0]]


@dataclass(frozen=True)
class PowerShare:
    """What a node gets: ``operating_point`` at ``rate_hz``, worth so many accurate inferences a second.

    ``batch`` is None where it is not limited; ``is_least``: there was not even the least.
    """

    operating_point: int
    rate_hz: float
    cost: float
    worth: float
    batch: int | None = None
    is_least: bool = False


#: Chooses an operating point for a node that has so much of the budget.
Choose = Callable[[PowerDemand, float], int]


def want_of(workload: Workload, price: float, settings: GovernorSettings) -> PowerDemand | None:
    """Return what a node wants at ``price`` for a second of work; None while it is not known."""
    demand = demand_hz(workload)
    if not workload.operating_points or not demand:
        return None
    return PowerDemand(
        workload.node,
        workload.priority,
        demand,
        least_hz(workload, settings),
        max(1, workload.batch),
        tuple(price * each for each in inference_seconds(workload.operating_points, settings)),
        _accuracies(workload),
    )


def best_point(want: PowerDemand, budget: float) -> int:
    """Return the operating point with the most accurate inferences a second for a budget.

    Where there is not even the least, the cheapest.
    """
    shares = [share_with(want, operating_point, budget) for operating_point in want.usable]
    enough = [share for share in shares if not share.is_least]
    return max(enough, key=lambda share: share.worth).operating_point if enough else want.cheapest


def share_with(want: PowerDemand, operating_point: int, budget: float) -> PowerShare:
    """Return what a node gets with one operating point."""
    cost = want.costs[operating_point]
    rate = want.demand_hz if cost <= 0.0 else min(want.demand_hz, budget / cost)
    if rate < want.least_hz * (1.0 - _ROUNDING):
        return _less_than_least(want, operating_point, budget)
    rate = max(rate, want.least_hz)
    return PowerShare(operating_point, rate, rate * cost, rate * want.accuracies[operating_point])


def allocate(
    wants: Sequence[PowerDemand], budget: float, choose: Choose = best_point
) -> dict[str, PowerShare]:
    """Share out ``budget``.

    Everyone has the least reserved; what is left goes to the highest priority until it has all
    that it wants, then to the next. Nodes of one priority are served in order of name.
    """
    reserved = sum(want.least for want in wants)
    shares = {}
    for want in sorted(wants, key=lambda each: (-each.priority, each.node)):
        reserved -= want.least
        available = budget - reserved
        shares[want.node] = share_with(want, choose(want, available), available)
        budget -= shares[want.node].cost
    return shares


def _less_than_least(want: PowerDemand, operating_point: int, budget: float) -> PowerShare:
    """Give the least rate, with as many images at once as the budget has room for."""
    cost = want.least_hz * want.costs[operating_point]
    room = budget / cost if cost > 0.0 else 1.0  # too little to count
    # Before it is made whole: a cost may be so small that there is room without end.
    batch = max(1, int(want.batch * min(1.0, max(0.0, room))))
    cost *= batch / want.batch
    return PowerShare(operating_point, want.least_hz, cost, 0.0, batch, is_least=True)


def _accuracies(workload: Workload) -> tuple[float, ...]:
    found: list[float] = []
    for operating_point in workload.operating_points:
        known = number(operating_point.accuracy)
        before = found[-1] if found else 1.0
        found.append(max(0.0, before - _UNKNOWN_STEP) if known is None else known)
    return tuple(found)
