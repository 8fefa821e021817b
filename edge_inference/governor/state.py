"""The inputs of a preset, its plan, and the decision that the governor makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from edge_inference.core.directives.directive import Directive, DirectiveLevel, Workload
from edge_inference.governor.directive_builder import DirectiveRequest
from edge_inference.governor.failsafe import SensorView
from edge_inference.governor.power_budget import PowerBudget
from edge_inference.governor.settings import GovernorSettings
from edge_inference.governor.temperature_forecast import TemperatureForecast

#: An operator looks at "warn" and acts on "error".
Severity = Literal["ok", "warn", "error"]
SEVERITIES = get_args(Severity)

#: An exceeded limit becomes an error after this long, not at the first noisy sample.
_HOT_ERROR_S = 5.0
_POWER_ERROR_S = 10.0
#: A temperature this near below the limit counts as at the limit.
_AT_LIMIT_C = 0.5


@dataclass(frozen=True)
class GovernorState:
    """The inputs of one decision. ``throttle_factor`` follows the machine's own throttling.

    ``escalations`` names the nodes that do not follow their directive: at 1 they are asked for
    the next cheaper engine, at 2 for the minimum.
    """

    settings: GovernorSettings
    time_s: float
    elapsed_s: float
    forecasts: Sequence[TemperatureForecast]
    throttle_factor: float
    power: PowerBudget
    workloads: Sequence[Workload]
    escalations: Mapping[str, int] = field(default_factory=dict)

    @property
    def flexible(self) -> list[Workload]:
        """The nodes that the governor may reduce."""
        return [each for each in self.workloads if not each.safety_critical]

    @property
    def operating_points(self) -> dict[str, int | None]:
        """The operating point that each node serves with."""
        return {each.node: each.operating_point for each in self.workloads}


@dataclass(frozen=True)
class GovernorPlan:
    """Requests for the flexible nodes; ``default_factor`` is the share of full speed for others.

    ``exhausted`` means that nothing is left to reduce. ``exceeds_power`` means that a limit in
    watts cannot be kept even so. ``expected_w`` is the power of inference that the requests
    allow, None if unknown. ``clock_cap`` is the share of the highest clock that suffices, None for
    no cap. ``diagnostics`` are names and values as text.
    """

    requests: list[DirectiveRequest]
    default_factor: float
    reason: str
    exhausted: bool
    exceeds_power: bool = False
    expected_w: float | None = None
    clock_cap: float | None = None
    diagnostics: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class GovernorDecision:
    """``directives`` has one for each known node, and a general one (``node`` empty).

    The sender sets ``manager`` and ``stamp_ns`` of a directive. ``reason`` is a sentence.
    ``headroom`` is the forecast share of the thermal limit that is used, 1 at the limit; None
    without a temperature. ``throttling`` describes what throttles the machine. ``clock_cap`` is
    the share of the highest clock that suffices, None for no cap. ``diagnostics`` are names and
    values as text.
    """

    directives: tuple[Directive, ...]
    severity: Severity
    reason: str
    headroom: float | None = None
    throttling: tuple[str, ...] = ()
    clock_cap: float | None = None
    diagnostics: Mapping[str, str] = field(default_factory=dict)

    @property
    def level(self) -> DirectiveLevel:
        """The most severe level of all directives."""
        return max((directive.level for directive in self.directives), default=DirectiveLevel.FULL)


class Assessment:
    """Determines the severity of a plan; remembers since when a limit is exceeded."""

    def __init__(self) -> None:
        """Start without an exceeded limit."""
        self._hot_since_s: float | None = None
        self._power_since_s: float | None = None

    def assess(
        self,
        plan: GovernorPlan,
        state: GovernorState,
        view: SensorView,
        throttling: tuple[str, ...],
    ) -> tuple[Severity, str]:
        """Return the severity, and all problems followed by the reason of the plan."""
        errors = self._find_errors(plan, state)
        warnings = [f"the machine throttles: {each}" for each in throttling]
        warnings += [view.problem] if view.problem else []
        warnings += state.power.problems
        warnings += _describe_escalations(state)
        if plan.exhausted and not errors and state.flexible:
            warnings.append("nothing is left to reduce")
        severity: Severity = "error" if errors else "warn" if warnings else "ok"
        return severity, "; ".join([*errors, *warnings, plan.reason])

    def _find_errors(self, plan: GovernorPlan, state: GovernorState) -> list[str]:
        too_hot = [
            f"{each.zone.name} at {each.current_c:.1f} °C"
            for each in state.forecasts
            if each.current_c >= each.zone.bounds.max_c - _AT_LIMIT_C
        ]
        now_s = state.time_s
        is_hot = plan.exhausted and bool(too_hot)
        self._hot_since_s = _update_since(self._hot_since_s, now_s, holds=is_hot)
        self._power_since_s = _update_since(self._power_since_s, now_s, holds=plan.exceeds_power)
        errors = []
        if self._hot_since_s is not None and now_s - self._hot_since_s >= _HOT_ERROR_S:
            errors.append(
                f"too hot with nothing left to reduce ({', '.join(too_hot)}): the "
                "safety-critical models and the machine itself take too much power"
            )
        if self._power_since_s is not None and now_s - self._power_since_s >= _POWER_ERROR_S:
            errors.append(
                f"{state.power.reason} cannot be kept: the safety-critical models and "
                "the machine itself take more"
            )
        return errors


def _update_since(since_s: float | None, now_s: float, *, holds: bool) -> float | None:
    if not holds:
        return None
    return now_s if since_s is None else min(since_s, now_s)


def _describe_escalations(state: GovernorState) -> list[str]:
    problems = {each.node: each.problem for each in state.workloads}
    return [
        f"{node} does not follow its directive{f': {problems[node]}' if problems[node] else ''}"
        for node in state.escalations
    ]
