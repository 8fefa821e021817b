"""What the platform manager asks of inference nodes, and what they tell it of themselves."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from edge_inference.core.models.model import PRECISIONS


class DirectiveLevel(enum.IntEnum):
    """How much is taken away, as in ``msg/PerformanceDirective``."""

    FULL = 0
    REDUCED = 1
    #: The least that the nodes say they can do with.
    MINIMUM = 2
    #: The platform cannot be sensed, or cannot be kept within its limits.
    FAILSAFE = 3


@dataclass(frozen=True)
class DirectiveLimits:
    """The most that a node may do. None, and an empty text, stand for no limit.

    ``precision_ceiling`` is the most expensive precision allowed (fp32 before fp16 before int8);
    ``model`` the model to run instead of the node's own.
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
    """As in ``msg/PerformanceDirective``.

    ``node`` is the full name of the node that is asked; empty asks every node
    that is asked nothing by name. ``id`` rises with every change of what is
    asked, from 1; the same directive is repeated while it holds. ``manager`` tells one
    manager's directives from another's. ``problem`` says what of it nobody here
    understands: who is asked so goes to its safe level.
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
    def is_farewell(self) -> bool:
        """Tell whether the manager leaves, and all that it has asked ends: id 0, and no limit."""
        return (
            not self.id
            and self.level is DirectiveLevel.FULL
            and self.limits.is_free
            and not self.problem
        )


@dataclass(frozen=True)
class OperatingPoint:
    """The model and precision that a node can serve with.

    ``accuracy`` is a share from 0 to 1, ``process_ms`` the time of one
    inference as measured on this machine; None where nobody has measured it.
    """

    model: str
    precision: str
    accuracy: float | None = None
    process_ms: float | None = None


@dataclass(frozen=True)
class Workload:
    """What an inference node does and could do; also its acknowledgement of a directive.

    ``demand_hz`` is the rate of images that are offered to it, those given up for the
    commanded rate included; ``rate_hz`` that of its inferences; both over the last
    seconds, None before there is a measurement. ``batch`` is how many images come at once.
    ``operating_points`` are ordered from the most to the least accurate; ``operating_point`` is
    the index of the one in use, None while it serves with none of them. ``directive_id`` and ``manager``
    name the directive that is in force, 0 and empty for none. ``limits`` are in force now,
    by whatever reason ``obeys`` gives. ``problem`` says why a directive is not met.
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
    obeys: str
    problem: str = ""
    stamp_ns: int = 0
    frame_id: str = ""


def farewell(manager: str, stamp_ns: int) -> Directive:
    """Return what a manager says when it leaves."""
    reason = "the manager has left"
    return Directive(0, manager, "", DirectiveLevel.FULL, 1.0, DirectiveLimits(), reason, stamp_ns)


def cheapest_first(precision: str) -> int:
    """Rank a precision by cost: int8 0, fp16 1, fp32 2. Mixed and others count as fp32."""
    order = PRECISIONS[::-1]
    return order.index(precision) if precision in order else len(order) - 1


def is_within(precision: str, ceiling: str) -> bool:
    """Tell whether a precision is no more expensive than the ceiling.

    An empty ceiling allows all; under one that nobody knows only the cheapest is safe.
    """
    if not ceiling:
        return True
    highest = cheapest_first(ceiling) if ceiling in PRECISIONS else 0
    return cheapest_first(precision) <= highest
