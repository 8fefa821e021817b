"""Observes when results arrive, independent of the times that the stages report."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edge_inference.core.runtime.latency import StageTiming
from edge_inference.core.runtime.thread_times import clock_id
from edge_inference.observe.frame_timeline import FrameTimeline, join_way
from edge_inference.observe.timeline_collector import TimelineCollector

#: The sum of the stages and the time from end to end may differ by this, whichever is more.
ALLOWED_MS, ALLOWED_SHARE = 0.3, 0.02


@dataclass(frozen=True)
class Arrival:
    """When something arrived: on the ROS clock, before and after reading the steady clock."""

    stamp_ns: int
    before_ns: int
    steady_ns: int
    after_ns: int

    @classmethod
    def now(cls, stamp_ns: int, now_ns: Callable[[], int]) -> Arrival:
        """Read the clocks; ``now_ns`` is the ROS clock."""
        return cls(stamp_ns, now_ns(), time.monotonic_ns(), now_ns())

    @property
    def age_ms(self) -> tuple[float, float]:
        """The age of the frame at least and at most."""
        return (self.before_ns - self.stamp_ns) / 1e6, (self.after_ns - self.stamp_ns) / 1e6


class TimelineObserver:
    """Notes when results arrive, and collects the timelines of frames that end at ``end``.

    ``now_ns`` is the ROS clock. ``changed`` is notified of each timeline and result.
    """

    def __init__(self, now_ns: Callable[[], int], end: str) -> None:
        self._now_ns = now_ns
        self._end = end
        self._collector = TimelineCollector()
        self.changed = threading.Condition()
        self.timelines: list[FrameTimeline] = []
        self.results: dict[int, Arrival] = {}
        self.reports: dict[int, Arrival] = {}

    def add_result(self, result: Any) -> None:
        """Note the arrival of a result; only the first of a stamp counts."""
        arrival = Arrival.now(result.stamp_ns, self._now_ns)
        with self.changed:
            self.results.setdefault(result.stamp_ns, arrival)
            self.changed.notify_all()

    def add_timing(self, timing: StageTiming) -> None:
        """Add the report of a stage."""
        arrival = Arrival.now(timing.stamp_ns, self._now_ns)
        found = self._collector.add(timing, arrival.steady_ns)
        with self.changed:
            if timing.stage == self._end:
                self.reports[timing.stamp_ns] = arrival
            self.timelines += [each for each in found if each.last.stage == self._end]
            self.changed.notify_all()

    def done(self) -> list[FrameTimeline]:
        """Return the timelines of frames whose results have arrived."""
        return [each for each in self.timelines if each.stamp_ns in self.results]

    def end_ms(self, timeline: FrameTimeline, at_subscriber: bool) -> tuple[float, float]:
        """Return the age of a frame at its end, at least and at most."""
        result = self.results[timeline.stamp_ns]
        if at_subscriber:
            return result.age_ms
        return result.age_ms[0], self.reports[timeline.stamp_ns].age_ms[1]

    def excess_in_process(self, timeline: FrameTimeline) -> float:
        """Return how far the sum is off, in units of what is allowed.

        The end of publishing is after the arrival of the result and before that of the report, in
        the thread that publishes both.
        """
        return _excess(timeline.sum_ms, *self.end_ms(timeline, at_subscriber=False))

    def excess_at_subscriber(self, timeline: FrameTimeline) -> float:
        """Return how far the sum is off, with one more segment from the last stage until here."""
        arrival = self.results[timeline.stamp_ns]
        subscriber = StageTiming(
            "subscriber",
            "/ai/subscriber",
            queue_ms=0.0,
            process_ms=0.0,
            age_ms=arrival.age_ms[1],
            stamp_ns=timeline.stamp_ns,
            ended_ns=arrival.steady_ns,
            clock_id=clock_id(),
        )
        return _excess(join_way([*timeline.stages, subscriber]).sum_ms, *arrival.age_ms)


def _excess(sum_ms: float | None, low_ms: float, high_ms: float) -> float:
    if sum_ms is None:
        return float("inf")
    residual_ms = max(low_ms - sum_ms, sum_ms - high_ms, 0.0)
    return residual_ms / max(ALLOWED_MS, ALLOWED_SHARE * high_ms)
