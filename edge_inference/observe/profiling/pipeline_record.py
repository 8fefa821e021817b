"""Records what a pipeline publishes of itself, and sums it up by stage and process."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from dataclasses import dataclass

from edge_inference.core.runtime.latency import Percentiles, StageTiming
from edge_inference.core.runtime.process_statistics import ProcessStatistics

#: Drop reasons of a stage that are told apart; further ones are "other".
_MAX_REASONS = 32


@dataclass(frozen=True)
class StageSummary:
    """One stage of one node; all times are milliseconds, ``busy`` is the share of the window.

    Figures that no timing tells are None.
    """

    stage: str
    node: str
    frames: int
    drops: dict[str, int]
    queue: Percentiles
    process: Percentiles
    publish: Percentiles
    cpu_ms: float | None
    device_ms: float | None
    busy: float | None


@dataclass(frozen=True)
class ProcessSummary:
    """One process: ``cores`` is its CPU time by time, ``memory_mib`` the highest."""

    pid: int
    nodes: tuple[str, ...]
    cores: float
    memory_mib: float
    holds: int
    held_ms: float


class PipelineRecord:
    """Collects from any thread, at most ``MAX_TIMINGS``; later ones are counted only.

    Timings of more than ``MAX_STAGES`` stages, and statistics of more than ``MAX_PROCESSES``, are
    not kept either.
    """

    MAX_TIMINGS = 200_000
    MAX_STAGES = 200
    MAX_PROCESSES = 200

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places: set[tuple[str, str]] = set()
        self._processes: set[tuple[int, int]] = set()
        self._timings: list[StageTiming] = []
        self._statistics: list[ProcessStatistics] = []
        self.not_kept = 0

    def add_timing(self, timing: StageTiming) -> None:
        """Add a timing."""
        with self._lock:
            place = timing.node, timing.stage
            is_known = place in self._places or len(self._places) < self.MAX_STAGES
            if is_known and len(self._timings) < self.MAX_TIMINGS:
                self._places.add(place)
                self._timings.append(timing)
            else:
                self.not_kept += 1

    def add_statistics(self, entry: ProcessStatistics) -> None:
        """Add a window of a process."""
        with self._lock:
            process = entry.clock_id, entry.pid
            is_known = process in self._processes or len(self._processes) < self.MAX_PROCESSES
            if is_known and len(self._statistics) < self.MAX_TIMINGS:
                self._processes.add(process)
                self._statistics.append(entry)
            else:
                self.not_kept += 1

    @property
    def timings(self) -> list[StageTiming]:
        """The timings so far."""
        with self._lock:
            return list(self._timings)

    @property
    def statistics(self) -> list[ProcessStatistics]:
        """The windows so far."""
        with self._lock:
            return list(self._statistics)

    def latest_statistics(self) -> list[ProcessStatistics]:
        """Return the latest window of each process."""
        latest = {(entry.clock_id, entry.pid): entry for entry in self.statistics}
        return list(latest.values())

    def frames(self) -> int:
        """Return the number of timings of frames that were not dropped."""
        return sum(not timing.dropped for timing in self.timings)

    def stages(self, window_s: float) -> list[StageSummary]:
        """Return the stages of a window, in the order in which a frame passes them."""
        found: dict[tuple[str, str], list[StageTiming]] = defaultdict(list)
        for timing in self.timings:
            found[timing.node, timing.stage].append(timing)
        ordered = sorted(found.items(), key=lambda item: _position(item[1]))
        return [_summarize(*key, timings, window_s) for key, timings in ordered]

    def processes(self) -> list[ProcessSummary]:
        """Return the processes that published statistics."""
        found: dict[tuple[int, int], list[ProcessStatistics]] = defaultdict(list)
        for entry in self.statistics:
            found[entry.clock_id, entry.pid].append(entry)
        return [_summarize_process(entries) for entries in found.values()]


def _position(timings: list[StageTiming]) -> float:
    """Return the typical age at the start of processing, which grows along the way of a frame."""
    ages = [
        timing.age_ms - (timing.process_ms or 0.0)
        for timing in timings
        if timing.age_ms is not None and not timing.dropped
    ]
    return Percentiles.of(ages).p50 or 0.0


def _summarize(node: str, stage: str, timings: list[StageTiming], window_s: float) -> StageSummary:
    done = [timing for timing in timings if not timing.dropped]
    process = [timing.process_ms for timing in done if timing.process_ms is not None]
    publish = [timing.publish_ms for timing in done if timing.publish_ms is not None]
    cpu = [timing.cpu_ms for timing in done if timing.cpu_ms is not None]
    device = [timing.device_ms for timing in done if timing.device_ms is not None]
    return StageSummary(
        stage,
        node,
        len(done),
        _count_drops(timings),
        Percentiles.of([timing.queue_ms for timing in done]),
        Percentiles.of(process),
        Percentiles.of(publish),
        Percentiles.of(cpu).mean,
        Percentiles.of(device).mean,
        sum(process, sum(publish)) / (window_s * 1e3) if process and window_s > 0 else None,
    )


def _count_drops(timings: list[StageTiming]) -> dict[str, int]:
    counts = Counter(timing.dropped for timing in timings if timing.dropped)
    drops = dict(counts.most_common(_MAX_REASONS))
    if len(drops) < len(counts):
        drops["other"] = counts.total() - sum(drops.values())
    return drops


def _summarize_process(entries: list[ProcessStatistics]) -> ProcessSummary:
    length_ms = sum((entry.end_ns - entry.begin_ns) / 1e6 for entry in entries)
    holds = [hold for entry in entries for hold in entry.holds]
    return ProcessSummary(
        entries[0].pid,
        tuple(dict.fromkeys(node for entry in entries for node in entry.nodes)),
        sum(entry.cpu_ms for entry in entries) / length_ms if length_ms > 0 else 0.0,
        max(entry.memory_mib for entry in entries),
        len(holds),
        sum(hold.wait_ms for hold in holds),
    )
