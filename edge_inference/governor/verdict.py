"""How bad things are, in one word and one sentence."""

from __future__ import annotations

from edge_inference.governor.decision import Severity
from edge_inference.governor.failsafe import SensorView
from edge_inference.governor.state import GovernorPlan, GovernorState

#: A limit that cannot be kept is an error after this long, not at the first noisy sample.
_HEAT_S = 5.0
_WATTS_S = 10.0
#: This near below the limit counts as at the limit.
_AT_LIMIT_C = 0.5


class Assessment:
    """Remembers since when limits are not kept."""

    def __init__(self) -> None:
        """Start with all well."""
        self._hot_since_s: float | None = None
        self._short_since_s: float | None = None

    def of(
        self,
        plan: GovernorPlan,
        situation: GovernorState,
        view: SensorView,
        throttling: tuple[str, ...],
    ) -> tuple[Severity, str]:
        """Return the severity, and the reason with everything that is wrong."""
        errors = self._errors(plan, situation)
        warnings = [f"the machine slows itself down: {each}" for each in throttling]
        warnings += [view.problem] if view.problem else []
        warnings += situation.watts.problems
        warnings += _disobedient(situation)
        if plan.exhausted and not errors and situation.flexible:
            warnings.append("nothing is left that could be reduced")
        severity: Severity = "error" if errors else "warn" if warnings else "ok"
        return severity, "; ".join([*errors, *warnings, plan.reason])

    def _errors(self, plan: GovernorPlan, situation: GovernorState) -> list[str]:
        too_hot = [
            f"{each.heat.name} at {each.now_c:.1f} °C"
            for each in situation.outlooks
            if each.now_c >= each.heat.bounds.max_c - _AT_LIMIT_C
        ]
        now_s = situation.time_s
        is_hot = plan.exhausted and bool(too_hot)
        self._hot_since_s = _since(self._hot_since_s, now_s, holds=is_hot)
        self._short_since_s = _since(self._short_since_s, now_s, holds=plan.short_w)
        errors = []
        if self._hot_since_s is not None and now_s - self._hot_since_s >= _HEAT_S:
            errors.append(
                f"too hot with nothing left to reduce ({', '.join(too_hot)}): what the "
                "safety-critical models and the machine itself take is too much"
            )
        if self._short_since_s is not None and now_s - self._short_since_s >= _WATTS_S:
            errors.append(
                f"{situation.watts.reason} cannot be kept: what the safety-critical models and "
                "the machine itself take is more"
            )
        return errors


def _since(since_s: float | None, now_s: float, *, holds: bool) -> float | None:
    if not holds:
        return None
    return now_s if since_s is None else min(since_s, now_s)


def _disobedient(situation: GovernorState) -> list[str]:
    problems = {each.node: each.problem for each in situation.workloads}
    return [
        f"{node} does not do what it is asked{f': {problems[node]}' if problems[node] else ''}"
        for node in situation.escalations
    ]
