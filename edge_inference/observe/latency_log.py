"""Collects the timings of stages, and summarizes them over a sliding window or a whole run."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable

import numpy as np

from edge_inference.core.runtime.latency import (
    LatencyReport,
    Percentiles,
    StageLatency,
    StageTiming,
)
from edge_inference.observe.quantile_sketch import RING_VALUES, make_sketch
from edge_inference.observe.sliding_window import SLOTS, SlidingWindow

#: Maximum number of drop reasons, or of clock faults, of a stage; further ones count as "other".
_MAX_REASONS = 32
_OTHER_REASONS = "other"
#: The reason for which lost messages are counted.
LOST = "lost"


class LatencyLog:
    """Collects stage timings from any thread and reports on the last ``window_s`` seconds.

    ``window_s`` None is the whole time since the start. ``now_ns`` is any monotonic clock, the same
    in all calls. A frame whose age at the end of publishing exceeds ``deadline_ms`` has missed its
    deadline. Beyond ``MAX_STAGES`` a new stage replaces one that has been silent for a window, or
    is not recorded.
    """

    MAX_STAGES = 128

    def __init__(
        self,
        window_s: float | None = 10.0,
        started_ns: int | None = None,
        deadline_ms: float | None = None,
    ) -> None:
        """Rates count from ``started_ns``, by default from the first record."""
        self.window_s = window_s
        self.deadline_ms = deadline_ms
        self._stages: dict[tuple[str, str], _Stage] = {}
        self._lock = threading.Lock()
        self._started_ns = started_ns

    def add(self, timing: StageTiming, now_ns: int) -> bool:
        """Record one frame of one stage; False where there are too many stages already."""
        with self._lock:
            if self._started_ns is None:
                self._started_ns = now_ns
            stage = self._stages.get((timing.node, timing.stage))
            if stage is None:
                if not self._make_space(now_ns):
                    return False
                stage = self._stages[timing.node, timing.stage] = _Stage(self._window_ns())
            stage.add(timing, now_ns, self.deadline_ms)
            return True

    def report(self, now_ns: int) -> LatencyReport:
        """Summarize the window that ends now."""
        with self._lock:
            started_ns = now_ns if self._started_ns is None else self._started_ns
            window_ns = self._window_ns()
            stages = tuple(
                stage.summary(name, node, window_ns, started_ns, now_ns)
                for (node, name), stage in self._stages.items()
            )
            window_s = (now_ns - started_ns) / 1e9 if self.window_s is None else self.window_s
        return LatencyReport(window_s, stages, deadline_ms=self.deadline_ms)

    def _window_ns(self) -> int | None:
        return None if self.window_s is None else int(self.window_s * 1e9)

    def _make_space(self, now_ns: int) -> bool:
        """Make space for another stage, if necessary by removing a silent one; False where full."""
        if len(self._stages) < self.MAX_STAGES:
            return True
        silent = min(self._stages, key=lambda key: self._stages[key].last_ns)
        silent_ns = now_ns - self._stages[silent].last_ns
        if self.window_s is None or silent_ns < self.window_s * 1e9:
            return False
        del self._stages[silent]
        return True


class _Stage:
    def __init__(self, window_ns: int | None) -> None:
        self.count = 0
        self.last_ns = 0
        self.drops: Counter[str] = Counter()
        self.clock_faults: Counter[str] = Counter()
        self.deadline_misses = 0
        self.figures = SlidingWindow(lambda: _Figures(window_ns is None), window_ns)

    def add(self, timing: StageTiming, now_ns: int, deadline_ms: float | None) -> None:
        self.last_ns = now_ns
        if timing.lost:
            self.drops[LOST] += timing.lost
        if timing.clock_fault:
            _count(self.clock_faults, timing.clock_fault)
        if timing.dropped:
            _count(self.drops, timing.dropped)
            return
        self.count += 1
        published_age_ms = timing.published_age_ms
        if published_age_ms is not None and deadline_ms is not None:
            self.deadline_misses += published_age_ms > deadline_ms
        self.figures.current(now_ns).add(timing, published_age_ms)

    def summary(
        self, name: str, node: str, window_ns: int | None, started_ns: int, now_ns: int
    ) -> StageLatency:
        self.figures.window_ns = window_ns
        begin_ns = self.figures.begin_ns(now_ns)
        from_ns = started_ns if begin_ns is None else max(started_ns, begin_ns)
        covered_s = (now_ns - from_ns) / 1e9
        figures = _Figures.merged(self.figures.slots(now_ns))
        return StageLatency(
            stage=name,
            node=node,
            count=self.count,
            window_count=figures.count,
            rate_hz=figures.count / covered_s if covered_s > 0 else 0.0,
            process=figures.summary("process"),
            queue=figures.summary("queue"),
            age=figures.summary("age"),
            drops=dict(self.drops),
            receive=figures.summary("receive"),
            device=figures.summary("device"),
            publish=figures.summary("publish"),
            published_age=figures.summary("published_age"),
            deadline_misses=self.deadline_misses,
            clock_faults=dict(self.clock_faults),
        )


#: The times of a frame for which there are percentiles, in the order of ``_Figures.add``.
_TIMES = ("process", "queue", "age", "receive", "device", "publish", "published_age")
#: Frames are put into the sketches in batches, which is much faster.
_BATCH = 256


class _Figures:
    """The processed frames of one stage in one slot of time, or ``is_whole`` in all time."""

    def __init__(self, is_whole: bool = True) -> None:
        ring_values = RING_VALUES if is_whole else RING_VALUES // SLOTS
        self.count = 0
        self.sketches = {name: make_sketch(ring_values) for name in _TIMES}
        self._newest: list[tuple[float | None, ...]] = []

    def add(self, timing: StageTiming, published_age_ms: float | None) -> None:
        self.count += 1
        self._newest.append(
            (
                timing.process_ms,
                timing.queue_ms,
                timing.age_ms,
                timing.receive_ms,
                timing.device_ms,
                timing.publish_ms,
                published_age_ms,
            )
        )
        if len(self._newest) >= _BATCH:
            self._fold()

    def summary(self, name: str) -> Percentiles:
        self._fold()
        return self.sketches[name].summary()

    @classmethod
    def merged(cls, parts: Iterable[_Figures]) -> _Figures:
        whole = cls()
        for part in parts:
            part._fold()
            whole.count += part.count
            for name, sketch in part.sketches.items():
                whole.sketches[name].merge(sketch)
        return whole

    def _fold(self) -> None:
        if self._newest:
            # An unknown time becomes NaN, which a sketch leaves out.
            columns = np.array(self._newest, np.float64).T
            self._newest = []
            for sketch, values in zip(self.sketches.values(), columns, strict=True):
                sketch.add_all(values)


def _count(counter: Counter[str], reason: str) -> None:
    is_known = reason in counter or len(counter) < _MAX_REASONS
    counter[reason if is_known else _OTHER_REASONS] += 1
