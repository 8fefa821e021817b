"""Health, and judged targets, as ``diagnostic_msgs/DiagnosticStatus``."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from edge_inference.composition.adapter import Adapter
from edge_inference.composition.message_bounds import MAX_SENTENCE_BYTES, MessageBounds
from edge_inference.core.runtime.health import HealthLevel, HealthStatus
from edge_inference.core.text_line import one_line
from edge_inference.errors import InputError
from edge_inference.observe.monitor.node_health import HEALTH_LEVELS, NodeHealth
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


class DiagnosticsAdapter(Adapter[tuple[NodeHealth, ...]]):
    """The statuses of ``diagnostic_msgs/DiagnosticArray``, of any node."""

    message_type = DiagnosticArray
    bounds = MessageBounds(
        size=1 << 20, texts={"message": MAX_SENTENCE_BYTES, "value": MAX_SENTENCE_BYTES}
    )

    def to_message(self, item: tuple[NodeHealth, ...]) -> DiagnosticArray:
        """Build the message."""
        return DiagnosticArray(
            status=[
                DiagnosticStatus(
                    level=bytes([HEALTH_LEVELS.index(health.level)]),
                    name=health.name,
                    message=health.message,
                    values=[KeyValue(key=key, value=text) for key, text in health.values.items()],
                )
                for health in item
            ]
        )

    def from_message(self, message: DiagnosticArray) -> tuple[NodeHealth, ...]:
        """Build the object; raises InputError for an unknown level."""
        return tuple(map(_from_status, message.status))


def _from_status(status: DiagnosticStatus) -> NodeHealth:
    level = status.level[0]  # a byte
    if level >= len(HEALTH_LEVELS):
        raise InputError(
            f"DiagnosticStatus {status.name!r}: level: expected 0 to {len(HEALTH_LEVELS) - 1}, got "
            f"{level}"
        )
    return NodeHealth(
        status.name,
        HEALTH_LEVELS[level],
        status.message,
        {each.key: each.value for each in status.values},
    )
