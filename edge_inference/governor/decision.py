"""What the governor decides at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from edge_inference.core.directives.directive import Directive, DirectiveLevel

#: How bad it is, from good to bad; an operator looks at "warn" and acts on "error".
Severity = Literal["ok", "warn", "error"]
SEVERITIES = get_args(Severity)


@dataclass(frozen=True)
class GovernorDecision:
    """``directives`` has one for every node known by name, and a general one (``node`` empty).

    ``manager`` and ``stamp_ns`` of a directive are for the sender to fill in. ``reason`` is a
    sentence. ``headroom`` is the forecast share of the thermal limit that is used, 1 at the
    limit; None without a temperature. ``throttling`` says in words what slows the machine down.
    ``clock_cap`` is the share of the highest clock that would do, None for no wish.
    ``facts`` are for diagnostics: names and values in words.
    """

    directives: tuple[Directive, ...]
    severity: Severity
    reason: str
    headroom: float | None = None
    throttling: tuple[str, ...] = ()
    clock_cap: float | None = None
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def level(self) -> DirectiveLevel:
        """The worst level asked of any node."""
        return max((directive.level for directive in self.directives), default=DirectiveLevel.FULL)
