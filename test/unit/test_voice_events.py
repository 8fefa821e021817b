"""Delays computed from messages of the pipeline."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from benchmarks.voice_events import (
    control_periods_ns,
    count_dropped,
    first_motion_ns,
    format_percentiles,
    p95_ms,
    select_since,
    standstill_ns,
)


class Event(NamedTuple):
    arrival_ns: int
    topic: str
    content: Any


def velocities(*moves: float) -> list[Event]:
    """Return a velocity every 10 ns, with other events between them."""
    events = []
    for number, speed in enumerate(moves):
        events.append(Event(10 * number, "/cmd_vel", (speed, 0.0)))
        events.append(Event(10 * number + 5, "/ai/transcript", "words"))
    return events


@pytest.mark.parametrize(
    ("moves", "first", "still"),
    [
        ((), None, None),
        ((0.0,), None, 0),
        ((0.1,), 0, None),
        ((0.0, 0.1, 0.2), 10, None),
        ((0.1, 0.0, 0.0), 0, 10),
        ((0.1, 0.0, 0.1, 0.0, 0.0), 0, 30),
    ],
)
def test_motion_and_standstill(moves: tuple, first: int | None, still: int | None) -> None:
    assert first_motion_ns(velocities(*moves)) == first
    assert standstill_ns(velocities(*moves)) == still


def test_turn_is_a_motion() -> None:
    assert first_motion_ns([Event(7, "/cmd_vel", (0.0, -0.5))]) == 7


def test_control_periods_are_measured_during_motion() -> None:
    assert control_periods_ns(velocities(0.0, 0.1, 0.1, 0.0, 0.0, 0.1)) == [10, 10]


def test_earlier_messages_do_not_count() -> None:
    events = [Event(9, "/ai/intent", SimpleNamespace(stamp_ns=stamp)) for stamp in (1, 5, 6)]
    assert [content.stamp_ns for content in select_since(events, "/ai/intent", 5)] == [6]
    assert select_since(events, "/ai/action_plan", 0) == []


def test_drops_are_counted_by_stage_and_reason() -> None:
    events = [
        Event(0, "/ai/stage_timing", SimpleNamespace(stage=stage, dropped=reason))
        for stage, reason in (("ear", "late"), ("ear", ""), ("ear", "late"), ("mind", "late"))
    ]
    assert count_dropped(events) == {"ear late": 2, "mind late": 1}


def test_no_times_have_no_percentile() -> None:
    assert math.isnan(p95_ms([]))


@pytest.mark.parametrize(("count", "expected"), [(1, 1), (19, 19), (20, 19), (40, 38), (100, 95)])
def test_p95_bounds_95_of_100(count: int, expected: int) -> None:
    assert p95_ms([1e6 * number for number in range(count, 0, -1)]) == expected


def test_missed_stop_has_an_infinite_delay() -> None:
    assert p95_ms([1e6] * 9 + [math.inf]) == math.inf
    assert format_percentiles([1e6] * 9 + [math.inf]) == "p50 1.0  p95 inf  max inf ms (10 samples)"
