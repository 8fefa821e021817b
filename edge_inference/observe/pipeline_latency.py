"""The latency of a pipeline: of its stages, of the transport between them, and end to end."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace
from functools import partial

from edge_inference.core.runtime.latency import (
    EndToEndLatency,
    LatencyReport,
    Percentiles,
    StageTiming,
)
from edge_inference.observe.clock_faults import CLOCK_FAULTS, OTHER_FAULT
from edge_inference.observe.frame_timeline import FrameTimeline, split_transport
from edge_inference.observe.latency_log import LatencyLog
from edge_inference.observe.quantile_sketch import RING_VALUES, QuantileSketch, make_sketch
from edge_inference.observe.sliding_window import SLOTS, SlidingWindow

_Place = tuple[str, str]


class PipelineLatency:
    """Collects timings and timelines from any thread, and reports the latency.

    ``window_s`` is the window of the report; None is the whole time since the start. ``now_ns`` is
    any monotonic clock, the same in all calls; rates count from ``started_ns``, by default from the
    first timing. A frame whose time from end to end exceeds ``deadline_ms`` has missed its
    deadline. Of more than ``MAX_STAGES`` ends or transports only the first are recorded.
    """

    MAX_STAGES = LatencyLog.MAX_STAGES

    def __init__(
        self,
        window_s: float | None = 10.0,
        deadline_ms: float | None = None,
        started_ns: int | None = None,
    ) -> None:
        self._log = LatencyLog(window_s, started_ns, deadline_ms)
        self._lock = threading.Lock()
        self._transports: dict[_Place, _Durations] = {}
        self._ends: dict[_Place, _End] = {}

    def configure(self, window_s: float, deadline_ms: float | None) -> None:
        """Change a window with an end, and the deadline; old misses stay counted."""
        self._log.window_s, self._log.deadline_ms = window_s, deadline_ms

    def add(self, timing: StageTiming, now_ns: int) -> bool:
        """Record one frame of one stage; False where there are too many stages already."""
        return self._log.add(timing, now_ns)

    def add_timeline(self, timeline: FrameTimeline, now_ns: int) -> None:
        """Record the timeline of a frame."""
        with self._lock:
            for timing, way_ms in zip(timeline.stages, timeline.transports_ms, strict=True):
                transport_ms, _ = split_transport(timing, way_ms)
                if transport_ms is None:
                    continue
                place = timing.stage, timing.node
                durations = self._transports.get(place)
                if durations is None:
                    if len(self._transports) == self.MAX_STAGES:
                        continue
                    durations = self._transports[place] = _Durations(self._window_ns())
                durations.add(transport_ms, now_ns)
            if timeline.is_complete and not timeline.dropped:
                self._add_end(timeline, now_ns)

    def report(self, now_ns: int) -> LatencyReport:
        """Summarize the window that ends now."""
        report = self._log.report(now_ns)
        with self._lock:
            window_ns = self._window_ns()
            stages = tuple(
                replace(stage, transport=durations.summary(window_ns, now_ns))
                if (durations := self._transports.get((stage.stage, stage.node)))
                else stage
                for stage in report.stages
            )
            ends = tuple(
                EndToEndLatency(
                    stage=stage,
                    node=node,
                    count=end.count,
                    recent=end.recent.summary(window_ns, now_ns),
                    whole=end.whole.summary(),
                    deadline_misses=end.deadline_misses,
                    clock_faults=dict(end.clock_faults),
                )
                for (stage, node), end in self._ends.items()
            )
        return replace(report, stages=stages, ends=ends)

    def _add_end(self, timeline: FrameTimeline, now_ns: int) -> None:
        place = timeline.last.stage, timeline.last.node
        end = self._ends.get(place)
        if end is None:
            if len(self._ends) == self.MAX_STAGES:
                return
            end = self._ends[place] = _End(self._window_ns())
        end.count += 1
        if timeline.clock_fault:
            is_known = timeline.clock_fault in CLOCK_FAULTS
            end.clock_faults[timeline.clock_fault if is_known else OTHER_FAULT] += 1
        if timeline.end_to_end_ms is not None:
            end.recent.add(timeline.end_to_end_ms, now_ns)
            end.whole.add(timeline.end_to_end_ms)
            deadline_ms = self._log.deadline_ms
            if deadline_ms is not None and timeline.end_to_end_ms > deadline_ms:
                end.deadline_misses += 1

    def _window_ns(self) -> int | None:
        window_s = self._log.window_s
        return None if window_s is None else int(window_s * 1e9)


class _Durations:
    """Durations in a sliding window."""

    def __init__(self, window_ns: int | None) -> None:
        make_slot = partial(make_sketch, RING_VALUES if window_ns is None else RING_VALUES // SLOTS)
        self._slots: SlidingWindow[QuantileSketch] = SlidingWindow(make_slot, window_ns)

    def add(self, ms: float, now_ns: int) -> None:
        self._slots.current(now_ns).add(ms)

    def summary(self, window_ns: int | None, now_ns: int) -> Percentiles:
        self._slots.window_ns = window_ns
        merged = make_sketch()
        for slot in self._slots.slots(now_ns):
            merged.merge(slot)
        return merged.summary()


class _End:
    """The frames that have ended at one place; ``whole`` has the durations since the start."""

    def __init__(self, window_ns: int | None) -> None:
        self.count = 0
        self.deadline_misses = 0
        self.clock_faults: Counter[str] = Counter()
        self.recent = _Durations(window_ns)
        self.whole = make_sketch()
