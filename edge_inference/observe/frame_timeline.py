"""Joins the timings of the stages of one frame, from any process, to one timeline.

The stages of a frame have its stamp and frame_id. On one machine all moments are on one steady
clock, so steps of the system clock change only the time from capture to the first arrival. Between
machines only the ages on the ROS clock can be compared; where they contradict each other, the
clocks of the machines differ, and the times that depend on both are unknown.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import NamedTuple

from edge_inference.core.runtime.capture_stamps import STAMP_IN_FUTURE
from edge_inference.core.runtime.latency import StageTiming

#: ``clock_fault`` of a frame that arrives at a machine before another machine has sent it.
CLOCKS_DIFFER = "clocks_differ"
#: ``clock_fault`` of a frame whose moments on one steady clock contradict each other.
STEADY_CLOCK = "steady_clock"

#: The stages from which each stage of the shipped pipelines receives its frames, in the order of
#: the pipelines; empty for a first stage. A stage of another package may be in between, or follow.
STAGES_BEFORE: dict[str, tuple[str, ...]] = {
    "preprocess": (),
    "inference": ("preprocess",),
    "decode": ("inference",),
    "overlay": ("decode",),
    "voice_activity": (),
    "speech_recognition": (),
    "intent_parser": ("speech_recognition",),
    "language_model": ("intent_parser",),
    "planner": ("intent_parser", "language_model"),
    "command": ("planner",),
}

#: A frame does not travel longer between two stages; a longer time is not a time.
_MAX_TRANSPORT_MS = 3_600_000.0
# A stage reads its clocks one after the other, and a message has ages as float32.
_CLOCK_READ_MS = 0.05
_FLOAT32_ERROR = 2.0**-23


class SegmentKind(enum.Enum):
    """What a frame does in a segment of its timeline."""

    #: From capture to the arrival at the first stage, or from one stage to the next.
    TRANSPORT = "transport"
    #: From reception by the middleware to the callback, for a message from another process.
    RECEIVE = "receive"
    #: Waiting in the queue of a stage.
    QUEUE = "queue"
    PROCESS = "process"
    #: Publishing the output of the last stage.
    PUBLISH = "publish"


class Segment(NamedTuple):
    """A part of the timeline of a frame; ``stage`` is where it ends.

    ``ms`` is None where it is unknown, for example from a capture with an implausible stamp; it is
    never negative. ``device_ms`` is the part of it on an accelerator.
    """

    kind: SegmentKind
    stage: str
    node: str
    ms: float | None
    device_ms: float | None = None


class FrameTimeline(NamedTuple):
    """The way of one frame to the end of its last stage; a named tuple as StageTiming.

    ``stages`` are in the order of the way; ``transports_ms`` are the times from the end of the
    stage before, or from capture, to the arrival at each of them, where known. ``end_to_end_ms`` is
    the age at the end of publishing, measured by the last stage alone, without publishing where
    that is unknown; None where the stamp is implausible, or the clock of the last stage differs
    from that of the first. ``dropped`` is the reason for a dropped frame. ``clock_fault`` names a
    fault of the stamp (as in StageTiming) or of the clocks. ``is_complete`` is False for a frame
    that another stage should have received, and no other stage has reported in time.
    """

    stamp_ns: int
    frame_id: str
    stages: tuple[StageTiming, ...]
    transports_ms: tuple[float | None, ...]
    end_to_end_ms: float | None
    dropped: str = ""
    clock_fault: str = ""
    is_complete: bool = True

    @property
    def last(self) -> StageTiming:
        """The timing of the last stage."""
        return self.stages[-1]

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The parts of the way, in their order."""
        segments: list[Segment] = []
        for timing, transport_ms in zip(self.stages, self.transports_ms, strict=True):
            segments += _segments_of(timing, transport_ms)
        last = self.last
        if not last.dropped and last.publish_ms is not None:
            segments.append(Segment(SegmentKind.PUBLISH, last.stage, last.node, last.publish_ms))
        return tuple(segments)

    @property
    def sum_ms(self) -> float | None:
        """The sum of the segments; None where one of them is unknown."""
        segments = self.segments
        known = [segment.ms for segment in segments if segment.ms is not None]
        return sum(known) if len(known) == len(segments) else None


def join_timings(timings: Sequence[StageTiming]) -> FrameTimeline:
    """Join the timings of one frame along one way.

    They may come in any order if they are all on one steady clock, or of the shipped pipelines;
    else the given order counts. Raises ValueError without timings.
    """
    if not timings:
        raise ValueError("expected the timings of at least one stage, got none")
    if all(share_clock(timings[0], timing) for timing in timings):
        return join_way(sorted(timings, key=lambda timing: timing.arrived_ns))
    if all(timing.stage in STAGES_BEFORE for timing in timings):
        places = {stage: place for place, stage in enumerate(STAGES_BEFORE)}
        return join_way(sorted(timings, key=lambda timing: places[timing.stage]))
    return join_way(timings)


