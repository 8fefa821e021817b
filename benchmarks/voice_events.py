"""Reads from what the pipeline published how late it was."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol


class Happened(Protocol):
    """Something published, and when it came."""

    @property
    def at_ns(self) -> int:
        """When it came."""

    @property
    def topic(self) -> str:
        """Where."""

    @property
    def what(self) -> Any:
        """The object; of ``/cmd_vel`` (m/s, rad/s)."""


def first_motion_ns(events: Iterable[Happened]) -> int | None:
    """Return when the first velocity came that is not zero."""
    return next((e.at_ns for e in events if e.topic == "/cmd_vel" and any(e.what)), None)


def standstill_ns(events: Iterable[Happened]) -> int | None:
    """Return when the first of the zeros came that no other velocity follows; None in motion."""
    since = None
    for event in events:
        if event.topic == "/cmd_vel":
            if any(event.what):
                since = None
            elif since is None:
                since = event.at_ns
    return since


def cycles_ns(events: Iterable[Happened]) -> list[int]:
    """Return the times between one velocity and the next while the robot moves."""
    times = []
    before: int | None = None
    for event in events:
        if event.topic == "/cmd_vel":
            if before is not None:
                times.append(event.at_ns - before)
            before = event.at_ns if any(event.what) else None
    return times


def of_topic(events: Iterable[Happened], topic: str) -> list[Any]:
    """Return the objects of one topic."""
    return [event.what for event in events if event.topic == topic]


def said_since(events: Iterable[Happened], topic: str, moment_ns: int) -> list[Any]:
    """Return the objects of one topic that are about what was said after a moment."""
    return [what for what in of_topic(events, topic) if what.stamp_ns > moment_ns]


def dropped(events: Sequence[Happened]) -> dict[str, int]:
    """Count what stages have dropped, by stage and reason."""
    counts: dict[str, int] = {}
    for timing in of_topic(events, "/ai/stage_timing"):
        if timing.dropped:
            key = f"{timing.stage} {timing.dropped}"
            counts[key] = counts.get(key, 0) + 1
    return counts


def p95_ms(times_ns: Sequence[float]) -> float:
    """Return the 95th percentile in milliseconds: the time that 95 % kept to; NaN without times."""
    if not times_ns:
        return float("nan")
    return sorted(times_ns)[-(-95 * len(times_ns) // 100) - 1] / 1e6


def percentiles(times_ns: Sequence[float]) -> str:
    """Return the median, the 95th percentile and the longest time in words."""
    ordered = sorted(times_ns)
    p50, longest = ordered[(len(ordered) - 1) // 2] / 1e6, ordered[-1] / 1e6
    return (
        f"p50 {p50:.1f}  p95 {p95_ms(ordered):.1f}  max {longest:.1f} ms ({len(ordered)} samples)"
    )
