"""What inferences take in service, kept among the measured costs now and then.

Nothing was timed in turns with them, so they tell what a run takes, not whether another
engine is faster.
"""

from __future__ import annotations

import threading
from collections import deque

from edge_inference.core.measured_costs import Samples, Spread
from edge_inference.core.runtime.worker import format_error
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.serving.cost_recording import Report, is_timed_by_cpu, point_of, record
from edge_inference.engines.serving.server import Engine

#: So many inferences in a row are summed up.
RUNS = 200
#: How long an engine serves from one measurement to the next.
PERIOD_NS = 3_600_000_000_000
#: Circumstances were the same all the time where 95 % took at most this factor of the median.
STEADY = 1.5


class ServiceCosts:
    """Collects from the worker's thread; writes in one of its own, which may wait for a disk."""

    def __init__(self, cache: ArtifactCache, report: Report) -> None:
        """Take the cache, and who gets the sentence where it cannot be written."""
        self._cache = cache
        self._report = report
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._times: deque[tuple[float, float]] = deque(maxlen=RUNS)
        self._kept_ns: int | None = None
        self._writer: threading.Thread | None = None

    def note(self, engine: Engine, images: int, wall_s: float, cpu_s: float) -> None:
        """Take in one inference; ``cpu_s`` is that of the thread that called it."""
        with self._lock:
            if engine is not self._engine:
                self._engine, self._kept_ns = engine, None
                self._times.clear()
            if images == 1:
                self._times.append((wall_s, cpu_s))

    def keep(self, now_ns: int, *, is_free: bool) -> None:
        """Keep what was collected where it is time for it; call it about once a second.

        While the node is held back (not ``is_free``) the machine is hot or short of power,
        and nothing of that time counts.
        """
        with self._lock:
            is_due = self._kept_ns is None or now_ns - self._kept_ns >= PERIOD_NS
            if not is_free:
                self._times.clear()
            if not is_due or len(self._times) < RUNS or self._engine is None:
                return
            engine, times = self._engine, list(self._times)
            self._times.clear()
            wall_s, cpu_s = zip(*times, strict=True)
            by_cpu = is_timed_by_cpu(engine.selection)
            spread = Spread.of(cpu_s if by_cpu else wall_s)
            if spread.p95_s > STEADY * spread.median_s:
                return
            self._kept_ns = now_ns
        self.close()
        samples = Samples(wall_s, cpu_s if by_cpu else None)
        self._writer = threading.Thread(
            target=self._write, args=(engine, samples), name="measured costs", daemon=True
        )
        self._writer.start()

    def close(self) -> None:
        """Wait until what is being written is written."""
        if self._writer is not None:
            self._writer.join()

    def _write(self, engine: Engine, samples: Samples) -> None:
        try:
            point = point_of(engine.selection, self._cache)
            record(self._cache, "service", {point: samples}, self._report)
        except BaseException as error:  # nobody else would hear of it
            self._report(f"what inferences take is not kept: {format_error(error)}")
