"""What held the threads of each process up, and when."""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from edge_inference.core.runtime.process_statistics import Hold, ProcessStatistics
from edge_inference.observe.attribution.cause import Cause
from edge_inference.observe.heartbeat import MIN_HOLD_MS, PERIOD_MS

#: Where so many heartbeats waited for the interpreter lock, some thread always wants it.
_CONTENDED_SHARE, _MIN_COVERED_MS = 0.4, 400.0
_PERIOD_NS = round(PERIOD_MS * 1e6)


class Held(NamedTuple):
    """For how long the threads of a process were held up within some time, in milliseconds."""

    lock_ms: float = 0.0
    run_queue_ms: float = 0.0
    stopped_ms: float = 0.0


class ProcessWindow:
    """One process in a window."""

    def __init__(self, pid: int, statistics: Iterable[ProcessStatistics]) -> None:
        self.pid = pid
        self.statistics = _without_repetition(statistics)
        self.holds = sorted(
            (hold for each in self.statistics for hold in each.holds),
            key=lambda hold: hold.begin_ns,
        )
        self._begins_ns = [hold.begin_ns for hold in self.holds]
        self._longest_ns = max((hold.end_ns - hold.begin_ns for hold in self.holds), default=0)
        covered_ms = sum((each.end_ns - each.begin_ns) / 1e6 for each in self.statistics)
        locked = sum(hold.lock_ms >= MIN_HOLD_MS for hold in self.holds)
        #: Whether threads wait for the interpreter lock all the time, each time only shortly.
        self.is_contended = (
            covered_ms >= _MIN_COVERED_MS and locked > _CONTENDED_SHARE * covered_ms / PERIOD_MS
        )
        self.major_faults = sum(each.major_faults for each in self.statistics)

    @property
    def name(self) -> str:
        """The process in words."""
        return f"process {self.pid}"

    def held(self, begin_ns: int, end_ns: int) -> Held:
        """Return how long its threads were held up between two moments.

        A hold may have begun up to a heartbeat earlier than it was noticed.
        """
        lock = run_queue = stopped = 0.0
        first = bisect.bisect_left(self._begins_ns, begin_ns - self._longest_ns)
        last = bisect.bisect_right(self._begins_ns, end_ns + _PERIOD_NS)
        for hold in self.holds[first:last]:
            if hold.is_stopped:
                stopped += _overlap_ms(hold, begin_ns, end_ns, _PERIOD_NS)
                continue
            share = hold.lock_ms / hold.wait_ms if hold.wait_ms else 0.0
            # The heartbeat came at a random moment of the hold: on average as much was before it.
            early_ns = min(_PERIOD_NS, hold.end_ns - hold.begin_ns)
            lock += share * _overlap_ms(hold, begin_ns, end_ns, early_ns)
            run_queue += (1.0 - share) * _overlap_ms(hold, begin_ns, end_ns, 0)
        length_ms = (end_ns - begin_ns) / 1e6
        return Held(min(lock, length_ms), min(run_queue, length_ms), min(stopped, length_ms))

    def kept_from_receiving(
        self, begin_ns: int, end_ns: int, min_ms: float
    ) -> tuple[Cause, str] | None:
        """Return what kept it from receiving messages for ``min_ms`` between two moments.

        None where nothing did, or for a shorter time.
        """
        held = self.held(begin_ns, end_ns)
        executor_ms = max(
            (
                each.executor_ms or 0.0
                for each in self.statistics
                if each.begin_ns < end_ns and each.end_ns > begin_ns
            ),
            default=0.0,
        )
        # Whatever holds a process up makes its callbacks wait too.
        ms, cause = max(
            (held.stopped_ms, Cause.PROCESS_STOPPED),
            (held.lock_ms, Cause.INTERPRETER_LOCK),
            (held.run_queue_ms, Cause.BUSY_CORE),
            key=lambda each: each[0],
        )
        if ms < min_ms:
            ms, cause = min(executor_ms, (end_ns - begin_ns) / 1e6), Cause.SLOW_CALLBACK
        return (cause, self.name) if ms >= min_ms else None


def process_windows(statistics: Iterable[ProcessStatistics]) -> dict[str, ProcessWindow]:
    """Return the process of each node."""
    by_pid: dict[tuple[int, int], list[ProcessStatistics]] = defaultdict(list)
    for each in statistics:
        by_pid[each.clock_id, each.pid].append(each)
    processes = [ProcessWindow(pid, each) for (_, pid), each in by_pid.items()]
    return {
        node: process for process in processes for each in process.statistics for node in each.nodes
    }


def _without_repetition(statistics: Iterable[ProcessStatistics]) -> list[ProcessStatistics]:
    """Return the windows in order, without those of a second monitor in the same process."""
    kept: list[ProcessStatistics] = []
    for each in sorted(statistics, key=lambda window: window.begin_ns):
        if not kept or each.begin_ns >= kept[-1].end_ns:
            kept.append(each)
    return kept


def _overlap_ms(hold: Hold, begin_ns: int, end_ns: int, early_ns: int) -> float:
    overlap_ns = min(hold.end_ns, end_ns) - max(hold.begin_ns - early_ns, begin_ns)
    return max(0, overlap_ns) / 1e6
