"""Latency of the stages: one record a frame, percentiles over a sliding window."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class StageTiming:
    """What one stage did with one frame; None is unknown, an empty ``dropped`` is processed.

    ``queue_ms``: from arrival to the start of work. ``process_ms``: the work.
    ``age_ms``: from capture to the end of the stage.
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


@dataclass(frozen=True)
class Percentiles:
    """Distribution of one figure in milliseconds; all None where nothing was measured."""

    mean: float | None = None
    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None
    max: float | None = None

    @classmethod
    def of(cls, values: Sequence[float]) -> Percentiles:
        """Summarise values, linear interpolation between order statistics."""
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

    ``now_ns`` is any steadily rising clock, the same in all calls.
    """

    #: More frames than this within a window are summarised by the newest ones.
    LIMIT = 20_000

    def __init__(self, window_s: float = 10.0, started_ns: int | None = None) -> None:
        """Rates count from ``started_ns``, by default from the first record."""
        self.window_s = window_s
        self._stages: dict[tuple[str, str], _Stage] = {}
        self._lock = threading.Lock()
        self._started_ns = started_ns

    def add(self, timing: StageTiming, now_ns: int) -> None:
        """Record one frame of one stage."""
        with self._lock:
            if self._started_ns is None:
                self._started_ns = now_ns
            stage = self._stages.setdefault((timing.node, timing.stage), _Stage())
            if timing.dropped:
                stage.drops[timing.dropped] += 1
            else:
                stage.count += 1
                stage.recent.append((now_ns, timing))

    def report(self, now_ns: int) -> LatencyReport:
        """Summarise the window that ends now."""
        with self._lock:
            oldest_ns = now_ns - int(self.window_s * 1e9)
            started_ns = oldest_ns if self._started_ns is None else self._started_ns
            from_ns = max(oldest_ns, started_ns)
            stages = []
            for (node, name), stage in self._stages.items():
                while stage.recent and stage.recent[0][0] < oldest_ns:
                    stage.recent.popleft()
                stages.append(stage.summary(name, node, from_ns, now_ns))
        return LatencyReport(self.window_s, tuple(stages))


class _Stage:
    def __init__(self) -> None:
        self.count = 0
        self.drops: Counter[str] = Counter()
        self.recent: deque[tuple[int, StageTiming]] = deque(maxlen=LatencyLog.LIMIT)

    def summary(self, name: str, node: str, from_ns: int, now_ns: int) -> StageLatency:
        timings = [timing for _, timing in self.recent]
        if len(timings) == LatencyLog.LIMIT:
            from_ns = max(from_ns, self.recent[0][0])
        covered_s = (now_ns - from_ns) / 1e9
        return StageLatency(
            stage=name,
            node=node,
            count=self.count,
            window_count=len(timings),
            rate_hz=len(timings) / covered_s if covered_s > 0 else 0.0,
            process=Percentiles.of([t.process_ms for t in timings if t.process_ms is not None]),
            queue=Percentiles.of([t.queue_ms for t in timings]),
            age=Percentiles.of([t.age_ms for t in timings if t.age_ms is not None]),
            drops=dict(self.drops),
        )
