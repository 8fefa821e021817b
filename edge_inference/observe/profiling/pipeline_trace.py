"""Makes a trace of a pipeline: its stages as rows, joined for each frame, and its processes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from edge_inference.core.runtime.latency import StageTiming
from edge_inference.core.runtime.process_statistics import Hold, ProcessStatistics
from edge_inference.observe.profiling.trace_events import TraceEvents

#: Process number of nodes whose process is not known; no process has it.
UNKNOWN_PID = 0
_HELD = "held up"


@dataclass(frozen=True)
class PipelineTrace:
    """A trace, the number of its ``frames``, and what could not be drawn, as sentences."""

    events: TraceEvents
    frames: int
    left_out: tuple[str, ...]


def trace_pipeline(
    timings: Sequence[StageTiming],
    statistics: Sequence[ProcessStatistics] = (),
    own_nodes: Mapping[str, int] | None = None,
) -> PipelineTrace:
    """Return the trace of timings and statistics in any order.

    ``own_nodes`` are process numbers by the full names of nodes, for processes that publish no
    statistics. All moments are on the steady clock of one machine: those of other machines, and
    timings without a moment, are left out.
    """
    placed = [timing for timing in timings if timing.ended_ns and timing.clock_id]
    clock_ids = Counter(timing.clock_id for timing in placed)
    clock_ids.update(entry.clock_id for entry in statistics if not placed)
    clock_id = clock_ids.most_common(1)[0][0] if clock_ids else 0
    drawn = sorted(
        (timing for timing in placed if timing.clock_id == clock_id),
        key=lambda timing: (timing.started_ns, timing.ended_ns),
    )
    windows = sorted(
        (entry for entry in statistics if entry.clock_id == clock_id),
        key=lambda entry: entry.end_ns,
    )
    origin_ns = min(
        (*(timing.arrived_ns for timing in drawn), *(entry.begin_ns for entry in windows)),
        default=0,
    )
    events = TraceEvents(origin_ns, clock="CLOCK_MONOTONIC", clock_id=clock_id)
    pids = {node: entry.pid for entry in windows for node in entry.nodes}
    pids = {**(own_nodes or {}), **pids}
    _name_processes(events, drawn, windows, pids)
    frames = _draw_stages(events, drawn, pids)
    for entry in windows:
        _draw_window(events, entry)
    left_out = [*_left_out(timings, placed, drawn)]
    if len(windows) < len(statistics):
        left_out.append(
            f"{len(statistics) - len(windows)} of {len(statistics)} process statistics are not in "
            "the trace: they are of another machine than the stages; run the command there, too"
        )
    return PipelineTrace(events, frames, tuple(left_out))


def _name_processes(
    events: TraceEvents,
    timings: Sequence[StageTiming],
    windows: Sequence[ProcessStatistics],
    pids: Mapping[str, int],
) -> None:
    nodes: dict[int, dict[str, None]] = defaultdict(dict)
    for entry in windows:
        nodes[entry.pid].update(dict.fromkeys(entry.nodes))
    for timing in timings:
        nodes[pids.get(timing.node, UNKNOWN_PID)][timing.node] = None
    for order, (pid, names) in enumerate(nodes.items()):
        kind = "process not known" if pid == UNKNOWN_PID else f"process {pid}"
        events.process(pid, f"{kind}: {', '.join(names)}", order)


def _draw_stages(
    events: TraceEvents, timings: Sequence[StageTiming], pids: Mapping[str, int]
) -> int:
    """Draw all timings, in the order of their start; return the number of frames."""
    numbers: dict[tuple[int, str], int] = {}
    for timing in sorted(timings, key=lambda timing: timing.arrived_ns):
        numbers.setdefault((timing.stamp_ns, timing.frame_id), len(numbers) + 1)
    ways: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    for timing in timings:
        pid = pids.get(timing.node, UNKNOWN_PID)
        number = numbers[timing.stamp_ns, timing.frame_id]
        tid = _draw_timing(events, timing, pid, number)
        if not timing.dropped:
            middle_ns = (timing.started_ns + timing.ended_ns) // 2
            ways[number].append((pid, tid, middle_ns))
    for number, places in ways.items():
        events.flow(f"frame {number}", sorted(places, key=lambda place: place[2]), "frame")
    return len(numbers)


def _draw_timing(events: TraceEvents, timing: StageTiming, pid: int, number: int) -> int:
    row = f"{timing.stage} ({timing.node})"
    if timing.dropped:
        tid = events.row(pid, row)
        events.instant(
            pid, tid, f"dropped: {timing.dropped}", timing.ended_ns, "drop", frame=number
        )
    else:
        # One slice for processing and publishing, so that both stay on one row.
        tid = events.slice(
            pid,
            row,
            timing.stage,
            timing.started_ns,
            timing.published_ns,
            "stage",
            frame=number,
            **_known(timing),
        )
        if timing.publish_ms:
            events.nested_slice(
                pid, tid, "publish", timing.ended_ns, timing.published_ns, "publish", frame=number
            )
    if timing.queue_ms > 0:
        begin_ns, end_ns = timing.arrived_ns, timing.started_ns
        events.wait(pid, tid, f"queue of {timing.stage}", begin_ns, end_ns, "queue", frame=number)
    return tid


def _known(timing: StageTiming) -> dict[str, object]:
    """Return what is known of a frame in a stage; nothing stands for an unknown figure."""
    figures = {
        "stamp_ns": timing.stamp_ns or None,
        "frame_id": timing.frame_id or None,
        "model": timing.model or None,
        "queue_ms": timing.queue_ms,
        "process_ms": timing.process_ms,
        "age_ms": timing.age_ms,
        "cpu_ms": timing.cpu_ms,
        "device_ms": timing.device_ms,
        "run_queue_ms": timing.run_queue_ms,
        "publish_run_queue_ms": timing.publish_run_queue_ms,
        "receive_ms": timing.receive_ms,
        "page_faults": timing.page_faults or None,
        "lost": timing.lost or None,
        "clock_fault": timing.clock_fault or None,
    }
    return {name: value for name, value in figures.items() if value is not None}


def _draw_window(events: TraceEvents, entry: ProcessStatistics) -> None:
    length_ms = (entry.end_ns - entry.begin_ns) / 1e6
    if length_ms > 0:
        # A counter holds from its moment on, so it stands at the begin of its window.
        events.counter(entry.pid, "CPU", entry.begin_ns, cores=entry.cpu_ms / length_ms)
    events.counter(entry.pid, "memory", entry.begin_ns, MiB=entry.memory_mib)
    for hold in sorted(entry.holds, key=lambda hold: hold.begin_ns):
        events.slice(
            entry.pid,
            _HELD,
            _cause(hold),
            hold.begin_ns,
            hold.end_ns,
            "hold",
            run_queue_ms=hold.run_queue_ms,
            lock_ms=hold.lock_ms,
        )


def _cause(hold: Hold) -> str:
    if hold.is_stopped:
        return "process stopped"
    return "interpreter lock" if hold.lock_ms >= hold.run_queue_ms else "no free core"


def _left_out(
    timings: Sequence[StageTiming], placed: Sequence[StageTiming], drawn: Sequence[StageTiming]
) -> Iterable[str]:
    without, foreign = len(timings) - len(placed), len(placed) - len(drawn)
    if without:
        yield (
            f"{without} of {len(timings)} timings are not in the trace: their nodes tell no moment "
            "on the steady clock; start nodes of this version"
        )
    if foreign:
        yield (
            f"{foreign} of {len(timings)} timings are not in the trace: they are of another "
            "machine, whose steady clock cannot be compared; run the command there, too"
        )
