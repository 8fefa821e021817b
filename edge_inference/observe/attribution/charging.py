"""Charges the time by which each frame was late to causes.

A frame that waits in a queue is late because of what the stage did meanwhile: if the frame before
was held up, its causes are charged, at most for the time by which it was late itself.
"""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from edge_inference.core.runtime.latency import StageTiming
from edge_inference.observe.attribution.cause import Cause
from edge_inference.observe.attribution.frame_ways import FrameStep
from edge_inference.observe.attribution.observation import (
    Baseline,
    Normal,
    StageNormal,
    blocked_ms,
    published_ms,
)
from edge_inference.observe.attribution.process_holds import Held, ProcessWindow

#: Milliseconds by cause and subject.
Shares = dict[tuple[Cause, str], float]

#: Shorter delays are not attributed.
_MIN_MS = 0.3
#: Upper bound for a page fault without a disk; measured on a virtual machine.
_PAGE_FAULT_MS = 0.003
#: What a page fault takes at least.
_MIN_PAGE_FAULT_MS = 0.0003
#: A frame waits for at most so many others; the queue of a stage holds at most 100.
_MAX_BUSY = 128
#: Why frames are dropped before a stage works on them.
_NOT_PROCESSED = {"superseded", "rate_limited", "stopped", "too_old"}
#: The topic on which a stage publishes, relative to its namespace.
_OUTPUTS = {
    "preprocess": "tensor",
    "inference": "raw_output",
    "voice_activity": "speech",
    "speech_recognition": "transcript",
    "intent_parser": "intent",
    "planner": "action_plan",
}


class _Busy(NamedTuple):
    """The time for which a stage was busy with a frame, on the steady clock."""

    begin_ns: int
    end_ns: int
    timing: StageTiming


