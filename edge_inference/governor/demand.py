"""What a node wants and the least it can do with, read from what it says of itself."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edge_inference.core.directives.directive import OperatingPoint, Workload
from edge_inference.core.measured_costs import FASTER
from edge_inference.governor.settings import GovernorSettings

#: Less than an image in a quarter of an hour is none.
_NO_DEMAND_HZ = 0.001
#: No rate, duration or power is more, in hertz, milliseconds or watts; squares of more overflow.
_MOST = 1e9


def number(value: float | None) -> float | None:
    """Return a measured value that can be true, None for anything else."""
    is_true = value is not None and math.isfinite(value) and 0.0 <= value <= _MOST
    return value if is_true else None


def demand_hz(workload: Workload) -> float | None:
    """Return the rate of images that a node is offered; None before it is known."""
    demand = number(workload.demand_hz)
    return 0.0 if demand is not None and demand < _NO_DEMAND_HZ else demand


def least_hz(workload: Workload, settings: GovernorSettings) -> float:
    """Return the least rate of a node, never more than it is offered."""
    named = number(workload.minimum_rate_hz)
    if named is None or named < _NO_DEMAND_HZ:
        named = settings.safe_rate_hz
    demand = demand_hz(workload)
    return named if not demand else min(named, demand)


def cheapest_operating_point(workload: Workload, settings: GovernorSettings) -> int | None:
    """Return the index of the operating point with the shortest inference that is worth its accuracy."""
    return next(reversed(worthwhile(inference_seconds(workload.operating_points, settings))), None)


def worthwhile(costs: Sequence[float]) -> list[int]:
    """Return the indexes of the operating points that cost clearly less than every one before them.

    Options are ordered by accuracy: another one loses some and saves neither time nor heat.
    The first one always counts; the last of those returned is the cheapest.
    """
    found: list[int] = []
    for index, cost in enumerate(costs):
        if not found or cost <= FASTER * costs[found[-1]]:
            found.append(index)
    return found


def inference_seconds(
    operating_points: Sequence[OperatingPoint], settings: GovernorSettings
) -> list[float]:
    """Return how long one inference takes with each operating point.

    What nobody has measured is assumed: from a measured operating point of the same model, by the ratio
    of the precisions, else from any measured one. With nothing measured at all the result
    tells ratios only: the dearest precision takes one second.
    """
    return [
        _seconds(operating_point, operating_points, settings)
        for operating_point in operating_points
    ]


def is_measured(workload: Workload) -> bool:
    """Tell whether any operating point of a node has been timed on this machine."""
    return any(number(operating_point.process_ms) for operating_point in workload.operating_points)


def _seconds(
    operating_point: OperatingPoint,
    operating_points: Sequence[OperatingPoint],
    settings: GovernorSettings,
) -> float:
    ratio = _ratio(operating_point.precision, settings)
    own = number(operating_point.process_ms)
    if own:
        return own / 1e3
    measured = [other for other in operating_points if number(other.process_ms)]
    same_model = [other for other in measured if other.model == operating_point.model]
    for other in same_model or measured:
        return (number(other.process_ms) or 0.0) / 1e3 * ratio / _ratio(other.precision, settings)
    return ratio


def _ratio(precision: str, settings: GovernorSettings) -> float:
    return {"fp16": settings.fp16_cost, "int8": settings.int8_cost}.get(precision, 1.0)
