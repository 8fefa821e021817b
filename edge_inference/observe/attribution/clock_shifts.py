"""Finds by how much the ages in timings are wrong, because a clock or the stamps moved.

On the steady clock, the time of a node's clock at the end of a stage advances like the end itself:
a difference between two frames is a step of that clock. A source whose stamps step, while its
frames keep arriving at their rate, has a clock of its own that was set.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from edge_inference.core.runtime.latency import StageTiming
from edge_inference.observe.attribution.frame_ways import FrameStep

SYSTEM_CLOCK = "system clock"
#: Smaller shifts have other reasons: a thread was interrupted between two clock readings.
MIN_SHIFT_MS = 2.5
#: A time server may slew the clock by this much; a step is faster.
_SLEW = 600e-6
#: A simulated clock differs by so much from the steady one, evenly to this share of the difference.
_MIN_DRIFT, _MAX_UNEVEN = 0.02, 0.15
#: A shift lasts at least this many frames, among those up to so far away.
_MIN_LENGTH, _REACH = 4, 4
#: By so much less the offsets of frames with the same shift differ.
_AGREEMENT_MS = 1.0


@dataclass(frozen=True)
class ClockShift:
    """The age of one frame is wrong by ``ms``; ``subject`` is the clock that moved."""

    subject: str
    ms: float


def node_clock_shifts(timings: Iterable[StageTiming]) -> dict[int, ClockShift]:
    """Return the shifts of the nodes' clocks, by ``id`` of the timing.

    The reference is the clock that most nodes of the machine have at the start of the window. A
    clock that runs at another rate all the time is simulated, and does not step.
    """
    shifts: dict[int, ClockShift] = {}
    for records in _by_machine(timings):
        if _clock_rate(records) is None:
            shifts |= _machine_shifts(records)
    return shifts


def simulated_rates(timings: Iterable[StageTiming]) -> list[float]:
    """Return the rates of simulated clocks that do not run at the rate of the steady clock."""
    rates = (_clock_rate(records) for records in _by_machine(timings))
    return [rate for rate in rates if rate is not None]


def stamp_shifts(steps: Sequence[FrameStep]) -> dict[int, ClockShift]:
    """Return the shifts of the stamps of each source, by ``id`` of the timing.

    The reference are the stamps at the start of the window.
    """
    sources: dict[tuple[str, str], list[FrameStep]] = defaultdict(list)
    for step in steps:
        if step.before is None and step.way_ms is not None:
            sources[step.timing.frame_id, step.timing.node].append(step)
    shifts: dict[int, ClockShift] = {}
    for (frame_id, _), each in sources.items():
        ordered = sorted(each, key=lambda step: step.timing.arrived_ns)
        for step, ms in zip(ordered, _source_shifts(ordered), strict=True):
            if abs(ms) > MIN_SHIFT_MS:
                shifts[id(step.timing)] = ClockShift(f"stamps of {frame_id or 'the source'}", ms)
    return shifts


def _by_machine(timings: Iterable[StageTiming]) -> list[list[StageTiming]]:
    """Return the timings with an age of each machine, ordered by their end."""
    machines: dict[int, list[StageTiming]] = defaultdict(list)
    for timing in timings:
        if timing.ended_ns and timing.stamp_ns and timing.age_ms is not None:
            machines[timing.clock_id].append(timing)
    return [sorted(each, key=lambda timing: timing.ended_ns) for each in machines.values()]


def _clock_rate(records: Sequence[StageTiming]) -> float | None:
    """Return the rate of the nodes' clock; None where it is that of the steady clock."""
    fifth = len(records) // 5
    if fifth < _MIN_LENGTH:
        return None
    offsets, ends = [], []
    for number in range(5):
        part = records[number * fifth : (number + 1) * fifth]
        offsets.append(float(np.median([_offset_ms(each, records[0]) for each in part])))
        ends.append(float(np.median([each.ended_ns - records[0].ended_ns for each in part])) / 1e6)
    elapsed_ms, drifted_ms = ends[-1] - ends[0], offsets[-1] - offsets[0]
    if elapsed_ms <= 0.0 or abs(drifted_ms) < _MIN_DRIFT * elapsed_ms:
        return None
    # A step is at one moment, drift is even.
    expected = [offsets[0] + drifted_ms * (end - ends[0]) / elapsed_ms for end in ends]
    apart = max(abs(one - other) for one, other in zip(offsets, expected, strict=True))
    return 1.0 + drifted_ms / elapsed_ms if apart < _MAX_UNEVEN * abs(drifted_ms) else None