def join_way(stages: Sequence[StageTiming]) -> FrameTimeline:
    """Join the timings of one frame, which are in the order of its way."""
    transports_ms = []
    faults = [timing.clock_fault for timing in stages if timing.clock_fault]
    before: StageTiming | None = None
    for timing in stages:
        transport_ms, fault = _transport(before, timing)
        if fault:
            faults.append(fault)
        transports_ms.append(transport_ms)
        before = timing
    last = stages[-1]
    end_to_end_ms = None
    is_same_clock = not faults or (
        stages[0].clock_id == last.clock_id and set(faults) <= {CLOCKS_DIFFER}
    )
    if last.age_ms is not None and is_same_clock and not last.dropped:
        end_to_end_ms = last.age_ms + (last.publish_ms or 0.0)
    return FrameTimeline(
        stamp_ns=last.stamp_ns,
        frame_id=last.frame_id,
        stages=tuple(stages),
        transports_ms=tuple(transports_ms),
        end_to_end_ms=end_to_end_ms,
        dropped=last.dropped,
        clock_fault=faults[0] if faults else "",
    )


def as_incomplete(timeline: FrameTimeline) -> FrameTimeline:
    """Return the timeline of a frame that has not reached the end of its way."""
    return timeline._replace(end_to_end_ms=None, is_complete=False)


def share_clock(one: StageTiming, other: StageTiming) -> bool:
    """Tell whether the moments of two timings are on one steady clock, and known."""
    return one.clock_id == other.clock_id != 0 and one.ended_ns > 0 and other.ended_ns > 0


def rounding_ms(timing: StageTiming) -> float:
    """Return by how much the arrival may be wrong, because messages have durations as float32."""
    return _in_stage_ms(timing) * _FLOAT32_ERROR


def split_transport(
    timing: StageTiming, transport_ms: float | None
) -> tuple[float | None, float | None]:
    """Return the transport up to the reception by the middleware, and from there to the arrival.

    The second one is None where the frame did not come through the middleware.
    """
    received_ms = timing.receive_ms
    # The middleware stamps the reception on the system clock; after a step it may not fit.
    if received_ms is None or transport_ms is None or received_ms > transport_ms:
        return transport_ms, None
    return transport_ms - received_ms, received_ms


def _segments_of(timing: StageTiming, transport_ms: float | None) -> list[Segment]:
    stage, node = timing.stage, timing.node
    transport_ms, received_ms = split_transport(timing, transport_ms)
    segments = [Segment(SegmentKind.TRANSPORT, stage, node, transport_ms)]
    if received_ms is not None:
        segments.append(Segment(SegmentKind.RECEIVE, stage, node, received_ms))
    segments.append(Segment(SegmentKind.QUEUE, stage, node, timing.queue_ms))
    if timing.process_ms is not None:
        process = Segment(
            SegmentKind.PROCESS, stage, node, timing.process_ms, device_ms=timing.device_ms
        )
        segments.append(process)
    return segments


def _transport(before: StageTiming | None, timing: StageTiming) -> tuple[float | None, str]:
    """Return the time from the end of processing in the stage before, or from capture.

    With it comes the fault of the clocks that makes it unknown, or an empty text.
    """
    if before is not None and share_clock(before, timing):
        ms, tolerance_ms = (timing.arrived_ns - before.ended_ns) / 1e6, rounding_ms(timing)
        return _check(ms, tolerance_ms, STEADY_CLOCK)
    if timing.age_ms is None or (before is not None and before.age_ms is None):
        return None, ""
    arrived_ms = timing.age_ms - _in_stage_ms(timing)
    tolerance_ms = _CLOCK_READ_MS + timing.age_ms * _FLOAT32_ERROR
    if before is None or before.age_ms is None:
        return _check(arrived_ms, tolerance_ms, STAMP_IN_FUTURE, longest_ms=timing.age_ms)
    return _check(arrived_ms - before.age_ms, tolerance_ms, CLOCKS_DIFFER)


def _check(
    ms: float, tolerance_ms: float, fault: str, longest_ms: float = _MAX_TRANSPORT_MS
) -> tuple[float | None, str]:
    is_time = -tolerance_ms <= ms <= longest_ms
    return (max(0.0, ms), "") if is_time else (None, fault)


def _in_stage_ms(timing: StageTiming) -> float:
    return timing.queue_ms + (timing.process_ms or 0.0)
