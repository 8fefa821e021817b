"""What a diagnosis is made from, and what is normal for each stage."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edge_inference.core.platform_state import PlatformReport
from edge_inference.core.runtime.latency import StageTiming
from edge_inference.core.runtime.process_statistics import ProcessStatistics
from edge_inference.observe.attribution.frame_ways import FrameStep, join_frames

#: Without a baseline, this share of a stage's frames are taken for undisturbed.
_UNDISTURBED = 0.1
_MEDIAN = 0.5
#: Fewer records of a stage say nothing about what is normal for it.
MIN_RECORDS = 5
# A duration is longer than usual if it exceeds the normal one by the largest of: a time, a
# part of the normal one, and a multiple of the spread of undisturbed frames.
_MIN_EXCESS_MS, _RELATIVE_EXCESS, _SPREAD_FACTOR = 1.0, 0.25, 3.0
#: Without a baseline, a longer time for publishing or receiving is never normal.
_MAX_HANDOVER_MS = 3.0


@dataclass(frozen=True)
class Observation:
    """A window of a pipeline: timings of its stages, and of its processes and machine.

    The order does not matter. Without ``statistics`` or ``reports``, what only they tell remains
    unknown.
    """

    timings: Sequence[StageTiming]
    statistics: Sequence[ProcessStatistics] = ()
    reports: Sequence[PlatformReport] = ()


@dataclass(frozen=True)
class Normal:
    """A duration that is usual, and up to where one counts as usual, in milliseconds."""

    ms: float = 0.0
    limit_ms: float = _MIN_EXCESS_MS

    @classmethod
    def of(cls, values: Sequence[float], share: float = _UNDISTURBED) -> Normal:
        """Return the normal of a window of which at least this share is undisturbed."""
        if not values:
            return cls()
        low, usual = (float(q) for q in np.quantile(values, (share / 2, share)))
        tolerance = max(_MIN_EXCESS_MS, _RELATIVE_EXCESS * usual, _SPREAD_FACTOR * (usual - low))
        return cls(usual, usual + tolerance)

    def capped(self, ms: float) -> Normal:
        """Return a normal of at most ``ms``."""
        return self if self.ms <= ms else Normal(ms, ms + _MIN_EXCESS_MS)

    def excess_ms(self, ms: float) -> float:
        """Return by how much a duration exceeds the normal one; 0 for a usual duration."""
        return ms - self.ms if ms > self.limit_ms else 0.0


@dataclass(frozen=True)
class StageNormal:
    """What is normal for one stage."""

    cpu: Normal = field(default_factory=Normal)
    #: Neither computing nor ready to run.
    blocked: Normal = field(default_factory=Normal)
    #: On an accelerator.
    device: Normal = field(default_factory=Normal)
    process: Normal = field(default_factory=Normal)
    #: Without waiting for a core.
    publish: Normal = field(default_factory=Normal)
    receive: Normal = field(default_factory=Normal)
    queue_ms: float = 0.0
    page_faults: float = 0.0


@dataclass(frozen=True)
class Baseline:
    """What is normal for a pipeline, by node; from a window in which nothing disturbed it."""

    stages: Mapping[str, StageNormal]
    #: From the end of one node to the arrival at another; the first is empty for the capture.
    ways: Mapping[tuple[str, str], Normal] = field(default_factory=dict)

    @classmethod
    def of(cls, observation: Observation) -> Baseline:
        """Return the baseline of an undisturbed window: the medians of its frames."""
        steps = join_frames(observation.timings)
        return cls(stage_normals(observation.timings, _MEDIAN), way_normals(steps, _MEDIAN))


def blocked_ms(timing: StageTiming) -> float:
    """Return the time of processing in which the thread neither ran nor was ready to run."""
    if timing.process_ms is None or timing.cpu_ms is None:
        return 0.0
    return max(0.0, timing.process_ms - timing.cpu_ms - (timing.run_queue_ms or 0.0))


def published_ms(timing: StageTiming) -> float | None:
    """Return the time of publishing without that in which the thread waited for a core."""
    if timing.publish_ms is None:
        return None
    return max(0.0, timing.publish_ms - (timing.publish_run_queue_ms or 0.0))


def stage_normals(
    timings: Sequence[StageTiming], share: float = _UNDISTURBED
) -> dict[str, StageNormal]:
    """Return what is normal for each node in a window of which this share is undisturbed."""
    records: dict[str, list[StageTiming]] = defaultdict(list)
    for timing in timings:
        if timing.process_ms is not None:
            records[timing.node].append(timing)
    return {
        node: _stage_normal(each, share)
        for node, each in records.items()
        if len(each) >= MIN_RECORDS
    }


def way_normals(
    steps: Iterable[FrameStep], share: float = _UNDISTURBED
) -> dict[tuple[str, str], Normal]:
    """Return what is normal for the ways between nodes, and from capture to the first one."""
    samples: dict[tuple[str, str], list[float]] = defaultdict(list)
    for step in steps:
        if (ms := step.way_ms) is not None:
            samples[step.way].append(ms)
    return {way: Normal.of(each, share) for way, each in samples.items()}


def _stage_normal(records: Sequence[StageTiming], share: float) -> StageNormal:
    def normal(values: Sequence[float | None]) -> Normal:
        return Normal.of([value for value in values if value is not None], share)

    is_given = share == _MEDIAN
    publish = normal([published_ms(each) for each in records])
    receive = normal([each.receive_ms for each in records])
    return StageNormal(
        cpu=normal([each.cpu_ms for each in records]),
        blocked=normal([blocked_ms(each) for each in records]),
        device=normal([each.device_ms for each in records]),
        process=normal([each.process_ms for each in records]),
        publish=publish if is_given else publish.capped(_MAX_HANDOVER_MS),
        receive=receive if is_given else receive.capped(_MAX_HANDOVER_MS),
        queue_ms=float(np.median([each.queue_ms for each in records])) if is_given else 0.0,
        page_faults=float(np.quantile([each.page_faults for each in records], share)),
    )
