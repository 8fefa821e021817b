"""The last seconds of a pipeline, for a diagnosis while it runs."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict, deque
from collections.abc import Sequence

from edge_inference.core.platform_state import PlatformReport
from edge_inference.core.runtime.latency import StageTiming
from edge_inference.core.runtime.process_statistics import ProcessStatistics
from edge_inference.observe.attribution.cause import Diagnosis
from edge_inference.observe.attribution.diagnosis import diagnose
from edge_inference.observe.attribution.observation import Observation

#: A diagnosis takes about 50 us for each timing, the look whether one is needed 2 us.
_MAX_TIMINGS = 600
_MAX_OTHERS = 100
#: A stage of which no frame waits or differs by more is undisturbed, in milliseconds and as a part.
_MAX_WAIT_MS, _MAX_VARIATION = 0.8, 0.2


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
        if timings and _is_undisturbed(timings, statistics):
            window_s = (max(each.ended_ns for each in timings) - first_ns) / 1e9
            frames = max(Counter(each.node for each in timings).values())
            return Diagnosis((), frames, window_s)
        return diagnose(Observation(timings, statistics, reports))


def _is_undisturbed(
    timings: Sequence[StageTiming], statistics: Sequence[ProcessStatistics]
) -> bool:
    """Tell quickly whether nothing can have held frames up."""
    if any(each.clock_step_ms for each in statistics):
        return False
    computed: dict[str, list[float]] = defaultdict(list)
    ages: dict[str, list[float]] = defaultdict(list)
    for each in timings:
        if each.dropped or each.lost or each.clock_fault or None in (each.cpu_ms, each.age_ms):
            return False
        process_ms, cpu_ms = each.process_ms or 0.0, each.cpu_ms or 0.0
        waited_ms = process_ms - cpu_ms + each.queue_ms + (each.publish_ms or 0.0)
        if not each.ended_ns or waited_ms + (each.receive_ms or 0.0) > _MAX_WAIT_MS:
            return False
        computed[each.node].append(cpu_ms)
        ages[each.node].append(each.age_ms or 0.0)
    numbers = {len(each) for each in computed.values()}
    return max(numbers) - min(numbers) <= 1 and all(
        max(each) - min(each) < _MAX_WAIT_MS + _MAX_VARIATION * min(each)
        for each in (*computed.values(), *ages.values())
    )
