"""Builds the directives for all nodes, with ids that rise only when a directive changes.

A request says what one node must do: from no limit down to the minimum that the node declares.
The rates and costs of its operating points come from the workload that the node reports.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from edge_inference.core.directives.directive import (
    Directive,
    DirectiveLevel,
    DirectiveLimits,
    OperatingPoint,
    Workload,
)
from edge_inference.core.measured_costs import FASTER
from edge_inference.governor.settings import GovernorSettings

UNLIMITED = DirectiveLimits()

#: A lower demand, less than one image in a quarter of an hour, counts as zero.
_MIN_DEMAND_HZ = 0.001
#: A higher rate (Hz), duration (ms) or power (W) is invalid; the square of one would overflow.
_MAX_VALUE = 1e9


@dataclass(frozen=True)
class DirectiveRequest:
    """What one node must do; an empty ``node`` addresses all nodes without a request by name.

    A rate or factor that differs from the last directive by no more than ``tolerance``, a share,
    does not make a new directive.
    """

    node: str
    level: DirectiveLevel
    factor: float
    limits: DirectiveLimits = UNLIMITED
    reason: str = ""
    tolerance: float = 0.02


class DirectiveBuilder:
    """Remembers the last directive of each node."""

    def __init__(self) -> None:
        """Start without directives."""
        self._last: dict[str, Directive] = {}
        self._last_id = 0

    def build(self, requests: list[DirectiveRequest]) -> tuple[Directive, ...]:
        """Return the directives for all requests; forget nodes without a request."""
        self._last = {request.node: self._directive(request) for request in requests}
        return tuple(self._last.values())

    def repeat(self, overrides: list[DirectiveRequest]) -> tuple[Directive, ...]:
        """Return the last directives, with some nodes replaced by new requests."""
        self._last |= {request.node: self._directive(request) for request in overrides}
        return tuple(self._last.values())

    @property
    def last(self) -> Mapping[str, Directive]:
        """The last directive of each node."""
        return self._last

    def _directive(self, request: DirectiveRequest) -> Directive:
        before = self._last.get(request.node)
        if before is not None and _is_same(before, request):
            return before
        self._last_id += 1
        return Directive(
            self._last_id,
            "",
            request.node,
            request.level,
            request.factor,
            request.limits,
            request.reason,
        )


def request_full(workload: Workload, reason: str) -> DirectiveRequest:
    """Limit nothing."""
    return DirectiveRequest(workload.node, DirectiveLevel.FULL, 1.0, reason=reason)


def request_minimum(
    workload: Workload, level: DirectiveLevel, settings: GovernorSettings, reason: str
) -> DirectiveRequest:
    """Ask for the minimum rate, the cheapest operating point and one image at a time."""
    limits = DirectiveLimits(max_rate_hz=min_rate_hz(workload, settings), max_batch=1)
    cheapest = cheapest_operating_point(workload, settings)
    if cheapest is not None:
        limits = limit_to_operating_point(workload, cheapest, limits)
    return DirectiveRequest(workload.node, level, settings.minimum_factor, limits, reason)


def request_factor(
    workload: Workload, factor: float, settings: GovernorSettings, reason: str
) -> DirectiveRequest:
    """Ask for a share of the demand, with the engine in use.

    While the demand is unknown, the directive states the factor and no rate.
    """
    if factor >= 1.0:
        return request_full(workload, reason)
    demand = demand_hz(workload)
    rate = None if demand is None else max(factor * demand, min_rate_hz(workload, settings))
    return DirectiveRequest(
        workload.node,
        level_of_factor(factor, settings),
        factor,
        DirectiveLimits(max_rate_hz=rate),
        reason,
    )


def level_of_factor(factor: float, settings: GovernorSettings) -> DirectiveLevel:
    """Return the level of a share of full speed."""
    if factor >= 1.0:
        return DirectiveLevel.FULL
    return DirectiveLevel.REDUCED if factor > settings.minimum_factor else DirectiveLevel.MINIMUM


def limit_to_operating_point(
    workload: Workload, index: int, limits: DirectiveLimits
) -> DirectiveLimits:
    """Add to ``limits`` what makes a node serve with one of its operating points."""
    operating_point = workload.operating_points[index]
    models = {each.model for each in workload.operating_points}
    return DirectiveLimits(
        max_rate_hz=limits.max_rate_hz,
        max_batch=limits.max_batch,
        precision_ceiling=operating_point.precision,
        model=operating_point.model if len(models) > 1 else "",
    )


def valid_number(value: float | None) -> float | None:
    """Return a measured value that is finite and in range, None for anything else."""
    is_valid = value is not None and math.isfinite(value) and 0.0 <= value <= _MAX_VALUE
    return value if is_valid else None


def demand_hz(workload: Workload) -> float | None:
    """Return the rate of images that a node is offered; None while it is unknown."""
    demand = valid_number(workload.demand_hz)
    return 0.0 if demand is not None and demand < _MIN_DEMAND_HZ else demand


def min_rate_hz(workload: Workload, settings: GovernorSettings) -> float:
    """Return the minimum rate of a node, at most the demand."""
    declared = valid_number(workload.minimum_rate_hz)
    if declared is None or declared < _MIN_DEMAND_HZ:
        declared = settings.safe_rate_hz
    demand = demand_hz(workload)
    return declared if not demand else min(declared, demand)


def cheapest_operating_point(workload: Workload, settings: GovernorSettings) -> int | None:
    """Return the index of the operating point with the shortest inference; None without any."""
    seconds = inference_seconds(workload.operating_points, settings)
    return next(reversed(pareto_points(seconds)), None)


def pareto_points(costs: Sequence[float]) -> list[int]:
    """Return the indices of the operating points that cost clearly less than every one before.

    Operating points are sorted by accuracy. Any other point has a lower accuracy and saves
    neither time nor heat. The result contains the first point; its last element is the cheapest.
    """
    indices: list[int] = []
    for index, cost in enumerate(costs):
        if not indices or cost <= FASTER * costs[indices[-1]]:
            indices.append(index)
    return indices


def inference_seconds(
    operating_points: Sequence[OperatingPoint], settings: GovernorSettings
) -> list[float]:
    """Return the duration of one inference with each operating point.

    An unmeasured duration is estimated by the ratio of the precisions, from a measured operating
    point of the same model, else of any model. Without any measurement the result contains only
    ratios: the most expensive precision takes one second.
    """
    return [
        _estimate_seconds(operating_point, operating_points, settings)
        for operating_point in operating_points
    ]


def _estimate_seconds(
    operating_point: OperatingPoint,
    operating_points: Sequence[OperatingPoint],
    settings: GovernorSettings,
) -> float:
    ratio = _cost_ratio(operating_point.precision, settings)
    own = valid_number(operating_point.process_ms)
    if own:
        return own / 1e3
    measured = [other for other in operating_points if valid_number(other.process_ms)]
    same_model = [other for other in measured if other.model == operating_point.model]
    for other in same_model or measured:
        other_s = (valid_number(other.process_ms) or 0.0) / 1e3
        return other_s * ratio / _cost_ratio(other.precision, settings)
    return ratio


def _cost_ratio(precision: str, settings: GovernorSettings) -> float:
    return {"fp16": settings.fp16_cost, "int8": settings.int8_cost}.get(precision, 1.0)


def _is_same(last: Directive, request: DirectiveRequest) -> bool:
    rate = request.limits.max_rate_hz
    return (
        last.level is request.level
        and replace(last.limits, max_rate_hz=rate) == request.limits
        and _is_close(last.limits.max_rate_hz, rate, request.tolerance)
        and _is_close(last.throttle_factor, request.factor, request.tolerance)
    )


def _is_close(one: float | None, other: float | None, tolerance: float) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= tolerance * max(abs(one), abs(other))
