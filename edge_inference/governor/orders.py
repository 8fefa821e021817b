"""Turns what each node is to do into directives whose ids rise only with a change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from edge_inference.core.directives.directive import Directive, DirectiveLevel, DirectiveLimits

FREE = DirectiveLimits()


@dataclass(frozen=True)
class DirectiveRequest:
    """What is to be asked of one node; ``node`` is empty for all that have no order by name.

    A rate or factor that differs by no more than ``tolerance``, a share, is asked for as it was.
    """

    node: str
    level: DirectiveLevel
    factor: float
    limits: DirectiveLimits = FREE
    reason: str = ""
    tolerance: float = 0.02


class DirectiveBuilder:
    """Remembers what was asked of whom."""

    def __init__(self) -> None:
        """Start with nothing asked."""
        self._asked: dict[str, Directive] = {}
        self._last_id = 0

    def directives(self, orders: list[DirectiveRequest]) -> tuple[Directive, ...]:
        """Return the directives for some orders; nodes without an order are forgotten."""
        given = {order.node: self._directive(order) for order in orders}
        self._asked = given
        return tuple(given.values())

    def repeat(self, but: list[DirectiveRequest]) -> tuple[Directive, ...]:
        """Return what was asked the last time, ``but`` for some nodes what is ordered now."""
        self._asked |= {order.node: self._directive(order) for order in but}
        return tuple(self._asked.values())

    @property
    def asked(self) -> Mapping[str, Directive]:
        """What was asked of whom the last time."""
        return self._asked

    def _directive(self, order: DirectiveRequest) -> Directive:
        before = self._asked.get(order.node)
        if before is not None and _is_same(before, order):
            return before
        self._last_id += 1
        return Directive(
            self._last_id, "", order.node, order.level, order.factor, order.limits, order.reason
        )


def _is_same(asked: Directive, order: DirectiveRequest) -> bool:
    rate = order.limits.max_rate_hz
    return (
        asked.level is order.level
        and replace(asked.limits, max_rate_hz=rate) == order.limits
        and _is_close(asked.limits.max_rate_hz, rate, order.tolerance)
        and _is_close(asked.throttle_factor, order.factor, order.tolerance)
    )


def _is_close(one: float | None, other: float | None, tolerance: float) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= tolerance * max(abs(one), abs(other))
