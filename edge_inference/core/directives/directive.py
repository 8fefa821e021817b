"""Directives of the platform manager to inference nodes, and the workloads that nodes report."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from edge_inference.core.models.variants import PRECISIONS


class DirectiveLevel(enum.IntEnum):
    """How much a node is reduced; the values are those of ``msg/PerformanceDirective``."""

    FULL = 0
    REDUCED = 1
    #: The minimum that the node has declared.
    MINIMUM = 2
    #: The platform cannot be sensed, or its limits cannot be kept.
    FAILSAFE = 3


@dataclass(frozen=True)
class DirectiveLimits:
    """Upper limits for a node. None and an empty text mean no limit.

    ``precision_ceiling`` is the most expensive precision allowed (fp32 before fp16 before int8).
    ``model`` is the model to run instead of the node's own.
    """

    max_rate_hz: float | None = None
    max_batch: int | None = None
    precision_ceiling: str = ""
    model: str = ""

    @property
    def is_free(self) -> bool:
        """Tell whether nothing is limited."""
        return self == DirectiveLimits()


@dataclass(frozen=True)
class Directive:
    """A directive as in ``msg/PerformanceDirective``.

    ``node`` is the full name of the addressed node; an empty name addresses every node without a
    directive by name. ``id`` starts at 1 and rises with every change; an unchanged directive is
    repeated with the same id. ``manager`` names the manager that sent it. ``problem`` says which
    part of the message is invalid; the addressed node then goes to its safe level.
    """

    id: int
    manager: str
    node: str
    level: DirectiveLevel
    throttle_factor: float
    limits: DirectiveLimits
    reason: str
    stamp_ns: int = 0
    frame_id: str = ""
    problem: str = ""

    @property
    def is_release(self) -> bool:
        """Tell whether the manager leaves and all its directives end: id 0 and no limit."""
        return (
            not self.id
            and self.level is DirectiveLevel.FULL
            and self.limits.is_free
            and not self.problem
        )


@dataclass(frozen=True)
class OperatingPoint:
    """A model and precision that a node can serve with.

    ``accuracy`` is a share from 0 to 1. ``process_ms`` is the duration of one inference, measured
    on this machine. Both are None where they are unknown.
    """

    model: str
    precision: str
    accuracy: float | None = None
    process_ms: float | None = None


@dataclass(frozen=True)
class Workload:
    """What an inference node does and can do; it also acknowledges a directive.

    ``demand_hz`` is the rate of offered images, including those dropped for the commanded rate.
    ``rate_hz`` is the rate of inferences. Both are measured over the last seconds and None before
    the first measurement. ``batch`` is the number of images per input.

    ``operating_points`` are sorted by accuracy, the most accurate first. ``operating_point`` is
    the index of the one in use, None while none of them is in use.

    ``directive_id`` and ``manager`` name the directive that the node follows, 0 and empty for
    none. ``limits`` apply now; ``limits_source`` says where they come from. ``problem`` says why
    the node does not meet its directive.
    """

    node: str
    priority: int
    safety_critical: bool
    demand_hz: float | None
    rate_hz: float | None
    minimum_rate_hz: float
    batch: int
    operating_points: tuple[OperatingPoint, ...]
    operating_point: int | None
    directive_id: int
    manager: str
    limits: DirectiveLimits
    limits_source: str
    problem: str = ""
    stamp_ns: int = 0
    frame_id: str = ""


def make_release_directive(manager: str, stamp_ns: int) -> Directive:
    """Return the directive with which a manager that leaves ends all its directives."""
    reason = "the manager has left"
    return Directive(0, manager, "", DirectiveLevel.FULL, 1.0, DirectiveLimits(), reason, stamp_ns)


def precision_rank(precision: str) -> int:
    """Rank a precision by cost: int8 0, fp16 1, fp32 2. Mixed and unknown ones count as fp32."""
    order = PRECISIONS[::-1]
    return order.index(precision) if precision in order else len(order) - 1


def is_within_ceiling(precision: str, ceiling: str) -> bool:
    """Tell whether a precision is no more expensive than the ceiling.

    An empty ceiling allows every precision. An unknown ceiling allows only the cheapest one.
    """
    if not ceiling:
        return True
    highest = precision_rank(ceiling) if ceiling in PRECISIONS else 0
    return precision_rank(precision) <= highest
