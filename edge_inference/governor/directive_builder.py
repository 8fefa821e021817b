"""What can be asked of one node, from everything it wants down to the least it can do with."""

from __future__ import annotations

from edge_inference.core.directives.directive import Level, Limits, Option, Workload
from edge_inference.governor.demand import cheapest_option, demand_hz, least_hz
from edge_inference.governor.orders import Order
from edge_inference.governor.settings import GovernorSettings


def everything(workload: Workload, reason: str) -> Order:
    """Limit nothing."""
    return Order(workload.node, Level.FULL, 1.0, reason=reason)


def the_least(workload: Workload, level: Level, settings: GovernorSettings, reason: str) -> Order:
    """Ask for the least rate, the cheapest option and one picture at a time."""
    limits = Limits(max_rate_hz=least_hz(workload, settings), max_batch=1)
    cheapest = cheapest_option(workload, settings)
    if cheapest is not None:
        limits = option_limits(workload, cheapest, limits)
    return Order(workload.node, level, settings.minimum_factor, limits, reason)


def a_share(workload: Workload, factor: float, settings: GovernorSettings, reason: str) -> Order:
    """Ask for a share of the demand, with the engine that serves now.

    A demand that is not known yet is not limited, except by the factor itself.
    """
    if factor >= 1.0:
        return everything(workload, reason)
    demand = demand_hz(workload)
    rate = None if demand is None else max(factor * demand, least_hz(workload, settings))
    return Order(
        workload.node, share_level(factor, settings), factor, Limits(max_rate_hz=rate), reason
    )


def share_level(factor: float, settings: GovernorSettings) -> Level:
    """Name a share of full speed."""
    if factor >= 1.0:
        return Level.FULL
    return Level.REDUCED if factor > settings.minimum_factor else Level.MINIMUM


def option_limits(workload: Workload, index: int, limits: Limits) -> Limits:
    """Add to ``limits`` what makes a node serve with one of its options."""
    option: Option = workload.options[index]
    models = {each.model for each in workload.options}
    return Limits(
        max_rate_hz=limits.max_rate_hz,
        max_batch=limits.max_batch,
        precision_ceiling=option.precision,
        model=option.model if len(models) > 1 else "",
    )
