"""The latency of a voice pipeline, and the way of each utterance through it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from edge_inference.core.runtime.latency import LatencyReport, StageTiming
from edge_inference.observe.frame_timeline import FrameTimeline
from edge_inference.observe.pipeline_latency import PipelineLatency
from edge_inference.observe.timeline_collector import TimelineCollector

LAST_STAGE = "command"
#: The command stage reports a plan right after its first velocity.
_REPORT_DELAY_S = 0.5


class UtteranceLatency:
    """Collects the timings of the stages. Thread-safe; ``now_ns`` is a monotonic clock."""

    def __init__(
        self, deadline_ms: float | None, now_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._now_ns = now_ns
        self._latency = PipelineLatency(None, deadline_ms)
        self._collector = TimelineCollector()
        self._changed = threading.Condition()

    def add(self, timing: StageTiming) -> None:
        """Add the timing of a stage."""
        now_ns = self._now_ns()
        self._latency.add(timing, now_ns)
        with self._changed:
            for timeline in self._collector.add(timing, now_ns):
                self._latency.add_timeline(timeline, now_ns)
            self._changed.notify_all()

    def find(self, stamp_ns: int, has_command: bool) -> FrameTimeline | None:
        """Return the way of an utterance so far; None if no stage has reported it.

        For one with a command, waits a moment for the report of the command stage.
        """

        def is_whole() -> bool:
            found = self._collector.find(stamp_ns)
            return found is not None and found.last.stage == LAST_STAGE

        with self._changed:
            if has_command:
                self._changed.wait_for(is_whole, _REPORT_DELAY_S)
            return self._collector.find(stamp_ns)

    def report(self) -> LatencyReport:
        """Return the figures of the whole run."""
        now_ns = self._now_ns()
        with self._changed:
            for timeline in self._collector.finish():
                self._latency.add_timeline(timeline, now_ns)
        return self._latency.report(now_ns)
