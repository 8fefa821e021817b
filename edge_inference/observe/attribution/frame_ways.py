"""The way of each frame through the stages of one machine: which record follows which.

``TimelineCollector`` joins frames too, and neither can use the other. It gives each frame as soon
as that is complete, with what it knows by then: the names of the stages, and the ages, which also
join machines. Here the whole window is at hand, and its times tell more: which of two stages comes
first, also of unknown ones; what a frame waited behind, also one that was dropped; and which output
belongs to which of hundreds of frames with the same stamp, where a collector keeps 64.
"""

from __future__ import annotations

import bisect
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from edge_inference.core.runtime.latency import StageTiming
from edge_inference.observe.attribution.cause import FrameKey
from edge_inference.observe.frame_timeline import STAGES_BEFORE

#: Times that differ more from those of most records of a machine are not possible.
_MAX_DISTANCE_NS = 3_600_000_000_000
#: The end of a stage and the arrival at the next are measured at nearly the same moment.
_SLACK_NS = 200_000
#: A frame at the begin of a window has left the first stages already; its stamp must not decide.
_MIN_STAMPS = 8


@dataclass(frozen=True)
class FrameStep:
    """A frame in one stage. ``before`` is where it came from; None for the first stage.

    ``number`` counts the frames with the same stamp, as a camera without stamps gives.
    ``shift_ms`` is by how much the age is wrong, because a clock moved.
    """

    timing: StageTiming
    before: StageTiming | None = None
    number: int = 0
    shift_ms: float = 0.0

    @property
    def frame(self) -> FrameKey:
        """What identifies the frame."""
        return self.timing.frame_id, self.timing.stamp_ns, self.number

    @property
    def way(self) -> tuple[str, str]:
        """The nodes from which and to which the frame went; the first is empty for the capture."""
        return ("" if self.before is None else self.before.node), self.timing.node

    @property
    def way_ms(self) -> float | None:
        """The time from the end of the stage before, or from capture, to the arrival."""
        timing = self.timing
        if self.before is not None:
            return (timing.arrived_ns - self.before.ended_ns) / 1e6
        if timing.age_ms is None:
            return None
        return timing.age_ms - self.shift_ms - timing.queue_ms - (timing.process_ms or 0.0)


def join_frames(timings: Iterable[StageTiming]) -> list[FrameStep]:
    """Return the steps of all frames, ordered by their end; impossible records are left out.

    A frame came from the stage that ended last before its arrival, of those that frames reach
    earlier: the stamps of a recording that is repeated come again.
    """
    frames: dict[tuple[str, str, int, int], list[StageTiming]] = defaultdict(list)
    for timing in _possible(timings):
        namespace = timing.node.rpartition("/")[0]
        key = (namespace, timing.frame_id, timing.stamp_ns, timing.clock_id)
        frames[key].append(timing)
    places = _places(frames.values())
    steps = []
    for records in frames.values():
        outputs = _Outputs(records, places)
        before = {id(timing): outputs.find_before(timing) for timing in records}
        numbers = _number_firsts(records, before)
        for timing in records:
            first = timing
            while (earlier := before[id(first)]) is not None:
                first = earlier
            steps.append(FrameStep(timing, before[id(timing)], numbers[id(first)]))
    return sorted(steps, key=lambda step: step.timing.ended_ns)


def _number_firsts(
    records: Sequence[StageTiming], before: Mapping[int, StageTiming | None]
) -> dict[int, int]:
    """Return the place of each record that came from no other, among those of its node, by id."""
    counts: Counter[str] = Counter()
    numbers = {}
    for timing in sorted(records, key=_ended_ns):
        if before[id(timing)] is None:
            numbers[id(timing)] = counts[timing.node]
            counts[timing.node] += 1
    return numbers


def _possible(timings: Iterable[StageTiming]) -> list[StageTiming]:
    """Return the records whose times are near those of the others of their machine."""
    machines: dict[int, list[StageTiming]] = defaultdict(list)
    for timing in timings:
        if timing.ended_ns > 0:
            machines[timing.clock_id].append(timing)
    possible = []
    for records in machines.values():
        middle_ns = sorted(each.ended_ns for each in records)[len(records) // 2]
        possible += [each for each in records if abs(each.ended_ns - middle_ns) < _MAX_DISTANCE_NS]
    return possible


def _places(frames: Collection[Sequence[StageTiming]]) -> dict[str, int]:
    """Return how long after the first stage frames reach each node, at the median.

    Among few stamps, of which each may belong to many frames, it is the place of shipped stages.
    """
    delays: dict[str, list[int]] = defaultdict(list)
    stages = {timing.node: timing.stage for records in frames for timing in records}
    if len(frames) < _MIN_STAMPS and STAGES_BEFORE.keys() >= set(stages.values()):
        order = list(STAGES_BEFORE)
        return {node: order.index(stage) for node, stage in stages.items()}
    for records in frames:
        arrivals: dict[str, int] = {}
        for timing in sorted(records, key=lambda each: each.arrived_ns):
            arrivals.setdefault(timing.node, timing.arrived_ns)
        first_ns = min(arrivals.values())
        for node, arrived_ns in arrivals.items():
            delays[node].append(arrived_ns - first_ns)
    return {node: sorted(each)[len(each) // 2] for node, each in delays.items()}


class _Outputs:
    """What the stages of one frame have put out, by node: many frames may have the same stamp."""

    def __init__(self, records: Sequence[StageTiming], places: Mapping[str, int]) -> None:
        self._places = places
        self._of_nodes: dict[str, list[StageTiming]] = defaultdict(list)
        for timing in sorted(records, key=_ended_ns):
            if not timing.dropped:
                self._of_nodes[timing.node].append(timing)

    def find_before(self, timing: StageTiming) -> StageTiming | None:
        """Return the output from which a record came."""
        arrived_ns = timing.arrived_ns + _SLACK_NS
        place = self._places[timing.node]
        before = []
        for node, outputs in self._of_nodes.items():
            if self._places[node] < place:
                count = bisect.bisect_right(outputs, arrived_ns, key=_ended_ns)
                before += outputs[max(0, count - 1) : count]
        return max(before, key=_ended_ns, default=None)


def _ended_ns(timing: StageTiming) -> int:
    return timing.ended_ns
