"""Computes delays from the messages of the pipeline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol


class TimedEvent(Protocol):
    """A received message with its arrival time."""

    @property
    def arrival_ns(self) -> int:
        """The arrival time."""

    @property
    def topic(self) -> str:
        """The topic."""

    @property
    def content(self) -> Any:
        """The object; for ``/cmd_vel`` (m/s, rad/s)."""


def first_motion_ns(events: Iterable[TimedEvent]) -> int | None:
    """Return the arrival time of the first velocity that is not zero."""
    return next((e.arrival_ns for e in events if e.topic == "/cmd_vel" and any(e.content)), None)


def standstill_ns(events: Iterable[TimedEvent]) -> int | None:
    """Return when the final standstill began; None if the robot still moves."""
    since = None
    for event in events:
        if event.topic == "/cmd_vel":
            if any(event.content):
                since = None
            elif since is None:
                since = event.arrival_ns
    return since


def control_periods_ns(events: Iterable[TimedEvent]) -> list[int]:
    """Return the times between consecutive velocities while the robot moves."""
    times = []
    before: int | None = None
    for event in events:
        if event.topic == "/cmd_vel":
            if before is not None:
                times.append(event.arrival_ns - before)
            before = event.arrival_ns if any(event.content) else None
    return times


def select_topic(events: Iterable[TimedEvent], topic: str) -> list[Any]:
    """Return the objects of one topic."""
    return [event.content for event in events if event.topic == topic]


def select_since(events: Iterable[TimedEvent], topic: str, moment_ns: int) -> list[Any]:
    """Return the objects of one topic about speech after a point in time."""
    return [content for content in select_topic(events, topic) if content.stamp_ns > moment_ns]


def count_dropped(events: Sequence[TimedEvent]) -> dict[str, int]:
    """Count dropped items by stage and reason."""
    counts: dict[str, int] = {}
    for timing in select_topic(events, "/ai/stage_timing"):
        if timing.dropped:
            key = f"{timing.stage} {timing.dropped}"
            counts[key] = counts.get(key, 0) + 1
    return counts


def p95_ms(times_ns: Sequence[float]) -> float:
    """Return the 95th percentile in milliseconds; NaN without times."""
    if not times_ns:
        return float("nan")
    return sorted(times_ns)[-(-95 * len(times_ns) // 100) - 1] / 1e6


def format_percentiles(times_ns: Sequence[float]) -> str:
    """Return the median, the 95th percentile and the maximum as text."""
    ordered = sorted(times_ns)
    p50, longest = ordered[(len(ordered) - 1) // 2] / 1e6, ordered[-1] / 1e6
    return (
        f"p50 {p50:.1f}  p95 {p95_ms(ordered):.1f}  max {longest:.1f} ms ({len(ordered)} samples)"
    )
