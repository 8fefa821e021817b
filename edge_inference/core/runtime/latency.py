"""Latency of the stages: one record per frame, percentiles over a sliding window."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from edge_inference.core.runtime.mailbox import age_ms

#: Maximum number of drop reasons of a stage; further ones count as "other".
_MAX_REASONS = 32
_OTHER_REASONS = "other"

_Frame = tuple[int, float, float | None, float | None]


@dataclass(frozen=True)
class StageTiming:
    """The times of one frame in one stage; None is unknown.

    ``queue_ms``: from arrival to the start of processing. ``process_ms``: processing.
    ``age_ms``: from capture to the end of processing. ``dropped`` is the reason for a dropped
    frame, empty for a processed one.

    ``ended_ns`` is the end of processing, or the moment of the drop, on the steady clock of the
    machine (and boot) that ``clock_id`` identifies; 0 is unknown. ``publish_ms`` is the time in
    which the output was published. ``receive_ms``: from reception by the middleware to arrival,
    for a message from another process; ``lost`` messages were lost just before it.

    ``device_ms`` is the part of ``process_ms`` in which an accelerator computed. ``cpu_ms`` is the
    CPU time of the thread during processing, ``run_queue_ms`` the time in which it was ready to
    run and waited for a core, ``page_faults`` the number of its page faults. ``clock_fault`` says
    what is wrong with the capture stamp; the age is then unknown.
    """

    stage: str
    node: str
    queue_ms: float
    process_ms: float | None
    age_ms: float | None
    dropped: str = ""
    model: str = ""
    stamp_ns: int = 0
    frame_id: str = ""
    ended_ns: int = 0
    clock_id: int = 0
    publish_ms: float | None = None
    receive_ms: float | None = None
    lost: int = 0
    device_ms: float | None = None
    cpu_ms: float | None = None
    run_queue_ms: float | None = None
    page_faults: int = 0
    clock_fault: str = ""

    @property
    def started_ns(self) -> int:
        """The start of processing on the steady clock."""
        return self.ended_ns - round((self.process_ms or 0.0) * 1e6)

    @property
    def arrived_ns(self) -> int:
        """The arrival at the stage on the steady clock."""
        return self.started_ns - round(self.queue_ms * 1e6)

    @property
    def published_ns(self) -> int:
        """The end of publishing on the steady clock; the end of processing where unknown."""
        return self.ended_ns + round((self.publish_ms or 0.0) * 1e6)

    @classmethod
    def at_once(
        cls, stage: str, node: str, process_ms: float, stamp_ns: int, now_ns: int, frame_id: str
    ) -> StageTiming:
        """Return the record of an item that was processed without a queue."""
        return cls(
            stage,
            node,
            queue_ms=0.0,
            process_ms=process_ms,
            age_ms=age_ms(stamp_ns, now_ns),
            stamp_ns=stamp_ns,
            frame_id=frame_id,
        )


@dataclass(frozen=True)
class Percentiles:
    """Distribution of one duration in milliseconds; all None where there are no measurements."""

    mean: float | None = None
    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None
    max: float | None = None

    @classmethod
    def of(cls, values: Sequence[float]) -> Percentiles:
        """Summarize values, with linear interpolation between order statistics."""
        if not values:
            return cls()
        array = np.asarray(values, dtype=np.float64)
        p50, p90, p95, p99 = (float(p) for p in np.percentile(array, (50, 90, 95, 99)))
        return cls(float(array.mean()), p50, p90, p95, p99, float(array.max()))


@dataclass(frozen=True)
class StageLatency:
    """One stage's figures over the window, and its counts since the start."""

    stage: str
    node: str
    count: int
    window_count: int
    rate_hz: float
    process: Percentiles
    queue: Percentiles
    age: Percentiles
    drops: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class LatencyReport:
    """Every stage's figures over the last ``window_s`` seconds."""

    window_s: float
    stages: tuple[StageLatency, ...]
    stamp_ns: int = 0
    frame_id: str = ""


