"""Turns what each node is to do into directives whose ids rise only with a change."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edge_inference.core.directive import Directive, Level, Limits

#: A rate or factor that differs by less than this share is asked for as it was.
_NO_CHANGE = 0.02
FREE = Limits()


@dataclass(frozen=True)
class Order:
    """What is to be asked of one node; ``node`` is empty for all that have no order by name."""

    node: str
    level: Level
    factor: float
    limits: Limits = FREE
    reason: str = ""


class Orders:
    """Remembers what was asked of whom."""

    def __init__(self) -> None:
        """Start with nothing asked."""
        self._asked: dict[str, Directive] = {}
        self._last_id = 0

    def directives(self, orders: list[Order]) -> tuple[Directive, ...]:
        """Return the directives for some orders; nodes without an order are forgotten."""
        given = {order.node: self._directive(order) for order in orders}
        self._asked = given
        return tuple(given.values())

    def asked(self, node: str) -> Directive | None:
        """Return the directive that a node has."""
        return self._asked.get(node)

    def _directive(self, order: Order) -> Directive:
        before = self._asked.get(order.node)
        if before is not None and _is_same(before, order):
            return replace(before, reason=order.reason)
        self._last_id += 1
        return Directive(
            self._last_id, "", order.node, order.level, order.factor, order.limits, order.reason
        )


def _is_same(asked: Directive, order: Order) -> bool:
    rate = order.limits.max_rate_hz
    return (
        asked.level is order.level
        and replace(asked.limits, max_rate_hz=rate) == order.limits
        and _is_close(asked.limits.max_rate_hz, rate)
        and _is_close(asked.throttle_factor, order.factor)
    )


def _is_close(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= _NO_CHANGE * max(abs(one), abs(other))
