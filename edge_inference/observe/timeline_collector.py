"""Collects the timings of all stages, and puts together the timeline of each frame.

A frame is identified by its stamp, its frame_id and the namespace of the pipeline. Its way may have
branches (a drawing after the detections), so every end of a branch gives a timeline. Frames with
the same stamp, from a camera without stamps, are told apart by the moments of their stages.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from dataclasses import dataclass, field

from edge_inference.core.runtime.latency import StageTiming
from edge_inference.observe.frame_timeline import (
    STAGES_BEFORE,
    FrameTimeline,
    as_incomplete,
    join_way,
    rounding_ms,
    share_clock,
)

#: Stages after which a frame has reached the end of its pipeline.
LAST_STAGES = frozenset({"decode", "overlay", "voice_activity", "command"})

_INFINITY = float("inf")

_Key = tuple[str, str, int]


@dataclass(eq=False, slots=True)
class _Frame:
    """The timings with one stamp, and how many of them are in no timeline yet."""

    key: _Key
    entries: list[_Entry] = field(default_factory=list)
    unreported: int = 0


@dataclass(eq=False, slots=True)
class _Entry:
    timing: StageTiming
    frame: _Frame
    due_ns: int
    #: Whether the frame has gone no further than this.
    is_end: bool
    is_reported: bool = False
    is_forgotten: bool = False
    #: The stage before, in the timeline that was reported.
    before: _Entry | None = None
    #: Nodes after this one, in the timelines that were reported.
    receivers: tuple[str, ...] = ()


class TimelineCollector:
    """Yields the timeline of each frame; thread-safe.

    ``now_ns`` is any monotonic clock, the same in all calls. A frame is complete when the last
    stage of a pipeline has reported it, or a stage has dropped it, and all stages before have
    reported it too. What is incomplete ``deadline_s`` after its last report is yielded then, with
    ``is_complete`` False unless it has reached a last stage. Beyond ``MAX_TIMINGS``, or
    ``MAX_SAME_STAMP`` of one stamp, the oldest count as overdue.
    """

    MAX_TIMINGS = 20_000
    MAX_SAME_STAMP = 64

    def __init__(self, deadline_s: float = 20.0) -> None:
        self._deadline_ns = round(deadline_s * 1e9)
        self._lock = threading.Lock()
        self._order: deque[_Entry] = deque()
        self._frames: dict[_Key, _Frame] = {}
        #: Timings with impossible times, which are ignored.
        self.refused = 0

    def add(self, timing: StageTiming, now_ns: int) -> list[FrameTimeline]:
        """Add a timing; return the timelines that are complete or overdue now."""
        key = (timing.node.rpartition("/")[0], timing.frame_id, timing.stamp_ns)
        with self._lock:
            if not _is_possible(timing):
                self.refused += 1
                return []
            found = self._take_overdue(now_ns)
            frame = self._frames.get(key)
            if frame is None:
                frame = self._frames[key] = _Frame(key)
            entry = _Entry(timing, frame, now_ns + self._deadline_ns, _is_end(timing))
            entries = frame.entries
            entries.append(entry)
            frame.unreported += 1
            self._order.append(entry)
            for end in entries:
                if end.is_end and not end.is_reported:
                    way = _find_way(entries, end)
                    if _is_whole(way):
                        found.append(_report(way))
            if len(entries) > self.MAX_SAME_STAMP:
                found += self._forget(entries[0])
            if len(self._order) > self.MAX_TIMINGS:
                found += self._forget(self._order.popleft())
        return found

    def take_overdue(self, now_ns: int) -> list[FrameTimeline]:
        """Return the timelines of frames that are overdue now."""
        with self._lock:
            return self._take_overdue(now_ns)

    def find(self, stamp_ns: int) -> FrameTimeline | None:
        """Return the longest way so far of a frame with this stamp; None if there is none."""
        with self._lock:
            ways = [
                _find_way(frame.entries, end)
                for (_, _, each_ns), frame in self._frames.items()
                if each_ns == stamp_ns
                for end in frame.entries
            ]
        if not ways:
            return None
        return join_way([entry.timing for entry in max(ways, key=len)])

    def finish(self) -> list[FrameTimeline]:
        """Return the timelines of all remaining frames."""
        with self._lock:
            found = []
            while self._order:
                found += self._forget(self._order.popleft())
            return found

    def _take_overdue(self, now_ns: int) -> list[FrameTimeline]:
        found: list[FrameTimeline] = []
        while self._order and self._order[0].due_ns < now_ns:
            entry = self._order.popleft()
            ways = self._find_unreported(entry)
            if not ways:
                self._remove(entry)
                continue
            due_ns = max(way[-1].due_ns for way in ways)
            if due_ns >= now_ns:  # the frame is still on its way
                entry.due_ns = due_ns
                self._order.append(entry)
            else:
                found += self._forget(entry)
        return found

    def _forget(self, entry: _Entry) -> list[FrameTimeline]:
        """Forget a timing; return the timelines in which it is, and that were not reported."""
        found = []
        while ways := self._find_unreported(entry):
            found.append(_report(ways[0]))
        self._remove(entry)
        return found

    def _remove(self, entry: _Entry) -> None:
        if not entry.is_forgotten:
            entry.is_forgotten = True
            frame = entry.frame
            frame.entries.remove(entry)
            frame.unreported -= not entry.is_reported
            if not frame.entries:
                del self._frames[frame.key]

    def _find_unreported(self, entry: _Entry) -> list[list[_Entry]]:
        """Return the ways so far with this timing that were not reported, the newest first."""
        if entry.is_forgotten or not entry.frame.unreported:
            return []
        entries = entry.frame.entries
        ends = [each for each in reversed(entries) if not each.is_reported]
        return [way for end in ends if entry in (way := _find_way(entries, end))]


def _find_way(entries: list[_Entry], end: _Entry) -> list[_Entry]:
    """Return the way of a frame to ``end``."""
    way = [end]
    if _is_whole(way):
        return way
    while (before := _find_before(entries, way)) is not None:
        way.insert(0, before)
    return way


def _find_before(entries: list[_Entry], way: list[_Entry]) -> _Entry | None:
    """Return the stage before the way so far: the one that has ended last before the arrival."""
    if way[0].is_reported:
        return way[0].before
    first = way[0].timing
    arrived_ns = first.arrived_ns + rounding_ms(first) * 1e6
    known = STAGES_BEFORE.get(first.stage)
    best: _Entry | None = None
    for entry in entries:
        timing = entry.timing
        is_expected = known is not None and timing.stage in known
        # A stage of another package may be anywhere.
        if not is_expected and known is not None and timing.stage in STAGES_BEFORE:
            continue
        if timing.dropped or timing.node == first.node:
            continue
        if first.node in entry.receivers or entry in way:
            continue
        if not share_clock(timing, first):
            # Then only the names of the stages tell the order.
            if is_expected and best is None:
                best = entry
        elif timing.ended_ns <= arrived_ns and (
            best is None
            or not share_clock(best.timing, first)
            or _nearness(timing, first) > _nearness(best.timing, first)
        ):
            best = entry
    return best


def _nearness(before: StageTiming, timing: StageTiming) -> tuple[bool, int]:
    """Order the stages that may be before another; two models may have stages of one name."""
    return before.model == timing.model, before.ended_ns


def _report(way: list[_Entry]) -> FrameTimeline:
    for before, entry in itertools.pairwise(way):
        before.receivers += (entry.timing.node,)
        entry.before = before
    for entry in way:
        entry.frame.unreported -= not entry.is_reported
        entry.is_reported = True
    end = way[-1]
    timeline = join_way([entry.timing for entry in way])
    # A stage of another package may be the last one.
    is_complete = end.is_end or end.timing.stage not in STAGES_BEFORE
    return timeline if is_complete else as_incomplete(timeline)


def _is_end(timing: StageTiming) -> bool:
    return bool(timing.dropped) or timing.stage in LAST_STAGES


def _is_whole(way: list[_Entry]) -> bool:
    """Tell whether the way begins at the first stage of a pipeline."""
    return STAGES_BEFORE.get(way[0].timing.stage) == ()


def _is_possible(timing: StageTiming) -> bool:
    """Tell whether all times are finite and not negative."""
    process_ms, age_ms, publish_ms = timing.process_ms, timing.age_ms, timing.publish_ms
    return (
        0.0 <= timing.queue_ms < _INFINITY
        and (process_ms is None or 0.0 <= process_ms < _INFINITY)
        and (age_ms is None or 0.0 <= age_ms < _INFINITY)
        and (publish_ms is None or 0.0 <= publish_ms < _INFINITY)
    )
