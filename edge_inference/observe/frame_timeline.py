"""Joins the timings of the stages of one frame, from any process, to one timeline.

The stages of a frame have its stamp and frame_id. On one machine all moments are on one steady
clock, so steps of the system clock change only the time from capture to the first arrival.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from edge_inference.core.runtime.latency import StageTiming


class SegmentKind(enum.Enum):
    """What a frame does in a segment of its timeline."""

    #: From capture to the arrival at the first stage, or from one stage to the next.
    TRANSPORT = "transport"
    #: Waiting in the queue of a stage.
    QUEUE = "queue"
    PROCESS = "process"
    #: Publishing the output of the last stage.
    PUBLISH = "publish"


@dataclass(frozen=True)
class Segment:
    """A part of the timeline of a frame; ``stage`` is where it ends.

    ``ms`` is None where it is unknown, for example from a capture with an implausible stamp.
    """

    kind: SegmentKind
    stage: str
    node: str
    ms: float | None


@dataclass(frozen=True)
class FrameTimeline:
    """The way of one frame to the end of its last stage.

    ``stages`` are in the order of the way. ``end_to_end_ms`` is the age at the end of publishing,
    measured by the last stage alone; None where the stamp is implausible. ``dropped`` is the reason
    for a dropped frame.
    """

    stamp_ns: int
    frame_id: str
    stages: tuple[StageTiming, ...]
    segments: tuple[Segment, ...]
    end_to_end_ms: float | None
    dropped: str = ""
    clock_fault: str = ""


def join_timings(timings: Sequence[StageTiming]) -> FrameTimeline:
    """Join the timings of one frame along one way; they may come in any order.

    Raises ValueError without timings.
    """
    if not timings:
        raise ValueError("expected the timings of at least one stage, got none")
    stages = sorted(timings, key=lambda timing: timing.arrived_ns)
    segments: list[Segment] = []
    before: StageTiming | None = None
    for timing in stages:
        stage, node = timing.stage, timing.node
        segments.append(Segment(SegmentKind.TRANSPORT, stage, node, _transport_ms(before, timing)))
        segments.append(Segment(SegmentKind.QUEUE, stage, node, timing.queue_ms))
        if timing.process_ms is not None:
            segments.append(Segment(SegmentKind.PROCESS, stage, node, timing.process_ms))
        before = timing
    last = stages[-1]
    end_to_end_ms = None
    if not last.dropped:
        segments.append(Segment(SegmentKind.PUBLISH, last.stage, last.node, last.publish_ms))
        if last.age_ms is not None:
            end_to_end_ms = last.age_ms + (last.publish_ms or 0.0)
    return FrameTimeline(
        stamp_ns=last.stamp_ns,
        frame_id=last.frame_id,
        stages=tuple(stages),
        segments=tuple(segments),
        end_to_end_ms=end_to_end_ms,
        dropped=last.dropped,
        clock_fault=next((each.clock_fault for each in stages if each.clock_fault), ""),
    )


def _transport_ms(before: StageTiming | None, timing: StageTiming) -> float | None:
    """Return the time from the end of processing in the stage before, or from capture."""
    if before is None:
        return None if timing.age_ms is None else timing.age_ms - _in_stage_ms(timing)
    if before.clock_id == timing.clock_id != 0:
        return (timing.arrived_ns - before.ended_ns) / 1e6
    if before.age_ms is None or timing.age_ms is None:
        return None
    return timing.age_ms - _in_stage_ms(timing) - before.age_ms


def _in_stage_ms(timing: StageTiming) -> float:
    return timing.queue_ms + (timing.process_ms or 0.0)
