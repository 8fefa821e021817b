"""Times of inferences in service, saved among the measured costs from time to time.

No other engine is timed interleaved with them: they give the time of a run, not a ratio to
another engine.
"""

from __future__ import annotations

import threading
from collections import deque

from edge_inference.core.measured_costs import Samples, Spread
from edge_inference.core.runtime.worker import format_error
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.serving.cost_recording import (
    Report,
    configuration_of,
    is_timed_by_cpu,
    record_costs,
)
from edge_inference.engines.serving.engine import Engine

#: Number of successive inferences in one measurement.
RUNS = 200
#: Time from one measurement of an engine to the next.
PERIOD_NS = 3_600_000_000_000
#: Conditions were steady if the 95th percentile is at most this factor of the median.
MAX_P95_RATIO = 1.5


class ServiceCosts:
    """Collects times in the worker's thread; writes them in another one, which may wait."""

    def __init__(self, cache: ArtifactCache, report: Report) -> None:
        """Save to ``cache``; ``report`` gets the error where it cannot be written."""
        self._cache = cache
        self._report = report
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._times: deque[tuple[float, float]] = deque(maxlen=RUNS)
        self._saved_ns: int | None = None
        self._writer: threading.Thread | None = None

    def add(self, engine: Engine, images: int, wall_s: float, cpu_s: float) -> None:
        """Add one inference; ``cpu_s`` is the CPU time of the calling thread."""
        with self._lock:
            if engine is not self._engine:
                self._engine, self._saved_ns = engine, None
                self._times.clear()
            if images == 1:
                self._times.append((wall_s, cpu_s))

    def save_if_due(self, now_ns: int, *, is_free: bool) -> None:
        """Save the collected times if a measurement is due; call this about once a second.

        While a directive limits the node (not ``is_free``), the machine is hot or short of
        power, and the times do not count.
        """
        with self._lock:
            is_due = self._saved_ns is None or now_ns - self._saved_ns >= PERIOD_NS
            if not is_free:
                self._times.clear()
            if not is_due or len(self._times) < RUNS or self._engine is None:
                return
            engine, times = self._engine, list(self._times)
            self._times.clear()
            wall_s, cpu_s = zip(*times, strict=True)
            by_cpu = is_timed_by_cpu(engine.selection)
            spread = Spread.of(cpu_s if by_cpu else wall_s)
            if spread.p95_s > MAX_P95_RATIO * spread.median_s:
                return
            self._saved_ns = now_ns
        self.close()
        samples = Samples(wall_s, cpu_s if by_cpu else None)
        self._writer = threading.Thread(
            target=self._write, args=(engine, samples), name="measured costs", daemon=True
        )
        self._writer.start()

    def close(self) -> None:
        """Wait for the writing thread."""
        if self._writer is not None:
            self._writer.join()

    def _write(self, engine: Engine, samples: Samples) -> None:
        try:
            configuration = configuration_of(engine.selection, self._cache)
            record_costs(self._cache, "service", {configuration: samples}, self._report)
        except BaseException as error:  # the thread has no caller that gets the error
            self._report(f"the measured costs are not saved: {format_error(error)}")
