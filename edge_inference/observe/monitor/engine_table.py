"""What each node runs, and within which limits: joined from three topics."""

from __future__ import annotations

import dataclasses

from edge_inference.core.directives.directive import Directive, DirectiveLevel, Workload
from edge_inference.core.inference_state import InferenceState
from edge_inference.core.runtime.expiring_map import ExpiringMap
from edge_inference.core.text_line import one_line
from edge_inference.observe.monitor.decision_log import DecisionLog
from edge_inference.observe.monitor.snapshot import EngineRow

_MAX_NODES = 256
_SHOWN_NS = 10_000_000_000
_MAX_NAME, _MAX_SENTENCE = 200, 500


class EngineTable:
    """Keeps the newest state, workload and directive of each node for 10 s. Not thread-safe.

    Changes are written to ``decisions``. Times are nanoseconds of one monotonic clock.
    """

    def __init__(self, decisions: DecisionLog) -> None:
        self._decisions = decisions
        self._states: ExpiringMap[InferenceState] = ExpiringMap(_MAX_NODES, _SHOWN_NS)
        self._workloads: ExpiringMap[Workload] = ExpiringMap(_MAX_NODES, _SHOWN_NS)
        self._directives: ExpiringMap[Directive] = ExpiringMap(_MAX_NODES, _SHOWN_NS)

    def add_state(self, state: InferenceState, now_ns: int) -> None:
        """Add what a node runs."""
        self._states.put(state.node, state, now_ns)
        directive = self._find_directive(state.node, now_ns)
        reason = ""
        if directive is not None and directive.level is not DirectiveLevel.FULL:
            reason = directive.reason
        self._decisions.add_state(state, reason, now_ns)

    def add_workload(self, workload: Workload, now_ns: int) -> None:
        """Add what a node does, and the limits that it keeps."""
        self._workloads.put(workload.node, workload, now_ns)
        self._decisions.add_limits_source(
            workload.node, workload.limits_source, workload.problem, now_ns
        )

    def add_directive(self, directive: Directive, now_ns: int) -> None:
        """Add what the platform manager asks of a node; a release ends all that it has asked."""
        nodes = [directive.node]
        if directive.is_release:
            known = self._directives.current(now_ns)
            nodes = [node for node, each in known.items() if each.manager == directive.manager]
        for node in nodes:
            addressed = dataclasses.replace(directive, node=node)
            self._directives.put(node, addressed, now_ns)
            self._decisions.add_directive(addressed, now_ns)

    def rows(self, now_ns: int) -> tuple[EngineRow, ...]:
        """Return a row for each node that sends a state or a workload."""
        states, workloads = self._states.current(now_ns), self._workloads.current(now_ns)
        return tuple(
            _make_row(
                node, states.get(node), workloads.get(node), self._find_directive(node, now_ns)
            )
            for node in sorted({*states, *workloads})
        )

    def _find_directive(self, node: str, now_ns: int) -> Directive | None:
        directives = self._directives.current(now_ns)
        return directives.get(node) or directives.get("")


def _make_row(
    node: str,
    state: InferenceState | None,
    workload: Workload | None,
    directive: Directive | None,
) -> EngineRow:
    row = EngineRow(one_line(node, _MAX_NAME), "", "", "", "", "", None, "")
    if directive is not None:
        reason = one_line(directive.problem or directive.reason, _MAX_SENTENCE)
        row = dataclasses.replace(row, level=directive.level.name.lower(), reason=reason)
    if workload is not None:
        row = _with_workload(row, workload)
    if state is None:
        return row
    max_rate_hz = state.max_rate_hz if workload is None else row.max_rate_hz
    return dataclasses.replace(
        row,
        model=one_line(state.model_name, _MAX_NAME),
        backend=one_line(state.backend, _MAX_NAME),
        precision=one_line(state.precision, _MAX_NAME),
        engine=one_line(state.engine, _MAX_SENTENCE),
        preparing=one_line(state.preparing, _MAX_SENTENCE),
        progress=state.progress,
        problem=_join(state.problem, row.problem),
        max_rate_hz=max_rate_hz,
    )


def _with_workload(row: EngineRow, workload: Workload) -> EngineRow:
    """Return a row with what a node reports of its limits, which is what applies."""
    index = workload.operating_point
    point = None if index is None else workload.operating_points[index]
    if workload.limits_source == "safe_level":  # the manager is lost: no directive is in force
        reason = one_line(f"the node's safe level: {workload.problem}", _MAX_SENTENCE)
        row = dataclasses.replace(row, level="", reason=reason)
    return dataclasses.replace(
        row,
        model="" if point is None else one_line(point.model, _MAX_NAME),
        precision="" if point is None else one_line(point.precision, _MAX_NAME),
        problem=_join(workload.problem),
        batch=workload.batch,
        rate_hz=workload.rate_hz,
        demand_hz=workload.demand_hz,
        max_rate_hz=workload.limits.max_rate_hz,
        precision_ceiling=one_line(workload.limits.precision_ceiling, _MAX_NAME),
    )


def _join(*problems: str) -> str:
    """Join sentences, each once."""
    return one_line("; ".join(dict.fromkeys(filter(None, problems))), _MAX_SENTENCE)
