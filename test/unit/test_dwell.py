"""How long a node keeps an engine."""

from __future__ import annotations

import pytest

from edge_inference.governor.dwell import Dwell


def choose(dwell: Dwell, requested: int, time_s: float, *, is_urgent: bool = False) -> int:
    """Request an operating point; a higher index is cheaper."""
    return dwell.choose(
        requested,
        is_cheaper=requested > dwell.operating_point,
        time_s=time_s,
        down_s=10.0,
        up_s=60.0,
        is_urgent=is_urgent,
    )


def time_of_change(dwell: Dwell, requested: int, start_s: float, end_s: float) -> float | None:
    """Request an operating point all the time; return the time of the change."""
    time_s = start_s
    while time_s <= end_s:
        if choose(dwell, requested, time_s) == requested:
            return time_s
        time_s += 0.5
    return None


def test_the_first_change_does_not_wait() -> None:
    assert choose(Dwell(0, 0.0), 1, 0.5) == 1


def test_a_second_change_to_a_cheaper_engine_waits() -> None:
    dwell = Dwell(0, 0.0)
    choose(dwell, 1, 100.0)
    assert time_of_change(dwell, 2, 100.5, 200.0) == 110.0


def test_an_emergency_does_not_wait() -> None:
    dwell = Dwell(0, 0.0)
    choose(dwell, 1, 100.0)
    assert choose(dwell, 2, 100.5, is_urgent=True) == 2


def test_an_emergency_never_leads_to_a_more_expensive_engine() -> None:
    assert choose(Dwell(2, 0.0), 0, 1000.0, is_urgent=True) == 2


def test_a_more_expensive_engine_must_be_requested_all_the_time() -> None:
    dwell = Dwell(0, 0.0)
    choose(dwell, 1, 0.0)
    assert time_of_change(dwell, 0, 100.0, 150.0) is None
    choose(dwell, 1, 150.5)
    assert time_of_change(dwell, 0, 151.0, 300.0) == 211.0


def test_after_a_recent_change_the_next_one_waits() -> None:
    assert time_of_change(Dwell(2, 0.0, changed=True), 0, 0.0, 100.0) == 60.0


def test_each_engine_that_was_not_kept_makes_the_next_wait_longer() -> None:
    dwell = Dwell(1, 0.0, changed=True)
    waits = []
    time_s = 0.0
    for _ in range(4):
        changed_s = time_of_change(dwell, 0, time_s, time_s + 4000.0)
        assert changed_s is not None
        waits.append(changed_s - time_s)
        time_s = changed_s + 100.0
        choose(dwell, 1, time_s)
    assert waits == [60.0, 360.0, 1920.0, 1920.0]


def test_an_engine_that_was_kept_makes_waits_short_again() -> None:
    dwell = Dwell(1, 0.0, changed=True)
    time_of_change(dwell, 0, 0.0, 100.0)
    choose(dwell, 1, 100.0)
    assert time_of_change(dwell, 0, 100.0, 1000.0) == 460.0
    choose(dwell, 0, 460.0 + 1800.0)
    choose(dwell, 1, 2300.0)
    assert time_of_change(dwell, 0, 2300.0, 3000.0) == 2360.0


@pytest.mark.parametrize("back_to_s", [0.0, 50.0])
def test_a_clock_set_back_restarts_the_wait(back_to_s: float) -> None:
    dwell = Dwell(1, 0.0)
    choose(dwell, 0, 1000.0)
    assert choose(dwell, 0, back_to_s) == 1
    assert time_of_change(dwell, 0, back_to_s, back_to_s + 100.0) == back_to_s + 60.0
