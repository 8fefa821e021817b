"""What can be asked of one node, from everything it wants down to the least it can do with."""

from __future__ import annotations

from edge_inference.core.directives.directive import (
    DirectiveLevel,
    DirectiveLimits,
    OperatingPoint,
    Workload,
)
from edge_inference.governor.demand import cheapest_operating_point, demand_hz, least_hz
from edge_inference.governor.orders import DirectiveRequest
from edge_inference.governor.settings import GovernorSettings


def everything(workload: Workload, reason: str) -> DirectiveRequest:
    """Limit nothing."""
    return DirectiveRequest(workload.node, DirectiveLevel.FULL, 1.0, reason=reason)


def the_least(
    workload: Workload, level: DirectiveLevel, settings: GovernorSettings, reason: str
) -> DirectiveRequest:
    """Ask for the least rate, the cheapest operating point and one image at a time."""
    limits = DirectiveLimits(max_rate_hz=least_hz(workload, settings), max_batch=1)
    cheapest = cheapest_operating_point(workload, settings)
    if cheapest is not None:
        limits = operating_point_limits(workload, cheapest, limits)
    return DirectiveRequest(workload.node, level, settings.minimum_factor, limits, reason)


def a_share(
    workload: Workload, factor: float, settings: GovernorSettings, reason: str
) -> DirectiveRequest:
    """Ask for a share of the demand, with the engine that serves now.

    A demand that is not known yet is not limited, except by the factor itself.
    """
    if factor >= 1.0:
        return everything(workload, reason)
    demand = demand_hz(workload)
    rate = None if demand is None else max(factor * demand, least_hz(workload, settings))
    return DirectiveRequest(
        workload.node,
        share_level(factor, settings),
        factor,
        DirectiveLimits(max_rate_hz=rate),
        reason,
    )


def share_level(factor: float, settings: GovernorSettings) -> DirectiveLevel:
    """Name a share of full speed."""
    if factor >= 1.0:
        return DirectiveLevel.FULL
    return DirectiveLevel.REDUCED if factor > settings.minimum_factor else DirectiveLevel.MINIMUM


def operating_point_limits(
    workload: Workload, index: int, limits: DirectiveLimits
) -> DirectiveLimits:
    """Add to ``limits`` what makes a node serve with one of its operating points."""
    operating_point: OperatingPoint = workload.operating_points[index]
    models = {each.model for each in workload.operating_points}
    return DirectiveLimits(
        max_rate_hz=limits.max_rate_hz,
        max_batch=limits.max_batch,
        precision_ceiling=operating_point.precision,
        model=operating_point.model if len(models) > 1 else "",
    )
