"""Timelines and latencies as text and as JSON, for every command that runs a pipeline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from edge_inference.core.runtime.latency import LatencyReport, Percentiles, StageLatency
from edge_inference.observe.frame_timeline import (
    STAGES_BEFORE,
    FrameTimeline,
    Segment,
    SegmentKind,
)

#: A shorter time in which no stage processed is left out of a line of text.
_MIN_SHOWN_MS = 1.0
_LOST = "lost"


def timeline_to_json(timeline: FrameTimeline | None) -> dict[str, Any]:
    """Return the way of a frame as keys of its JSON object; all None or empty without one."""
    segments = () if timeline is None else timeline.segments
    return {
        "timeline": [_segment_to_json(segment) for segment in segments],
        "sum_ms": None if timeline is None else rounded(timeline.sum_ms),
        "end_to_end_ms": None if timeline is None else rounded(timeline.end_to_end_ms),
        "clock_fault": "" if timeline is None else timeline.clock_fault,
    }


def format_timeline(timeline: FrameTimeline) -> str:
    """Return the way of a frame as a short text, in milliseconds, with the total.

    It has the processing in each stage, and from a millisecond on what the frame waited (on the
    way and in the queue) before it, and publishing. What is unknown is a question mark.
    """
    parts: list[str] = []
    waits: list[Segment] = []
    for segment in timeline.segments:
        if segment.kind is SegmentKind.PROCESS:
            parts += _format_long("waited", waits)
            parts.append(f"{segment.stage} {_format_ms(segment.ms)}")
            waits = []
        elif segment.kind is SegmentKind.PUBLISH:
            parts += _format_long("publish", [segment])
        else:
            waits.append(segment)
    parts += _format_long("waited", waits)
    return ", ".join([*parts, f"total {_format_ms(timeline.sum_ms)} ms"])


def sort_stages(report: LatencyReport) -> tuple[StageLatency, ...]:
    """Return a report's stages in the order in which a frame passes them, then other stages."""
    places = {stage: place for place, stage in enumerate(STAGES_BEFORE)}
    return tuple(sorted(report.stages, key=lambda each: places.get(each.stage, len(places))))


def stage_to_json(stage: StageLatency) -> dict[str, Any]:
    """Return the figures of a stage."""
    return {
        "count": stage.count,
        "rate_hz": rounded(stage.rate_hz),
        "process_ms": percentiles_to_json(stage.process),
        "queue_ms": percentiles_to_json(stage.queue),
        "age_ms": percentiles_to_json(stage.age),
        "dropped": stage.drops,
        "transport_ms": percentiles_to_json(stage.transport),
        "receive_ms": percentiles_to_json(stage.receive),
        "device_ms": percentiles_to_json(stage.device),
        "publish_ms": percentiles_to_json(stage.publish),
        "age_at_publish_ms": percentiles_to_json(stage.published_age),
        "clock_faults": stage.clock_faults,
    }


def percentiles_to_json(figures: Percentiles) -> dict[str, float | None]:
    """Return percentiles by name."""
    return {name: rounded(value) for name, value in asdict(figures).items()}


def rounded(value: float | None) -> float | None:
    """Return a number with three decimals; None where it is unknown."""
    return None if value is None else round(value, 3)


def count_lost(stages: Iterable[StageLatency]) -> int:
    """Return how many messages were lost on the way to any stage."""
    return sum(stage.drops.get(_LOST, 0) for stage in stages)


def _segment_to_json(segment: Segment) -> dict[str, Any]:
    written = {
        "segment": segment.kind.value,
        "stage": segment.stage,
        "ms": rounded(segment.ms),
    }
    if segment.device_ms is not None:
        written["device_ms"] = rounded(segment.device_ms)
    return written


def _format_long(name: str, segments: Sequence[Segment]) -> list[str]:
    known = [each.ms for each in segments if each.ms is not None]
    total = sum(known) if len(known) == len(segments) else None
    is_short = total is not None and total < _MIN_SHOWN_MS
    return [] if is_short else [f"{name} {_format_ms(total)}"]


def _format_ms(ms: float | None) -> str:
    return "?" if ms is None else f"{ms:.1f}"
