"""Health, and judged targets, as ``diagnostic_msgs/DiagnosticStatus``."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from edge_inference.core.runtime.health import HealthLevel, HealthStatus
from edge_inference.core.text_line import one_line
from edge_inference.observe.targets.target_report import describe
from edge_inference.observe.targets.verdict import Judgment, Verdict

_LEVELS = {
    HealthLevel.OK: DiagnosticStatus.OK,
    HealthLevel.WARN: DiagnosticStatus.WARN,
    HealthLevel.ERROR: DiagnosticStatus.ERROR,
}


def to_diagnostic_status(status: HealthStatus, name: str, hardware_id: str) -> DiagnosticStatus:
    """Build the message; ``name`` is the node's full name."""
    return DiagnosticStatus(
        level=_LEVELS[status.level],
        name=name,
        message=status.message,
        hardware_id=hardware_id,
        values=[KeyValue(key=key, value=value) for key, value in status.values.items()],
    )


_VERDICTS = {
    Verdict.PASS: DiagnosticStatus.OK,
    Verdict.FAIL: DiagnosticStatus.ERROR,
    Verdict.INCONCLUSIVE: DiagnosticStatus.WARN,
    Verdict.NOT_MEASURED: DiagnosticStatus.STALE,
}


def judgment_to_status(judgment: Judgment, name: str, hardware_id: str) -> DiagnosticStatus:
    """Build the message of a target; ``name`` is the node's full name.

    A failed target that is not required is a warning.
    """
    level = _VERDICTS[judgment.verdict]
    if judgment.verdict is Verdict.FAIL and not judgment.target.required:
        level = DiagnosticStatus.WARN
    interval = judgment.interval
    figures: dict[str, float | None] = {"bound": judgment.target.bound, "margin": judgment.margin}
    if interval is not None:
        figures |= {"value": interval.value, "low": interval.low, "high": interval.high}
        figures["samples"] = interval.samples
    values = {key: f"{figure:.6g}" for key, figure in figures.items() if figure is not None}
    values |= {"required": str(judgment.target.required).lower()}
    return DiagnosticStatus(
        level=level,
        name=f"{name}: {judgment.scenario}: {judgment.target.label}",
        message=one_line(describe(judgment)),
        hardware_id=hardware_id,
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )
