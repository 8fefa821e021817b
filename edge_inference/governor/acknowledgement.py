"""Checks that nodes follow their directives, and escalates where they do not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from edge_inference.core.directives.directive import Directive, DirectiveLevel, Workload
from edge_inference.governor.directive_builder import valid_number

#: Escalation 1 asks for the next cheaper engine, 2 for the minimum.
_MAX_ESCALATION = 2
#: A node above its limit by more than this does not comply, whatever it acknowledges.
_RATE_TOLERANCE = 1.25
_RATE_TOLERANCE_HZ = 1.0


@dataclass
class _Compliance:
    escalation: int = 0
    #: Since when the node does not comply, and the directive that it acknowledged then.
    late_since_s: float | None = None
    acknowledged_id: int = 0
    compliant_since_s: float | None = None


class Acknowledgements:
    """Remembers for each node since when it does not follow its directive."""

    def __init__(self, manager: str = "") -> None:
        """Start without escalations. With a ``manager``, a node must acknowledge this manager."""
        self._manager = manager
        self._compliance: dict[str, _Compliance] = {}

    def update(
        self,
        workloads: Iterable[Workload],
        directives: Mapping[str, Directive],
        time_s: float,
        *,
        timeout_s: float,
        recovery_s: float,
    ) -> dict[str, int]:
        """Return the nodes that do not follow their directive, with their escalation: 1, then 2.

        The escalation of a node ends after it has complied for ``recovery_s``.
        """
        compliance = {}
        for workload in workloads:
            directive = directives.get(workload.node)
            if directive is None or workload.safety_critical:
                continue
            known = compliance[workload.node] = self._compliance.get(workload.node, _Compliance())
            if directive.level is DirectiveLevel.FULL:
                compliance[workload.node] = _Compliance()
            elif not self._is_acknowledged(workload, directive):
                _record_violation(known, workload, time_s, timeout_s)
            elif not _is_rate_kept(workload, directive):
                # The rate is a mean of the last seconds: part of it may precede the directive.
                _record_violation(known, workload, time_s, 2.0 * timeout_s)
            else:
                _record_compliance(known, time_s, recovery_s)
        self._compliance = compliance
        return {node: each.escalation for node, each in compliance.items() if each.escalation}

    def escalate(self, nodes: Iterable[str]) -> None:
        """Escalate nodes whose acknowledged directives have no effect."""
        for node in nodes:
            if node in self._compliance:
                known = self._compliance[node]
                known.escalation = min(_MAX_ESCALATION, known.escalation + 1)
                known.compliant_since_s = None

    def _is_acknowledged(self, workload: Workload, directive: Directive) -> bool:
        if workload.directive_id != directive.id:
            return False
        return not self._manager or workload.manager == self._manager


def _is_rate_kept(workload: Workload, directive: Directive) -> bool:
    rate, limit = valid_number(workload.rate_hz), directive.limits.max_rate_hz
    return rate is None or limit is None or rate <= _RATE_TOLERANCE * limit + _RATE_TOLERANCE_HZ


def _record_compliance(known: _Compliance, time_s: float, recovery_s: float) -> None:
    known.late_since_s = None
    if known.compliant_since_s is None or time_s < known.compliant_since_s:
        known.compliant_since_s = time_s
    if time_s - known.compliant_since_s >= recovery_s:
        known.escalation = 0


def _record_violation(
    known: _Compliance, workload: Workload, time_s: float, timeout_s: float
) -> None:
    """Escalate after ``timeout_s``; a newly acknowledged directive restarts the timeout."""
    known.compliant_since_s = None
    has_progressed = workload.directive_id != known.acknowledged_id
    known.acknowledged_id = workload.directive_id
    if known.late_since_s is None or has_progressed or time_s < known.late_since_s:
        known.late_since_s = time_s
    elif time_s - known.late_since_s >= timeout_s:
        known.escalation = min(_MAX_ESCALATION, known.escalation + 1)
        known.late_since_s = time_s
