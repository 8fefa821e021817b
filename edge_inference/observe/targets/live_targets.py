"""Judges the targets of a file on a running pipeline, again and again over a sliding window."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

from edge_inference.core.platform_state import PlatformReport
from edge_inference.core.runtime.latency import StageTiming
from edge_inference.core.runtime.process_statistics import ProcessStatistics
from edge_inference.errors import ConfigError
from edge_inference.observe.targets.live_levels import LiveLevels
from edge_inference.observe.targets.observations import MeasuredWindow, Observations
from edge_inference.observe.targets.target_file import TargetFile
from edge_inference.observe.targets.verdict import Judgment, judge

#: An interval takes some milliseconds of the interpreter, which the pipeline needs too. What does
#: not fit is judged in the next calls.
_BUDGET_NS = 10_000_000
_NOT_YET = "not judged yet"


class LiveTargets:
    """The targets of the scenarios that a running pipeline is judged by.

    Moments are nanoseconds of one monotonic clock. Records may come from any thread; ``update`` is
    called periodically from one. Raises ConfigError for a file without such a scenario.
    """

    def __init__(
        self,
        file: TargetFile,
        window_s: float,
        started_ns: int,
        spent_ns: Callable[[], int] = time.thread_time_ns,
    ) -> None:
        self.window_s = window_s
        self._started_ns = started_ns
        self._spent_ns = spent_ns
        self._observations = Observations()
        self._levels = LiveLevels(self._observations)
        self._judgments = [
            judge(scenario.name, target, _NOT_YET)
            for scenario in file.scenarios
            if scenario.live
            for target in scenario.targets
        ]
        if not self._judgments:
            raise ConfigError(
                f"{file.file}: live is false in every scenario; expected one for a running pipeline"
            )
        self._order = itertools.cycle(range(len(self._judgments)))

    def add_timing(self, timing: StageTiming, now_ns: int) -> None:
        """Add a frame of a stage."""
        self._observations.add_timing(timing, now_ns)

    def add_process(self, statistics: ProcessStatistics, now_ns: int) -> None:
        """Add the statistics of a process of the pipeline."""
        self._levels.add_process(statistics, now_ns)

    def add_platform(self, report: PlatformReport, now_ns: int) -> None:
        """Add a report of the platform manager."""
        self._levels.add_platform(report, now_ns)

    def update(self, now_ns: int) -> list[Judgment]:
        """Judge some targets anew, in turn; return the latest judgments of all."""
        begin_ns = max(self._started_ns, now_ns - int(self.window_s * 1e9))
        self._observations.forget_before(begin_ns)
        records = self._observations.within(MeasuredWindow(begin_ns, now_ns))
        spent_from_ns = self._spent_ns()
        for index in itertools.islice(self._order, len(self._judgments)):
            old = self._judgments[index]
            found = records.measure(old.target)
            self._judgments[index] = judge(old.scenario, old.target, found)
            if self._spent_ns() - spent_from_ns > _BUDGET_NS:
                break
        return list(self._judgments)
