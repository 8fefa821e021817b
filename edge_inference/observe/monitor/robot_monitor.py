"""From the objects on a robot's topics to a snapshot of everything that is known of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from edge_inference.core.directives.directive import Workload
from edge_inference.core.platform_state import PlatformReport
from edge_inference.core.results import RESULT_KINDS
from edge_inference.core.results.kinds import kind_of
from edge_inference.core.results.result import Result
from edge_inference.core.runtime.expiring_map import ExpiringMap
from edge_inference.core.runtime.latency import LatencyReport, StageLatency
from edge_inference.core.runtime.process_statistics import ProcessStatistics
from edge_inference.core.runtime.worker import format_error
from edge_inference.core.text_line import one_line
from edge_inference.errors import ConfigError
from edge_inference.observe.monitor.decision_log import DecisionLog
from edge_inference.observe.monitor.engine_table import EngineTable
from edge_inference.observe.monitor.node_health import NodeHealth
from edge_inference.observe.monitor.parameter_row import ParameterChange
from edge_inference.observe.monitor.platform_rows import make_report_row
from edge_inference.observe.monitor.snapshot import (
    EndRow,
    HealthRow,
    ProcessRow,
    ResultRow,
    Snapshot,
    StageRow,
    TargetRow,
)
from edge_inference.observe.monitor.voice_state import VoiceState
from edge_inference.observe.targets.verdict import Verdict

_MAX_ROWS = 256
_MAX_REASONS = 64
_MAX_NODES = 64
_MAX_LINES = 20
_MAX_NAME, _MAX_SENTENCE = 200, 500
#: A row that has not been renewed for this long goes; a report of the latencies sooner.
_SHOWN_NS, _REPORT_NS = 10_000_000_000, 5_000_000_000
#: A process that has not reported for four periods has ended if another one has its nodes.
_REPLACED_NS = 2_000_000_000
#: A restart takes less.
_RESTART_NS = 120_000_000_000
_VERDICTS = frozenset(each.value for each in Verdict)


class _Stamped(NamedTuple):
    """An object, the topic that it came from, and when."""

    item: Any
    topic: str
    at_ns: int


class RobotMonitor:
    """Keeps the newest of everything, within bounds. Thread-safe.

    ``now_ns`` of all calls is on one monotonic clock; ``wall_ns`` is the system clock. Rows that
    are not renewed go after 10 s, the figures of the stages after 5 s.
    """

    def __init__(self, wall_ns: Callable[[], int] = time.time_ns) -> None:
        self._wall_ns = wall_ns
        self._lock = threading.Lock()
        self._decisions = DecisionLog(wall_ns)
        self._engines = EngineTable(self._decisions)
        self._voice = VoiceState()
        self._report: _Stamped | None = None
        self._platform: _Stamped | None = None
        #: The number of frames of each stage in the newest report, and when it has last changed.
        self._stage_frames: dict[tuple[str, str], tuple[int, int]] = {}
        self._processes: ExpiringMap[_Stamped] = ExpiringMap(_MAX_ROWS, _SHOWN_NS)
        #: The process of each node, also of one that has ended.
        self._owners: ExpiringMap[str] = ExpiringMap(_MAX_ROWS, _RESTART_NS)
        self._health: ExpiringMap[_Stamped] = ExpiringMap(_MAX_ROWS, _SHOWN_NS)
        self._targets: ExpiringMap[TargetRow] = ExpiringMap(_MAX_ROWS, _SHOWN_NS)
        self._results: ExpiringMap[_Stamped] = ExpiringMap(_MAX_ROWS, _SHOWN_NS)
        # By the last names of the topics: what is done with an object, its topic and its time.
        self._handlers: dict[str, Callable[[Any, str, int], None]] = {
            "latency_report": self._add_report,
            "process_statistics": self._add_statistics,
            "platform_state": self._add_platform,
            "inference_state": lambda item, topic, now_ns: self._engines.add_state(item, now_ns),
            "workload": self._add_workload,
            "performance_directive": (
                lambda item, topic, now_ns: self._engines.add_directive(item, now_ns)
            ),
            "diagnostics": self._add_diagnostics,
            "parameter_events": self._add_parameters,
            **dict.fromkeys(self._voice.topics, self._add_voice),
            **dict.fromkeys(
                (kind.topic for kind in RESULT_KINDS.rows().values()), self._add_result
            ),
        }

    @property
    def topics(self) -> tuple[str, ...]:
        """The last names of all topics that it understands."""
        return tuple(self._handlers)

    def add(self, topic: str, item: object, now_ns: int) -> None:
        """Add an object that came on a topic, by its full name.

        Raises ConfigError for a topic whose last name is none of ``topics``.
        """
        handlers = self._handlers
        handler = next(
            (each for name, each in handlers.items() if topic.endswith(f"/{name}")), None
        )
        if handler is None:
            raise ConfigError(f"topic {topic}: expected one of {', '.join(handlers)}")
        with self._lock:
            handler(item, topic, now_ns)

    def add_decision(self, kind: str, subject: str, text: str, now_ns: int) -> None:
        """Write a line to the log of decisions; see ``Decision``."""
        with self._lock:
            self._decisions.add(kind, subject, text, now_ns)

    def snapshot(self, now_ns: int) -> Snapshot:
        """Return what is known; the caller adds namespaces and status."""
        with self._lock:
            report: LatencyReport | None = None
            if self._report is not None and now_ns - self._report.at_ns < _REPORT_NS:
                report = self._report.item
            platform = self._platform
            if platform is not None and now_ns - platform.at_ns >= _SHOWN_NS:
                platform = None
            return Snapshot(
                at_s=self._wall_ns() / 1e9,
                namespace="",
                window_s=None if report is None else report.window_s,
                deadline_ms=None if report is None else report.deadline_ms,
                stages=() if report is None else self._make_stages(report, now_ns),
                ends=() if report is None else _make_ends(report),
                processes=_make_processes(list(self._processes.current(now_ns).values()), now_ns),
                engines=self._engines.rows(now_ns),
                platform=None
                if platform is None
                else make_report_row(platform.item, platform.topic, _age_s(platform, now_ns)),
                targets=tuple(self._targets.current(now_ns).values()),
                health=tuple(
                    HealthRow(name, each.item.level, each.item.message, _age_s(each, now_ns))
                    for name, each in sorted(self._health.current(now_ns).items())
                ),
                voice=self._voice.row(),
                results=tuple(
                    _make_result(each, now_ns)
                    for _, each in sorted(self._results.current(now_ns).items())
                ),
                decisions=self._decisions.lines(),
            )

    def _add_report(self, report: LatencyReport, topic: str, now_ns: int) -> None:
        before = self._stage_frames
        self._stage_frames = {}
        for stage in report.stages[:_MAX_ROWS]:
            place = stage.stage, stage.node
            # At first sight, a stage without a frame in the window has been silent for longer.
            silent_ns = 0 if stage.window_count else int(report.window_s * 1e9)
            count, at_ns = before.get(place, (stage.count, now_ns - silent_ns))
            self._stage_frames[place] = stage.count, at_ns if stage.count == count else now_ns
        self._report = _Stamped(report, topic, now_ns)

    def _add_statistics(self, statistics: ProcessStatistics, topic: str, now_ns: int) -> None:
        name = f"{statistics.clock_id} {statistics.pid}"
        self._note_restart(name, statistics, now_ns)
        if statistics.end_ns > statistics.begin_ns:  # shares of an empty window are unknown
            self._processes.put(name, _Stamped(statistics, topic, now_ns), now_ns)

    def _note_restart(self, name: str, statistics: ProcessStatistics, now_ns: int) -> None:
        """Write a line where a new process has the nodes of one that has ended."""
        known = self._processes.current(now_ns)
        if name not in known:
            owners = self._owners.current(now_ns)
            before = {owners[node] for node in statistics.nodes if node in owners} - {name}
            alive = {
                other
                for other in before & known.keys()
                if now_ns - known[other].at_ns <= _REPLACED_NS
            }
            if before and not alive:
                text = f"a new process, {statistics.pid}, has the nodes of one that has ended"
                self._decisions.add("pipeline", min(statistics.nodes), text, now_ns)
        for node in statistics.nodes[:_MAX_NODES]:
            self._owners.put(node, name, now_ns)

    def _add_platform(self, report: PlatformReport, topic: str, now_ns: int) -> None:
        self._platform = _Stamped(report, topic, now_ns)
        self._decisions.add_platform(report, now_ns)

    def _add_workload(self, workload: Workload, topic: str, now_ns: int) -> None:
        del topic
        self._engines.add_workload(workload, now_ns)

    def _add_diagnostics(self, statuses: Sequence[NodeHealth], topic: str, now_ns: int) -> None:
        for status in statuses[:_MAX_ROWS]:
            health = NodeHealth(
                one_line(status.name, _MAX_NAME),
                status.level,
                one_line(status.message, _MAX_SENTENCE),
                status.values,
            )
            target = _read_target(health)
            if target is not None:
                name = f"{target.scenario}: {target.label}"
                if self._targets.put(name, target, now_ns):
                    self._decisions.add_target(target, now_ns)
            elif self._health.put(health.name, _Stamped(health, topic, now_ns), now_ns):
                self._decisions.add_health(health, now_ns)

    def _add_parameters(self, changes: Sequence[ParameterChange], topic: str, now_ns: int) -> None:
        del topic
        for change in changes[:_MAX_ROWS]:
            self._decisions.add("parameter", change.node, f"{change.name}: {change.value}", now_ns)

    def _add_voice(self, item: object, topic: str, now_ns: int) -> None:
        del now_ns
        self._voice.add(topic.rpartition("/")[2], item, self._wall_ns() / 1e9)

    def _add_result(self, result: Result, topic: str, now_ns: int) -> None:
        # Its lines are made only for a snapshot, because most results are never looked at.
        self._results.put(topic, _Stamped(result, topic, now_ns), now_ns)

    def _make_stages(self, report: LatencyReport, now_ns: int) -> tuple[StageRow, ...]:
        rows = []
        for stage in report.stages[:_MAX_ROWS]:
            _, at_ns = self._stage_frames[stage.stage, stage.node]
            rows.append(_make_stage(stage, (now_ns - at_ns) / 1e9))
        return tuple(rows)


def _age_s(stamped: _Stamped, now_ns: int) -> float:
    return (now_ns - stamped.at_ns) / 1e9


def _make_stage(stage: StageLatency, silent_s: float) -> StageRow:
    return StageRow(
        stage=one_line(stage.stage, _MAX_NAME),
        node=one_line(stage.node, _MAX_NAME),
        rate_hz=stage.rate_hz,
        count=stage.count,
        process=stage.process,
        queue=stage.queue,
        transport=stage.transport,
        age=stage.age,
        device=stage.device,
        drops=_limit_counts(stage.drops),
        deadline_misses=stage.deadline_misses,
        clock_faults=_limit_counts(stage.clock_faults),
        silent_s=silent_s,
    )


def _limit_counts(counts: Mapping[str, int]) -> dict[str, int]:
    return {one_line(name, _MAX_NAME): count for name, count in [*counts.items()][:_MAX_REASONS]}


def _make_ends(report: LatencyReport) -> tuple[EndRow, ...]:
    return tuple(
        EndRow(
            stage=one_line(end.stage, _MAX_NAME),
            node=one_line(end.node, _MAX_NAME),
            count=end.count,
            recent=end.recent,
            whole=end.whole,
            deadline_misses=end.deadline_misses,
        )
        for end in report.ends[:_MAX_ROWS]
    )


def _make_processes(processes: Sequence[_Stamped], now_ns: int) -> tuple[ProcessRow, ...]:
    """Return a row for each process; one that has ended goes when another has its nodes."""
    newest = sorted(processes, key=lambda each: each.at_ns, reverse=True)
    rows = []
    seen: set[str] = set()
    for each in newest:
        statistics: ProcessStatistics = each.item
        is_late = now_ns - each.at_ns > _REPLACED_NS
        if is_late and not seen.isdisjoint(statistics.nodes):
            continue
        seen.update(statistics.nodes)
        window_s = (statistics.end_ns - statistics.begin_ns) / 1e9
        rows.append(
            ProcessRow(
                pid=statistics.pid,
                nodes=tuple(one_line(node, _MAX_NAME) for node in statistics.nodes[:_MAX_NODES]),
                cpu_share=statistics.cpu_ms / 1e3 / window_s,
                memory_mib=statistics.memory_mib,
                lock_ms_per_s=sum(hold.lock_ms for hold in statistics.holds) / window_s,
                run_queue_ms_per_s=sum(hold.run_queue_ms for hold in statistics.holds) / window_s,
                age_s=_age_s(each, now_ns),
            )
        )
    return tuple(sorted(rows, key=lambda row: (row.nodes, row.pid)))


def _make_result(stamped: _Stamped, now_ns: int) -> ResultRow:
    result: Result = stamped.item
    kind = kind_of(result)
    try:
        lines = kind.to_lines(result, _MAX_LINES)
    except Exception as error:  # of another package's kind
        lines = [f"cannot be shown: {format_error(error)}"]
    return ResultRow(
        topic=stamped.topic,
        kind=kind.name,
        model=one_line(result.model, _MAX_NAME),
        lines=tuple(one_line(line, _MAX_NAME) for line in lines[:_MAX_LINES]),
        age_s=_age_s(stamped, now_ns),
    )


def _read_target(health: NodeHealth) -> TargetRow | None:
    """Return the target of a status of the latency node; None where it is that of a node.

    Its name is ``node: scenario: target``, its message begins with the verdict.
    """
    node, _, subject = health.name.partition(": ")
    scenario, _, label = subject.partition(": ")
    verdict = health.message.partition(":")[0]
    if not (node and label) or verdict not in _VERDICTS or "required" not in health.values:
        return None
    return TargetRow(
        scenario=scenario,
        label=label,
        verdict=verdict,
        message=health.message,
        value=_read_number(health.values.get("value")),
        bound=_read_number(health.values.get("bound")),
        required=health.values["required"] == "true",
    )


def _read_number(text: str | None) -> float | None:
    """Return the number in a text from outside; None where there is none that is finite."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None
