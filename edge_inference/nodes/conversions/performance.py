"""Converts directives of the platform manager and workloads of inference nodes."""

from __future__ import annotations

import math

from edge_inference.composition.adapter import Adapter
from edge_inference.composition.message_bounds import MessageBounds
from edge_inference.core.directives import directive as core
from edge_inference.core.models.variants import PRECISIONS
from edge_inference.core.text_line import one_line
from edge_inference.errors import InputError
from edge_inference.msg import OperatingPoint, PerformanceDirective, Workload
from edge_inference.nodes.conversions.headers import stamp_ns, to_header
from edge_inference.nodes.conversions.numbers import (
    RATE_HZ,
    SHARE,
    TIME_MS,
    from_optional,
    to_limit,
    to_number,
    to_optional,
)

#: Maximum per node: the governor compares each operating point with every other one.
_MAX_OPERATING_POINTS = 64


class DirectiveAdapter(Adapter[core.Directive]):
    """Directive as ``edge_inference/PerformanceDirective``."""

    message_type = PerformanceDirective

    def to_message(self, item: core.Directive) -> PerformanceDirective:
        """Build the message."""
        return PerformanceDirective(
            header=to_header(item.stamp_ns, item.frame_id),
            id=item.id,
            manager=item.manager,
            node=item.node,
            level=int(item.level),
            throttle_factor=item.throttle_factor,
            max_rate_hz=from_optional(item.limits.max_rate_hz, math.inf),
            max_batch=item.limits.max_batch or 0,
            precision_ceiling=item.limits.precision_ceiling,
            model=item.limits.model,
            reason=one_line(item.reason),
        )

    def from_message(self, message: PerformanceDirective) -> core.Directive:
        """Build the object; an invalid message becomes FAILSAFE, and its ``problem`` says why.

        It is not refused as other messages are: the addressed node may have to do less.
        """
        level, factor = core.DirectiveLevel.FAILSAFE, 0.0
        limits, problem = core.DirectiveLimits(), ""
        try:
            level, factor, limits = _level_and_limits(message)
        except InputError as error:
            problem = str(error)
        return core.Directive(
            id=message.id,
            manager=message.manager,
            node=message.node,
            level=level,
            throttle_factor=factor,
            limits=limits,
            reason=message.reason,
            stamp_ns=stamp_ns(message.header),
            frame_id=message.header.frame_id,
            problem=problem,
        )


class WorkloadAdapter(Adapter[core.Workload]):
    """Workload as ``edge_inference/Workload``."""

    message_type = Workload
    bounds = MessageBounds(counts={"operating_points": _MAX_OPERATING_POINTS})

    def to_message(self, item: core.Workload) -> Workload:
        """Build the message."""
        return Workload(
            header=to_header(item.stamp_ns, item.frame_id),
            node=item.node,
            priority=item.priority,
            safety_critical=item.safety_critical,
            demand_hz=from_optional(item.demand_hz),
            rate_hz=from_optional(item.rate_hz),
            minimum_rate_hz=item.minimum_rate_hz,
            batch=item.batch,
            operating_points=[
                OperatingPoint(
                    model=operating_point.model,
                    precision=operating_point.precision,
                    accuracy=from_optional(operating_point.accuracy),
                    process_ms=from_optional(operating_point.process_ms),
                )
                for operating_point in item.operating_points
            ],
            operating_point=[] if item.operating_point is None else [item.operating_point],
            directive_id=item.directive_id,
            manager=item.manager,
            limits_source=item.limits_source,
            max_rate_hz=from_optional(item.limits.max_rate_hz, math.inf),
            max_batch=item.limits.max_batch or 0,
            precision_ceiling=item.limits.precision_ceiling,
            model=item.limits.model,
            problem=one_line(item.problem),
        )

    def from_message(self, message: Workload) -> core.Workload:
        """Build the object; raise InputError for an invalid message."""
        subject = f"workload of {message.node or 'an unnamed node'}"
        operating_point = next(iter(message.operating_point), None)
        if operating_point is not None and operating_point >= len(message.operating_points):
            raise InputError(
                f"{subject}: operating_point: expected an index below "
                f"{len(message.operating_points)}, got {operating_point}"
            )
        return core.Workload(
            node=message.node,
            priority=message.priority,
            safety_critical=message.safety_critical,
            demand_hz=to_optional(message.demand_hz, RATE_HZ, f"{subject}: demand_hz"),
            rate_hz=to_optional(message.rate_hz, RATE_HZ, f"{subject}: rate_hz"),
            minimum_rate_hz=to_number(
                message.minimum_rate_hz, RATE_HZ, f"{subject}: minimum_rate_hz"
            ),
            batch=message.batch,
            operating_points=tuple(
                core.OperatingPoint(
                    each.model,
                    each.precision,
                    to_optional(each.accuracy, SHARE, f"{subject}: accuracy"),
                    to_optional(each.process_ms, TIME_MS, f"{subject}: process_ms"),
                )
                for each in message.operating_points
            ),
            operating_point=None if operating_point is None else int(operating_point),
            directive_id=message.directive_id,
            manager=message.manager,
            limits=_limits(message, subject),
            limits_source=message.limits_source,
            problem=message.problem,
            stamp_ns=stamp_ns(message.header),
            frame_id=message.header.frame_id,
        )


def _level_and_limits(
    message: PerformanceDirective,
) -> tuple[core.DirectiveLevel, float, core.DirectiveLimits]:
    subject = f"directive {message.id} of {message.manager or 'an unnamed manager'}"
    levels = [int(level) for level in core.DirectiveLevel]
    if message.level not in levels:
        raise InputError(f"{subject}: expected a level of {levels}, got {message.level}")
    factor = to_number(message.throttle_factor, SHARE, f"{subject}: throttle_factor")
    return core.DirectiveLevel(message.level), factor, _limits(message, subject)


def _limits(message: PerformanceDirective | Workload, subject: str) -> core.DirectiveLimits:
    rate = to_limit(message.max_rate_hz, RATE_HZ, f"{subject}: max_rate_hz")
    ceiling = message.precision_ceiling
    if ceiling and ceiling not in PRECISIONS:
        raise InputError(
            f"{subject}: precision_ceiling: expected {', '.join(PRECISIONS)} or an empty text, "
            f"got {ceiling!r}"
        )
    return core.DirectiveLimits(rate, message.max_batch or None, ceiling, message.model)
