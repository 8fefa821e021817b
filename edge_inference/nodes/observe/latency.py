"""The latency node: collects the timings of all stages and publishes the latency."""

from __future__ import annotations

import dataclasses
import math
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

from rclpy.qos import QoSProfile
from rclpy.timer import Timer

from edge_inference.composition.reception import Reception
from edge_inference.core.runtime.latency import LatencyReport, StageTiming
from edge_inference.core.settings import setting
from edge_inference.errors import InputError
from edge_inference.nodes.component import Component
from edge_inference.nodes.conversions.numbers import Float32Adapter
from edge_inference.nodes.conversions.timing import LatencyReportAdapter, StageTimingAdapter
from edge_inference.nodes.observe.target_diagnostics import TargetDiagnostics
from edge_inference.observe.clock_faults import count_clock_faults, describe_clock_faults
from edge_inference.observe.pipeline_latency import PipelineLatency
from edge_inference.observe.timeline_collector import TimelineCollector

REPORT_PERIOD_S = 1.0
# Every stage publishes a timing for every frame; a subscriber that is late must not lose any.
_TIMINGS = QoSProfile(depth=100)
#: CPU time for joining in each report, of an interpreter that the stages need too. Frames without
#: stamps, or a flood of timings, take long; what does not fit is joined later.
_JOINING_NS = 200_000_000


@dataclass(frozen=True)
class LatencySettings:
    """Parameters of the latency node."""

    window_s: float = setting(
        10.0, "time window of the report", unit="s", minimum=1.0, maximum=3600.0
    )
    deadline_ms: float = setting(
        0.0,
        "frames that take longer from capture to the end of publishing are counted as deadline "
        "misses; 0: no deadline",
        unit="ms",
        minimum=0.0,
        maximum=3_600_000.0,
    )
    targets: str = setting(
        "",
        "file of targets that are judged on /diagnostics, or the name of a shipped one; empty: "
        "none",
        read_only=True,
    )
    targets_window_s: float = setting(
        60.0, "time over which targets are judged", unit="s", minimum=1.0, maximum=3600.0
    )


class Latency(Component):
    """Publishes /ai/inference_latency for every inference and /ai/latency_report at 1 Hz."""

    default_name = "latency"
    default_namespace = "ai"
    settings_class = LatencySettings

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__(**node_arguments)
        self._timer: Timer | None = None
        self._targets: TargetDiagnostics | None = None

    def open(self) -> None:
        """Make the publishers, and start with an empty log."""
        self._latency = PipelineLatency(started_ns=time.monotonic_ns())
        self._collector = TimelineCollector()
        #: Timings with the time of their arrival; they are joined in the executor's thread.
        self._timings: deque[tuple[StageTiming, int]] = deque(maxlen=TimelineCollector.MAX_TIMINGS)
        self._faults: dict[str, int] = {}
        self._fault_s = -math.inf
        self._inference = self.make_publisher("inference_latency", Float32Adapter())
        self._reports = self.make_publisher("latency_report", LatencyReportAdapter())
        self._targets = TargetDiagnostics(self) if self.parameters.current.targets else None

    def start(self) -> None:
        """Subscribe to the timings of the stages."""
        self.subscribe_to("stage_timing", StageTimingAdapter(), self._record, _TIMINGS)
        if self._targets is not None:
            self._targets.start()
        self._timer = self.make_timer(REPORT_PERIOD_S, self._report)

    def stop(self) -> None:
        """Stop reporting."""
        if self._timer is not None:
            self.destroy_timer(self._timer)
            self._timer = None

    def _record(self, timing: StageTiming, reception: Reception) -> None:
        """Record a timing; runs in the thread of a stage, so what takes time comes later."""
        del reception
        now_ns = time.monotonic_ns()
        if self._targets is not None:
            self._targets.add(timing)
        if not self._latency.add(timing, now_ns):
            message = (
                f"stage {timing.stage!r} of {timing.node!r} is not in the report: expected at most "
                f"{PipelineLatency.MAX_STAGES} stages"
            )
            self.report_error(InputError(message), "stages")
            return
        self._timings.append((timing, now_ns))
        self.health.count_processed()
        if timing.stage == "inference" and timing.process_ms is not None:
            self._inference.publish(timing.process_ms)

    def _report(self) -> None:
        settings = self.parameters.current
        self._latency.configure(settings.window_s, settings.deadline_ms or None)
        spent_from_ns = time.thread_time_ns()
        while self._timings and time.thread_time_ns() - spent_from_ns < _JOINING_NS:
            timing, arrived_ns = self._timings.popleft()
            for timeline in self._collector.add(timing, arrived_ns):
                self._latency.add_timeline(timeline, arrived_ns)
        now_ns = time.monotonic_ns()
        for timeline in self._collector.take_overdue(now_ns):
            self._latency.add_timeline(timeline, now_ns)
        report = self._latency.report(now_ns)
        self._warn_of_clock_faults(report)
        self._reports.publish(dataclasses.replace(report, stamp_ns=self.now_ns()))
        if self._targets is not None:
            self._targets.publish()

    def _warn_of_clock_faults(self, report: LatencyReport) -> None:
        """Warn on /diagnostics until no frame of a window has had a clock fault."""
        faults = count_clock_faults(report)
        if faults != self._faults:
            self._faults = faults
            self._fault_s = time.monotonic()
        is_recent = time.monotonic() - self._fault_s < report.window_s
        self.health.set_warning("; ".join(describe_clock_faults(faults)) if is_recent else "")