class Charging:
    """Charges the steps of a window; ``is_throttled`` tells it for a moment of the steady clock."""

    def __init__(
        self,
        baseline: Baseline,
        processes: Mapping[str, ProcessWindow],
        is_throttled: Callable[[int], bool],
    ) -> None:
        self._baseline = baseline
        self._processes = processes
        self._is_throttled = is_throttled
        #: Of each timing by id: in the stage itself, and including the way to it.
        self._own: dict[int, Shares] = {}
        self._total: dict[int, Shares] = {}
        self._busy: dict[str, list[_Busy]] = defaultdict(list)
        self._free_ns: dict[str, list[int]] = {}
        self._next: dict[int, list[StageTiming]] = defaultdict(list)
        #: Nodes that get more frames than they can process.
        self._overloaded: set[str] = set()

    def charge(self, steps: Sequence[FrameStep]) -> list[tuple[FrameStep, Shares]]:
        """Return what each step was held up by; the steps are ordered by their end."""
        for step in steps:
            if step.before is not None:
                self._next[id(step.before)].append(step.timing)
            if step.timing.dropped not in _NOT_PROCESSED:
                self._add_busy(step.timing)
        self._overloaded = self._find_overloaded(step.timing for step in steps)
        self._free_ns = {node: [each.end_ns for each in busy] for node, busy in self._busy.items()}
        charged = []
        # A frame is dropped while the stage is busy with another one, which ends later.
        for step in sorted(steps, key=lambda step: bool(step.timing.dropped)):
            timing = step.timing
            way = self._way_shares(step)
            late = _sum(self._upstream(step), way)
            own = _sum(
                self._queue_shares(step, sum(late.values())),
                self._process_shares(timing),
                self._publish_shares(timing),
            )
            self._own[id(timing)] = own
            self._total[id(timing)] = _sum(late, own)
            charged.append((step, _sum(way, own)))
        return charged

    # Parts of a step ----------------------------------------------------------------------------

    def _process_shares(self, timing: StageTiming) -> Shares:
        if timing.process_ms is None:
            return {}
        normal = self._baseline.stages.get(timing.node)
        held = self._held(timing.node, timing.started_ns, timing.ended_ns)
        run_queue = held.run_queue_ms if timing.run_queue_ms is None else timing.run_queue_ms
        shares: Shares = {}
        _add(shares, Cause.BUSY_CORE, timing.node, run_queue)
        if normal is None:  # too few frames to know what is usual
            return shares
        if timing.cpu_ms is None:
            blocked = normal.process.excess_ms(timing.process_ms) - run_queue
            rest = self._held_shares(timing.node, held, blocked, shares)
            self._add_slow(timing, rest, normal, shares)
            return shares
        device = normal.device.excess_ms(timing.device_ms or 0.0)
        blocked = max(0.0, normal.blocked.excess_ms(blocked_ms(timing)) - device)
        rest = self._held_shares(timing.node, held, blocked, shares)
        _add(shares, Cause.WAITING, timing.node, rest)
        computed = max(normal.cpu.excess_ms(timing.cpu_ms), device)
        self._add_slow(timing, computed, normal, shares)
        return shares

    def _publish_shares(self, timing: StageTiming) -> Shares:
        took_ms = published_ms(timing)
        if timing.publish_ms is None or took_ms is None:
            return {}
        shares: Shares = {}
        _add(shares, Cause.BUSY_CORE, timing.node, timing.publish_ms - took_ms)
        normal = self._baseline.stages.get(timing.node, StageNormal()).publish
        excess = normal.excess_ms(took_ms)
        if not excess:
            return shares
        # A full queue of the next stage may make the publisher wait.
        for following in self._next[id(timing)]:
            begin_ns = max(timing.ended_ns, following.arrived_ns)
            if following.started_ns >= timing.published_ns:
                wait = min(excess, (timing.published_ns - begin_ns) / 1e6)
                _add(shares, Cause.QUEUEING, following.node, wait)
                excess -= max(0.0, wait)
        held = self._held(timing.node, timing.ended_ns, timing.published_ns)
        is_unknown = timing.publish_run_queue_ms is None
        rest = self._held_shares(timing.node, held, excess, shares, with_run_queue=is_unknown)
        _add(shares, Cause.SLOW_SUBSCRIBER, output_topic(timing), rest)
        return shares

    def _queue_shares(self, step: FrameStep, late_ms: float) -> Shares:
        """Charge the wait of a frame that arrived ``late_ms`` late."""
        timing = step.timing
        begin_ns, end_ns = timing.arrived_ns, timing.started_ns
        normal_ms = self._baseline.stages.get(timing.node, StageNormal()).queue_ms
        if (end_ns - begin_ns) / 1e6 - normal_ms < _MIN_MS:
            return {}
        shares: Shares = {}
        idle_from_ns, inherent = begin_ns, 0.0
        for busy in self._busy_during(timing, begin_ns, end_ns):
            overlap_ns = min(busy.end_ns, end_ns) - max(busy.begin_ns, begin_ns)
            idle_from_ns = max(idle_from_ns, min(busy.end_ns, end_ns))
            inherent += self._charge_through(busy.timing, late_ms, overlap_ns / 1e6, shares)
        _add(shares, Cause.QUEUEING, timing.node, inherent - normal_ms)
        if timing.dropped and timing.dropped not in _NOT_PROCESSED:
            return shares  # the rest of its time is processing
        # The worker was free, and did not get to run.
        idle = (end_ns - idle_from_ns) / 1e6 - (0.0 if inherent else normal_ms)
        held = self._held(timing.node, idle_from_ns, end_ns)
        rest = self._held_shares(timing.node, held, idle, shares, with_run_queue=True)
        _add(shares, Cause.BUSY_CORE, timing.node, rest)
        return shares

    def _way_shares(self, step: FrameStep) -> Shares:
        timing, before, way_ms = step.timing, step.before, step.way_ms
        normal = self._baseline.stages.get(timing.node, StageNormal())
        received = normal.receive.excess_ms(timing.receive_ms or 0.0)
        way = self._baseline.ways.get(step.way, Normal())
        excess = max(received, 0.0 if way_ms is None else way.excess_ms(way_ms))
        shares: Shares = {}
        if not excess:
            return shares
        if before is not None and timing.receive_ms is None:
            # In one process the frame arrives while the stage before publishes it: that time is
            # charged there.
            excess -= min(before.publish_ms or 0.0, (timing.arrived_ns - before.ended_ns) / 1e6)
        from_ns = timing.arrived_ns - round(excess * 1e6)
        held = self._held(timing.node, from_ns, timing.arrived_ns)
        rest = self._held_shares(timing.node, held, excess, shares, with_run_queue=True)
        if before is not None and self._processes.get(before.node) is not self._processes.get(
            timing.node
        ):
            held = self._held(before.node, from_ns, timing.arrived_ns)
            rest = self._held_shares(before.node, held, rest, shares, with_run_queue=True)
        callback = min(rest, received)
        _add(shares, Cause.SLOW_CALLBACK, self._process_name(timing.node), callback)
        _add(shares, Cause.TRANSPORT, way_name(step), rest - callback)
        return shares

    # Helpers ------------------------------------------------------------------------------------

    def _charge_through(
        self, before: StageTiming, late_ms: float, overlap_ms: float, shares: Shares
    ) -> float:
        """Charge a wait behind the frame before; return the part that is the stage's usual time.

        The frame that waits arrived ``late_ms`` late.
        """
        if before.node in self._overloaded:
            return overlap_ms  # without what held the frame before, it would have waited as well
        own = self._own.get(id(before), {})
        rest = overlap_ms - _add_part(shares, own, overlap_ms)
        # The frame before may have come later than this one, so that both came together.
        total = self._total.get(id(before), {})
        upstream = {key: ms - own.get(key, 0.0) for key, ms in total.items()}
        bunched = sum(upstream.values()) - late_ms
        return rest - _add_part(shares, upstream, min(rest, max(0.0, bunched)))

    def _add_slow(
        self, timing: StageTiming, excess: float, normal: StageNormal, shares: Shares
    ) -> None:
        faults = timing.page_faults
        by_faults = min(excess, (faults - normal.page_faults) * _PAGE_FAULT_MS)
        usual_faults = min(faults, normal.page_faults) * _MIN_PAGE_FAULT_MS
        if usual_faults > 1.0:
            _add(shares, Cause.PAGE_FAULTS, timing.node, usual_faults)
        _add(shares, Cause.PAGE_FAULTS, timing.node, by_faults)
        is_throttled = self._is_throttled(timing.ended_ns)
        cause = Cause.THROTTLING if is_throttled else Cause.SLOW_PROCESSING
        subject = "machine" if is_throttled else timing.node
        _add(shares, cause, subject, excess - max(0.0, by_faults))

    def _held_shares(
        self,
        node: str,
        held: Held,
        ms: float,
        shares: Shares,
        *,
        with_run_queue: bool = False,
    ) -> float:
        """Charge a wait to what held the process up meanwhile; return the rest of it."""
        process = self._processes.get(node)
        if process is None:
            return max(0.0, ms)
        for cause, subject, part in (
            (Cause.PROCESS_STOPPED, process.name, held.stopped_ms),
            (Cause.BUSY_CORE, node, held.run_queue_ms if with_run_queue else 0.0),
            (Cause.INTERPRETER_LOCK, process.name, ms if process.is_contended else held.lock_ms),
        ):
            taken = min(max(0.0, ms), part)
            _add(shares, cause, subject, taken)
            ms -= taken
        return max(0.0, ms)

    def _held(self, node: str, begin_ns: int, end_ns: int) -> Held:
        process = self._processes.get(node)
        return Held() if process is None else process.held(begin_ns, end_ns)

    def _process_name(self, node: str) -> str:
        process = self._processes.get(node)
        return node if process is None else process.name

    def _add_busy(self, timing: StageTiming) -> None:
        busy = self._busy[timing.node]
        # When the processing of a dropped frame started is not known.
        begin_ns = timing.arrived_ns if timing.dropped else timing.started_ns
        begin_ns = max(begin_ns, busy[-1].end_ns) if busy else begin_ns
        busy.append(_Busy(begin_ns, max(begin_ns, timing.published_ns), timing))

    def _busy_during(self, timing: StageTiming, begin_ns: int, end_ns: int) -> list[_Busy]:
        """Return what the stage did with other frames between two moments."""
        busy = self._busy[timing.node]
        free_ns = self._free_ns.get(timing.node, [])
        index = bisect.bisect_right(free_ns, begin_ns)
        index = max(index, bisect.bisect_left(free_ns, end_ns) - _MAX_BUSY)
        found: list[_Busy] = []
        while index < len(busy) and busy[index].begin_ns < end_ns:
            if busy[index].timing is not timing:
                found.append(busy[index])
            index += 1
        return found

    def _find_overloaded(self, timings: Iterable[StageTiming]) -> set[str]:
        """Return the nodes at which frames arrive faster than they are usually processed."""
        arrivals: dict[str, list[int]] = defaultdict(list)
        for timing in timings:
            arrivals[timing.node].append(timing.arrived_ns)
        return {
            node
            for node, times in arrivals.items()
            if (normal := self._baseline.stages.get(node)) is not None
            and (max(times) - min(times)) / 1e6 < normal.process.ms * (len(times) - 1)
        }

    def _upstream(self, step: FrameStep) -> Shares:
        return {} if step.before is None else self._total.get(id(step.before), {})