class LatencyLog:
    """Collects stage timings from any thread and reports on the last ``window_s`` seconds.

    ``now_ns`` is any monotonic clock, the same in all calls. Beyond ``MAX_STAGES`` a new stage
    replaces one that has been silent for a window, or is not recorded.
    """

    #: Maximum number of frames of one stage; only the newest are kept.
    MAX_STAGE_FRAMES = 20_000
    #: Maximum number of frames of all stages; the stage with most frames loses its oldest.
    MAX_FRAMES = 200_000
    MAX_STAGES = 128

    def __init__(self, window_s: float = 10.0, started_ns: int | None = None) -> None:
        """Rates count from ``started_ns``, by default from the first record."""
        self.window_s = window_s
        self._stages: dict[tuple[str, str], _Stage] = {}
        self._lock = threading.Lock()
        self._started_ns = started_ns
        self._frames = 0

    def add(self, timing: StageTiming, now_ns: int) -> bool:
        """Record one frame of one stage; False where there are too many stages already."""
        with self._lock:
            if self._started_ns is None:
                self._started_ns = now_ns
            stage = self._stages.get((timing.node, timing.stage))
            if stage is None:
                if not self._make_space(now_ns):
                    return False
                stage = self._stages[timing.node, timing.stage] = _Stage()
            stage.last_ns = now_ns
            if timing.dropped:
                is_known = timing.dropped in stage.drops or len(stage.drops) < _MAX_REASONS
                stage.drops[timing.dropped if is_known else _OTHER_REASONS] += 1
                return True
            stage.count += 1
            stage.recent.append((now_ns, timing.queue_ms, timing.process_ms, timing.age_ms))
            self._frames += 1
            if len(stage.recent) > self.MAX_STAGE_FRAMES:
                self._drop_oldest(stage)
            elif self._frames > self.MAX_FRAMES:
                self._drop_oldest(max(self._stages.values(), key=lambda each: len(each.recent)))
            return True

    def report(self, now_ns: int) -> LatencyReport:
        """Summarize the window that ends now."""
        with self._lock:
            oldest_ns = now_ns - int(self.window_s * 1e9)
            started_ns = oldest_ns if self._started_ns is None else self._started_ns
            from_ns = max(oldest_ns, started_ns)
            stages = []
            for (node, name), stage in self._stages.items():
                while stage.recent and stage.recent[0][0] < oldest_ns:
                    stage.recent.popleft()
                    self._frames -= 1
                stages.append(stage.summary(name, node, from_ns, now_ns))
        return LatencyReport(self.window_s, tuple(stages))

    def _drop_oldest(self, stage: _Stage) -> None:
        stage.cut_ns = stage.recent.popleft()[0]
        self._frames -= 1

    def _make_space(self, now_ns: int) -> bool:
        """Make space for another stage, if necessary by removing a silent one; False where full."""
        if len(self._stages) < self.MAX_STAGES:
            return True
        silent = min(self._stages, key=lambda key: self._stages[key].last_ns)
        if now_ns - self._stages[silent].last_ns < self.window_s * 1e9:
            return False
        self._frames -= len(self._stages.pop(silent).recent)
        return True


class _Stage:
    def __init__(self) -> None:
        self.count = 0
        self.last_ns = 0
        self.drops: Counter[str] = Counter()
        #: Time, queue, process and age of each frame.
        self.recent: deque[_Frame] = deque()
        #: Time of the last frame in the window that was discarded.
        self.cut_ns: int | None = None

    def summary(self, name: str, node: str, from_ns: int, now_ns: int) -> StageLatency:
        count = len(self.recent)
        if self.cut_ns is not None:
            from_ns = max(from_ns, self.cut_ns)
        covered_s = (now_ns - from_ns) / 1e9
        return StageLatency(
            stage=name,
            node=node,
            count=self.count,
            window_count=count,
            rate_hz=count / covered_s if covered_s > 0 else 0.0,
            process=Percentiles.of([ms for _, _, ms, _ in self.recent if ms is not None]),
            queue=Percentiles.of([ms for _, ms, _, _ in self.recent]),
            age=Percentiles.of([ms for _, _, _, ms in self.recent if ms is not None]),
            drops=dict(self.drops),
        )
