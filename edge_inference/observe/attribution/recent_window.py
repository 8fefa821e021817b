"""The last seconds of a pipeline, for a diagnosis while it runs."""

from __future__ import annotations

import threading
from collections import deque

from edge_inference.core.platform_state import PlatformReport
from edge_inference.core.runtime.latency import StageTiming
from edge_inference.core.runtime.process_statistics import ProcessStatistics
from edge_inference.observe.attribution.cause import Diagnosis
from edge_inference.observe.attribution.diagnosis import diagnose
from edge_inference.observe.attribution.observation import Observation

#: A diagnosis takes about 40 us for each timing.
_MAX_TIMINGS = 1000
_MAX_OTHERS = 100


class RecentWindow:
    """Keeps the newest objects, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._timings: deque[StageTiming] = deque(maxlen=_MAX_TIMINGS)
        self._statistics: deque[ProcessStatistics] = deque(maxlen=_MAX_OTHERS)
        self._reports: deque[PlatformReport] = deque(maxlen=_MAX_OTHERS)

    def add_timing(self, timing: StageTiming) -> None:
        """Add a timing; cheap, because it runs in the thread of a stage."""
        self._timings.append(timing)

    def add_statistics(self, statistics: ProcessStatistics) -> None:
        """Add a window of a process."""
        with self._lock:
            self._statistics.append(statistics)

    def add_report(self, report: PlatformReport) -> None:
        """Add a report of the platform manager."""
        with self._lock:
            self._reports.append(report)

    def diagnose(self) -> Diagnosis:
        """Diagnose what was added since the last call, as far as it is kept."""
        timings = [self._timings.popleft() for _ in range(len(self._timings))]
        first_ns = min((each.arrived_ns for each in timings if each.ended_ns), default=0)
        with self._lock:
            statistics = [each for each in self._statistics if each.end_ns >= first_ns]
            reports = list(self._reports)
        return diagnose(Observation(timings, statistics, reports))
