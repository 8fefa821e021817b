"""The levels of a running pipeline, from what its processes and its platform manager publish."""

from __future__ import annotations

import os

from edge_inference.core.platform_state import PlatformReport
from edge_inference.core.runtime.expiring_map import ExpiringMap
from edge_inference.core.runtime.process_statistics import ProcessStatistics
from edge_inference.observe.targets.observations import Observations
from edge_inference.observe.targets.platform_levels import platform_levels

_MAX_PROCESSES = 100
#: A process that has been silent for longer has ended.
_SILENT_NS = 5_000_000_000
_SENSED = ("cpu_percent", "gpu_percent", "gpu_memory_percent", "power_w")
_NO_MANAGER = "no platform manager publishes the sensors; start the pipeline with thermal:=ramp"
_NO_STATISTICS = "no process of the pipeline publishes process_statistics"
_SEVERAL_MACHINES = "the pipeline runs on several machines"


class LiveLevels:
    """Puts messages of a running pipeline into observations; from any thread."""

    def __init__(self, observations: Observations) -> None:
        self._observations = observations
        self._processes: ExpiringMap[ProcessStatistics] = ExpiringMap(_MAX_PROCESSES, _SILENT_NS)
        self._cores = os.cpu_count() or 1
        #: Whether a platform manager publishes what its sensors read.
        self.has_sensors = False
        for what in _SENSED:
            observations.set_reason(what, _NO_MANAGER)
        for what in ("process_cpu_percent", "memory_mib"):
            observations.set_reason(what, _NO_STATISTICS)
        observations.set_reason(
            "control_period_ms", "only a pipeline that validate runs is measured for it"
        )
        observations.set_reason(
            "streaming_agreement", "it needs a recording and a second inference of each frame"
        )

    def add_platform(self, report: PlatformReport, now_ns: int) -> None:
        """Add a report of the platform manager."""
        self.has_sensors = True
        for what, value in platform_levels(report.state):
            if isinstance(value, str):
                self._observations.set_reason(what, value)
            else:
                self._observations.add_level(what, value, now_ns)

    def add_process(self, statistics: ProcessStatistics, now_ns: int) -> None:
        """Add the statistics of one process; the levels are the sums over all processes."""
        name = f"{statistics.clock_id} {statistics.pid}"
        is_known = name in self._processes.current(now_ns)
        self._processes.put(name, statistics, now_ns)
        if not is_known:
            return  # others may not have reported yet
        processes = list(self._processes.current(now_ns).values())
        memory_mib = sum(each.memory_mib for each in processes)
        self._observations.add_level("memory_mib", memory_mib, now_ns)
        if len({each.clock_id for each in processes}) > 1:
            self._observations.set_reason("process_cpu_percent", _SEVERAL_MACHINES)
            return
        share = sum(map(_cores_in_use, processes)) / self._cores
        self._observations.add_level("process_cpu_percent", 100.0 * share, now_ns)


def _cores_in_use(statistics: ProcessStatistics) -> float:
    window_ms = (statistics.end_ns - statistics.begin_ns) / 1e6
    return statistics.cpu_ms / window_ms if window_ms > 0 else 0.0
