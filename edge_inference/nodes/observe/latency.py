"""The latency node: collects the timings of all stages and publishes the latency."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import Any

from rclpy.qos import QoSProfile
from rclpy.timer import Timer

from edge_inference.composition.reception import Reception
from edge_inference.core.runtime.latency import StageTiming
from edge_inference.core.settings import setting
from edge_inference.errors import InputError
from edge_inference.nodes.component import Component
from edge_inference.nodes.conversions.numbers import Float32Adapter
from edge_inference.nodes.conversions.timing import LatencyReportAdapter, StageTimingAdapter
from edge_inference.observe.latency_log import LatencyLog

REPORT_PERIOD_S = 1.0
# Every stage publishes a timing for every frame; a subscriber that is late must not lose any.
_TIMINGS = QoSProfile(depth=100)


@dataclass(frozen=True)
class LatencySettings:
    """Parameters of the latency node."""

    window_s: float = setting(
        10.0, "time window of the report", unit="s", minimum=1.0, maximum=3600.0
    )


class Latency(Component):
    """Publishes /ai/inference_latency for every inference and /ai/latency_report at 1 Hz."""

    default_name = "latency"
    default_namespace = "ai"
    settings_class = LatencySettings

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__(**node_arguments)
        self._timer: Timer | None = None

    def open(self) -> None:
        """Make the publishers, and start with an empty log."""
        self._log = LatencyLog(self.parameters.current.window_s, time.monotonic_ns())
        self._inference = self.make_publisher("inference_latency", Float32Adapter())
        self._reports = self.make_publisher("latency_report", LatencyReportAdapter())

    def start(self) -> None:
        """Subscribe to the timings of the stages."""
        self.subscribe_to("stage_timing", StageTimingAdapter(), self._record, _TIMINGS)
        self._timer = self.make_timer(REPORT_PERIOD_S, self._report)

    def stop(self) -> None:
        """Stop reporting."""
        if self._timer is not None:
            self.destroy_timer(self._timer)
            self._timer = None

    def _record(self, timing: StageTiming, reception: Reception) -> None:
        del reception
        if not self._log.add(timing, time.monotonic_ns()):
            message = (
                f"stage {timing.stage!r} of {timing.node!r} is not in the report: expected at most "
                f"{LatencyLog.MAX_STAGES} stages"
            )
            self.report_error(InputError(message), "stages")
            return
        self.health.count_processed()
        if timing.stage == "inference" and timing.process_ms is not None:
            self._inference.publish(timing.process_ms)

    def _report(self) -> None:
        self._log.window_s = self.parameters.current.window_s
        report = self._log.report(time.monotonic_ns())
        self._reports.publish(dataclasses.replace(report, stamp_ns=self.now_ns()))
