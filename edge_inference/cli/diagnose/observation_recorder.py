"""Records what a diagnosis needs from the topics of a pipeline."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from edge_inference.core.platform_state import PlatformReport
from edge_inference.core.runtime.latency import StageTiming
from edge_inference.core.runtime.process_statistics import ProcessStatistics
from edge_inference.observe.attribution.observation import Observation

_MAX_TIMINGS, _MAX_OTHERS = 100_000, 10_000


class ObservedPipeline(Protocol):
    """A pipeline in this process or another one."""

    def tap(self, topic: str, callback: Callable[[Any], None]) -> Any:
        """Pass every object on a topic to ``callback``."""


class ObservationRecorder:
    """Collects from any thread; beyond some number the oldest objects are forgotten."""

    def __init__(self, pipeline: ObservedPipeline) -> None:
        self._lock = threading.Lock()
        self._timings: deque[StageTiming] = deque(maxlen=_MAX_TIMINGS)
        self._statistics: deque[ProcessStatistics] = deque(maxlen=_MAX_OTHERS)
        self._reports: deque[PlatformReport] = deque(maxlen=_MAX_OTHERS)
        #: Set when the first timing arrives.
        self.has_begun = threading.Event()
        pipeline.tap("stage_timing", self._add_timing)
        pipeline.tap("process_statistics", self._statistics.append)
        pipeline.tap("platform_state", self._reports.append)

    def clear(self) -> None:
        """Forget what was collected so far."""
        with self._lock:
            self._timings.clear()
            self._statistics.clear()
            self._reports.clear()

    def observation(self) -> Observation:
        """Return what was collected so far."""
        with self._lock:
            # The threads of publishers append meanwhile.
            return Observation(
                tuple(self._timings.copy()), tuple(self._statistics.copy()), tuple(self._reports)
            )

    def _add_timing(self, timing: StageTiming) -> None:
        self._timings.append(timing)
        self.has_begun.set()