def output_topic(timing: StageTiming) -> str:
    """Return the topic on which a stage publishes; the node where it is not known."""
    namespace = timing.node.rpartition("/")[0]
    topic = _OUTPUTS.get(timing.stage)
    return f"output of {timing.node}" if topic is None else f"{namespace}/{topic}"


def way_name(step: FrameStep) -> str:
    """Return the way of a frame to a stage, in words."""
    return f"{step.way[0] or 'source'} to {step.way[1]}"


def _add(shares: Shares, cause: Cause, subject: str, ms: float) -> None:
    if ms > _MIN_MS:
        shares[cause, subject] = shares.get((cause, subject), 0.0) + ms


def _add_part(shares: Shares, causes: Shares, ms: float) -> float:
    """Charge up to ``ms`` in the proportions of ``causes``; return what was charged."""
    known = {key: value for key, value in causes.items() if value > 0.0}
    total = sum(known.values())
    part = min(ms, total)
    if part <= _MIN_MS:
        return 0.0
    for key, value in known.items():
        shares[key] = shares.get(key, 0.0) + value * part / total
    return part


def _sum(*parts: Shares) -> Shares:
    result: Shares = {}
    for part in parts:
        for key, ms in part.items():
            result[key] = result.get(key, 0.0) + ms
    return result
