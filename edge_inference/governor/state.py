"""Everything that a preset decides by, and what it decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edge_inference.core.directives.directive import Workload
from edge_inference.governor.failsafe import ZoneTemperature
from edge_inference.governor.orders import DirectiveRequest
from edge_inference.governor.power_budget import PowerBudget
from edge_inference.governor.settings import GovernorSettings


@dataclass(frozen=True)
class TemperatureForecast:
    """One temperature: as read, of the last moments, smoothed, and where it is going."""

    heat: ZoneTemperature
    recent_c: float
    now_c: float
    ahead_c: float


@dataclass(frozen=True)
class GovernorState:
    """One moment. ``left`` is the share that the machine's own throttling leaves.

    ``escalations`` tells of nodes that do not do what they are asked: 1 takes the next cheaper
    engine, 2 the least.
    """

    settings: GovernorSettings
    time_s: float
    elapsed_s: float
    outlooks: Sequence[TemperatureForecast]
    left: float
    watts: PowerBudget
    workloads: Sequence[Workload]
    escalations: Mapping[str, int] = field(default_factory=dict)

    @property
    def flexible(self) -> list[Workload]:
        """The nodes that may be asked to do less."""
        return [each for each in self.workloads if not each.safety_critical]

    @property
    def in_use(self) -> dict[str, int | None]:
        """The operating point that each node serves with."""
        return {each.node: each.operating_point for each in self.workloads}


@dataclass(frozen=True)
class GovernorPlan:
    """Orders for the flexible nodes; ``share`` of full speed for nodes that are not known.

    ``exhausted``: nothing is left that could be reduced. ``short_w``: a limit in watts cannot be
    kept even so. ``ordered_w`` is what the orders ought to cost, None where that is not known.
    ``clock_cap`` is the share of the highest clock that would do, None for no wish.
    """

    orders: list[DirectiveRequest]
    share: float
    reason: str
    exhausted: bool
    short_w: bool = False
    ordered_w: float | None = None
    clock_cap: float | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
