"""Health as ``diagnostic_msgs/DiagnosticStatus``."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from edge_inference.core.runtime.health import HealthLevel, HealthStatus

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
