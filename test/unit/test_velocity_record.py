"""The record of published velocities, and its summary."""

from __future__ import annotations

import pytest

from edge_inference.cli.voice.velocity_record import (
    CommandedMotion,
    VelocityRecord,
    format_velocity,
)

PERIOD_S = 0.04


def ns(seconds: float) -> int:
    return round(seconds * 1e9)


def drive(record: VelocityRecord, start_s: float, *velocities: float) -> float:
    """Send m/s every 40 ms; return when the next one is due."""
    for number, velocity in enumerate(velocities):
        record.add(ns(start_s + number * PERIOD_S), (velocity, 0.0))
    return start_s + len(velocities) * PERIOD_S


def test_an_empty_record() -> None:
    record = VelocityRecord()
    assert (record.velocity, record.between(0, None)) == ((0.0, 0.0), CommandedMotion())
    assert str(CommandedMotion()) == "none"


def test_held_velocities_are_listed_and_ramps_count_for_the_distance() -> None:
    record = VelocityRecord()
    ramp = [0.05, 0.1, 0.15, 0.2]
    drive(record, 1.0, 0.0, *ramp, *[0.25] * 100, *reversed(ramp), 0.0, 0.0)
    moves = record.between(ns(1.0), None)
    ((velocity, seconds),) = moves.held
    assert velocity == (0.25, 0.0)
    assert seconds == pytest.approx(4.0)
    assert moves.distance_m == pytest.approx(1.0 + 2 * 0.5 * PERIOD_S)
    assert (moves.angle_rad, moves.stopped) == (0.0, False)
    assert str(moves) == "0.25 m/s for 4.0 s (1.04 m with acceleration and braking)"


def test_a_period_ends_where_the_next_begins() -> None:
    record = VelocityRecord()
    middle_s = drive(record, 1.0, *[0.25] * 25)
    drive(record, middle_s, *[-0.5] * 25, 0.0)
    first = record.between(ns(1.0), ns(middle_s))
    second = record.between(ns(middle_s), None)
    assert [velocity for velocity, _ in first.held] == [(0.25, 0.0)]
    assert [velocity for velocity, _ in second.held] == [(-0.5, 0.0)]
    assert first.distance_m == pytest.approx(0.25)
    assert second.distance_m == pytest.approx(-0.5)


def test_only_zero_at_once_while_moving_is_a_stop() -> None:
    record = VelocityRecord()
    stopped_s = drive(record, 1.0, *[0.25] * 25)
    drive(record, stopped_s, *[0.0] * 25)
    stop = record.between(ns(stopped_s), None)
    assert stop.stopped
    assert str(stop) == "0 m/s at once"
    # Later it stands still anyway, and braking takes its time.
    assert not record.between(ns(stopped_s + 0.2), None).stopped
    braking = VelocityRecord()
    stopped_s = drive(braking, 1.0, *[0.25] * 25)
    drive(braking, stopped_s, 0.2, 0.15, 0.1, 0.05, 0.0, 0.0)
    assert not braking.between(ns(stopped_s), None).stopped


@pytest.mark.parametrize(
    ("velocity", "words"),
    [
        ((0.0, 0.0), "0 m/s"),
        ((0.25, 0.0), "0.25 m/s"),
        ((0.0, -0.5), "-0.5 rad/s"),
        ((0.1, 0.2), "0.1 m/s and 0.2 rad/s"),
    ],
)
def test_a_velocity_as_text(velocity: tuple[float, float], words: str) -> None:
    assert format_velocity(velocity) == words