def _machine_shifts(records: Sequence[StageTiming]) -> dict[int, ClockShift]:
    offsets = [_offset_ms(timing, records[0]) for timing in records]
    reference = float(np.median(offsets[: max(_MIN_LENGTH, len(offsets) // 5)]))
    by_node: dict[str, list[int]] = defaultdict(list)
    for index, timing in enumerate(records):
        by_node[timing.node].append(index)
    lasting: dict[int, float] = {}
    for indices in by_node.values():
        differences = [offsets[index] - reference for index in indices]
        lasting |= dict(zip(indices, _lasting(differences), strict=True))
    moved: dict[int, float] = {}
    for index, ms in lasting.items():
        slewed_ms = (records[index].ended_ns - records[0].ended_ns) / 1e6 * _SLEW
        if abs(ms) > MIN_SHIFT_MS + slewed_ms:
            moved[index] = ms
    nodes = {records[index].node for index in moved}
    is_common = len(by_node) > 1 and len(nodes) == len(by_node)
    return {
        id(records[index]): ClockShift(SYSTEM_CLOCK if is_common else records[index].node, ms)
        for index, ms in moved.items()
    }


def _offset_ms(timing: StageTiming, first: StageTiming) -> float:
    """Return the node's clock minus the steady clock, both since the first record."""
    stamp_ms = (timing.stamp_ns - first.stamp_ns) / 1e6
    return stamp_ms + (timing.age_ms or 0.0) - (timing.ended_ns - first.ended_ns) / 1e6


def _lasting(values: Sequence[float]) -> list[float]:
    """Return the shift at each value that its neighbors share; 0 where they differ.

    A thread that is interrupted between two clock readings makes single values wrong, each by
    another time; a clock that was set makes all of them wrong by the same.
    """
    lasting = []
    for index in range(len(values)):
        near = sorted(values[max(0, index - _REACH) : index + _REACH + 1])
        middle = near[len(near) // 2]
        agreeing = sum(abs(value - middle) < _AGREEMENT_MS for value in near)
        is_shared = agreeing >= _MIN_LENGTH and 2 * agreeing >= len(near)
        lasting.append(middle if is_shared else 0.0)
    return lasting


def _source_shifts(steps: Sequence[FrameStep]) -> list[float]:
    """Return the accumulated steps of a source's stamps at each frame."""
    shifts = [0.0]
    if len(steps) < 2 * _MIN_LENGTH:
        return [0.0] * len(steps)
    stamps_ms = np.diff([step.timing.stamp_ns for step in steps]) / 1e6
    arrivals_ms = np.diff([step.timing.arrived_ns for step in steps]) / 1e6
    period_ms = float(np.median(arrivals_ms))
    ways_ms = [step.way_ms or 0.0 for step in steps]
    for index, (stamp_ms, arrival_ms) in enumerate(zip(stamps_ms, arrivals_ms, strict=True)):
        step_ms = arrival_ms - stamp_ms
        if abs(step_ms) < MIN_SHIFT_MS:
            shifts.append(shifts[-1])
            continue
        before = _floor(ways_ms[max(0, index + 1 - 2 * _REACH) : index + 1])
        after = _floor(ways_ms[index + 1 : index + 1 + 2 * _REACH])
        is_step = (
            before is not None
            and after is not None
            and abs(after - before - step_ms) < 0.3 * abs(step_ms)
            # The stamps jump, not the arrivals.
            and abs(arrival_ms - period_ms) < 0.3 * abs(step_ms)
            # Frames that waited on their way, and then do not, were late before; but none arrives
            # before its capture.
            and (step_ms > 0.0 or float(np.median(after)) < 0.0)
        )
        shifts.append(shifts[-1] + (step_ms if is_step else 0.0))
    return shifts


def _floor(ways_ms: Sequence[float]) -> float | None:
    """Return the time of an undelayed way, on which some frames agree; None where they do not.

    Delays only make ways longer.
    """
    lowest = sorted(ways_ms)[:_MIN_LENGTH]
    if len(lowest) < _MIN_LENGTH or lowest[-1] - lowest[0] > _AGREEMENT_MS:
        return None
    return lowest[0]
