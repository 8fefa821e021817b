"""The evidence of a finding, in numbers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edge_inference.core.runtime.latency import StageTiming
from edge_inference.observe.attribution.cause import Cause, FrameKey
from edge_inference.observe.attribution.frame_ways import FrameStep
from edge_inference.observe.attribution.observation import Baseline, Observation, StageNormal
from edge_inference.observe.attribution.process_holds import ProcessWindow
from edge_inference.observe.heartbeat import MIN_HOLD_MS

#: Process CPU above this share of a hold: its holder computed.
_RUNNING_SHARE = 0.25
_MAX_NAMES = 4


@dataclass
class ChargeSum:
    """What one cause with one subject took in the window, in milliseconds."""

    total_ms: float = 0.0
    by_frame: Counter[FrameKey] = field(default_factory=Counter)
    by_node: Counter[str] = field(default_factory=Counter)
    details: Counter[str] = field(default_factory=Counter)

    def add(self, frame: FrameKey, node: str, ms: float) -> None:
        """Add what it took from one frame in one stage."""
        self.total_ms += ms
        self.by_frame[frame] += ms  # type: ignore[assignment]
        self.by_node[node] += ms  # type: ignore[assignment]

    def update(self, other: ChargeSum) -> None:
        """Add all of another sum."""
        self.total_ms += other.total_ms
        self.by_frame.update(other.by_frame)
        self.by_node.update(other.by_node)
        self.details.update(other.details)

    @property
    def worst_ms(self) -> float:
        """The most in one frame."""
        return max(self.by_frame.values(), default=0.0)


class EvidenceWriter:
    """Writes the evidence of causes in one window."""

    def __init__(
        self,
        observation: Observation,
        steps: Sequence[FrameStep],
        baseline: Baseline,
        processes: Mapping[str, ProcessWindow],
        frames: int,
        period_ms: float,
    ) -> None:
        self._baseline = baseline
        self._processes = {each.name: each for each in processes.values()}
        self._process_by_node = processes
        self._reports = observation.reports
        self._frames = frames
        self._period_ms = period_ms
        self._timings: dict[str, list[StageTiming]] = defaultdict(list)
        self._stages: dict[str, str] = {}
        for step in steps:
            self._timings[step.timing.node].append(step.timing)
            self._stages[step.timing.node] = step.timing.stage

    def stage_of(self, node: str) -> str:
        """Return the stage of a node; empty for anything else."""
        return self._stages.get(node, "")

    def write(self, cause: Cause, subject: str, charges: ChargeSum) -> str:
        """Return one sentence."""
        count, worst = len(charges.by_frame), charges.worst_ms
        affected = f"{count} of {self._frames} frames, up to {worst:.1f} ms"
        detail = self._detail(cause, subject, charges)
        return f"{affected}: {detail}" if detail else affected

    def _detail(self, cause: Cause, subject: str, charges: ChargeSum) -> str:
        timings = [each for each in self._timings.get(subject, ()) if each.process_ms is not None]
        normal = self._baseline.stages.get(subject, StageNormal())
        match cause:
            case Cause.QUEUEING:
                busy = [(each.process_ms or 0.0) + (each.publish_ms or 0.0) for each in timings]
                return (
                    f"waited for {subject}, which takes {_median(busy):.1f} ms for a frame; one "
                    f"arrives every {self._period_ms:.1f} ms"
                )
            case Cause.SLOW_PROCESSING:
                cpu = [each.cpu_ms for each in timings if each.cpu_ms is not None]
                if not cpu:
                    return f"processing took longer than the usual {normal.process.ms:.1f} ms"
                return (
                    f"CPU time of processing {_high(cpu):.1f} ms at the 95th percentile, usually "
                    f"{normal.cpu.ms:.1f} ms"
                )
            case Cause.WAITING:
                return (
                    "in processing the thread neither ran nor was ready to run, usually for "
                    f"{normal.blocked.ms:.1f} ms"
                )
            case Cause.INTERPRETER_LOCK:
                return self._lock(subject)
            case Cause.BUSY_CORE:
                waits = [each.run_queue_ms for each in timings if each.run_queue_ms is not None]
                known = f"{_high(waits):.1f} ms at the 95th percentile" if waits else "not measured"
                longest = max((each.publish_run_queue_ms or 0.0 for each in timings), default=0.0)
                if longest:
                    known += f", in publishing up to {longest:.1f} ms"
                others = [node for node in charges.by_node if node != subject]
                also = f"; so were those of {_names(others)}" if others else ""
                return f"the worker was ready and waited for a core; in processing {known}{also}"
            case Cause.THROTTLING:
                return "computed longer while " + self._throttling()
            case Cause.SLOW_SUBSCRIBER:
                return f"publishing took that long; held up {_names(charges.by_node)}"
            case Cause.PAGE_FAULTS:
                faults = [each.page_faults for each in timings]
                return (
                    f"{_high(faults):.0f} page faults a frame at the 95th percentile, usually "
                    f"{normal.page_faults:.0f}" + self._major(subject)
                )
            case Cause.SLOW_CALLBACK:
                return self._executor(subject, charges)
            case Cause.TRANSPORT:
                return f"on the way from {subject}, beyond the usual time"
            case Cause.PROCESS_STOPPED:
                process = self._processes.get(subject)
                stops = [] if process is None else [h for h in process.holds if h.is_stopped]
                longest = max((hold.wait_ms for hold in stops), default=0.0)
                return f"no thread of it ran, {len(stops)} times, at most for {longest:.0f} ms"
            case _:
                details = charges.details.most_common(_MAX_NAMES)
                return ", ".join(f"{text} {n}" if n > 1 else text for text, n in details)

    def _lock(self, subject: str) -> str:
        process = self._processes.get(subject)
        if process is None:
            return ""
        holds = [hold for hold in process.holds if hold.lock_ms >= MIN_HOLD_MS]
        longest = max((hold.lock_ms for hold in holds), default=0.0)
        known = [hold for hold in holds if hold.cpu_ms is not None]
        running = sum((hold.cpu_ms or 0.0) > _RUNNING_SHARE * hold.wait_ms for hold in known)
        kind = ""
        if known:
            kind = (
                ", its holder computed"
                if 2 * running > len(known)
                else ", its holder slept or waited for a core"
            )
        nodes = {node for each in process.statistics for node in each.nodes}
        return (
            f"the lock was held {len(holds)} times, at most for {longest:.1f} ms{kind}; nodes of "
            f"the process: {_names(nodes)}"
        )

    def _throttling(self) -> str:
        texts = Counter(text for report in self._reports for text in report.throttling)
        if texts:
            return "the machine throttled: " + _names([text for text, _ in texts.most_common()])
        hottest = [report.state.hottest for report in self._reports]
        values = [
            (reading.value, reading.name)
            for reading in hottest
            if reading is not None and reading.value is not None
        ]
        if not values:
            return "the machine throttled"
        value, name = max(values)
        return f"{name} was at {value:.1f} °C, where the machine throttles"

    def _major(self, subject: str) -> str:
        process = self._process_by_node.get(subject)
        if process is None or not process.major_faults:
            return ""
        return f"; {process.major_faults} of the process read a disk"

    def _executor(self, subject: str, charges: ChargeSum) -> str:
        process = self._processes.get(subject)
        waits = [
            each.executor_ms
            for each in (process.statistics if process else ())
            if each.executor_ms is not None
        ]
        text = f"received by the middleware and not taken; held up {_names(charges.by_node)}"
        if waits:
            text += f"; a callback waited for the executor up to {max(waits):.0f} ms"
        return text


def _names(names: Sequence[str] | set[str] | Mapping[str, float]) -> str:
    if isinstance(names, Counter):
        names = [name for name, _ in names.most_common()]
    ordered = list(names) if not isinstance(names, set) else sorted(names)
    shown = ", ".join(ordered[:_MAX_NAMES])
    others = len(ordered) - _MAX_NAMES
    return f"{shown} and {others} others" if others > 0 else shown


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if values else 0.0


def _high(values: Sequence[float]) -> float:
    return float(np.percentile(values, 95)) if values else 0.0
