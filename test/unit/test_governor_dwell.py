"""How long a node stays with an engine."""

from __future__ import annotations

import pytest

from edge_inference.governor.dwell import Dwell


def choose(dwell: Dwell, wanted: int, time_s: float, *, now: bool = False) -> int:
    """Ask for an operating point; a higher index is cheaper."""
    return dwell.choose(
        wanted,
        is_cheaper=wanted > dwell.operating_point,
        time_s=time_s,
        down_s=10.0,
        up_s=60.0,
        now=now,
    )


def want(dwell: Dwell, wanted: int, start_s: float, end_s: float) -> float | None:
    """Want an operating point all the time; return when it came."""
    time_s = start_s
    while time_s <= end_s:
        if choose(dwell, wanted, time_s) == wanted:
            return time_s
        time_s += 0.5
    return None


def test_the_first_change_does_not_wait() -> None:
    assert choose(Dwell(0, 0.0), 1, 0.5) == 1


def test_a_second_change_to_a_cheaper_engine_waits() -> None:
    dwell = Dwell(0, 0.0)
    choose(dwell, 1, 100.0)
    assert want(dwell, 2, 100.5, 200.0) == 110.0


def test_an_emergency_does_not_wait() -> None:
    dwell = Dwell(0, 0.0)
    choose(dwell, 1, 100.0)
    assert choose(dwell, 2, 100.5, now=True) == 2


def test_an_emergency_never_leads_to_a_dearer_engine() -> None:
    assert choose(Dwell(2, 0.0), 0, 1000.0, now=True) == 2


def test_a_dearer_engine_must_be_wanted_all_the_time() -> None:
    dwell = Dwell(0, 0.0)
    choose(dwell, 1, 0.0)
    assert want(dwell, 0, 100.0, 150.0) is None
    choose(dwell, 1, 150.5)
    assert want(dwell, 0, 151.0, 300.0) == 211.0


def test_after_a_change_just_now_the_next_has_to_wait() -> None:
    assert want(Dwell(2, 0.0, changed=True), 0, 0.0, 100.0) == 60.0


def test_each_engine_that_could_not_be_kept_makes_the_next_wait_longer() -> None:
    dwell = Dwell(1, 0.0, changed=True)
    waits = []
    time_s = 0.0
    for _ in range(4):
        came = want(dwell, 0, time_s, time_s + 4000.0)
        assert came is not None
        waits.append(came - time_s)
        time_s = came + 100.0
        choose(dwell, 1, time_s)
    assert waits == [60.0, 360.0, 1920.0, 1920.0]


def test_an_engine_that_was_kept_makes_waits_short_again() -> None:
    dwell = Dwell(1, 0.0, changed=True)
    want(dwell, 0, 0.0, 100.0)
    choose(dwell, 1, 100.0)
    assert want(dwell, 0, 100.0, 1000.0) == 460.0
    choose(dwell, 0, 460.0 + 1800.0)
    choose(dwell, 1, 2300.0)
    assert want(dwell, 0, 2300.0, 3000.0) == 2360.0


@pytest.mark.parametrize("back_to_s", [0.0, 50.0])
def test_a_clock_set_back_starts_the_wait_anew(back_to_s: float) -> None:
    dwell = Dwell(1, 0.0)
    choose(dwell, 0, 1000.0)
    assert choose(dwell, 0, back_to_s) == 1
    assert want(dwell, 0, back_to_s, back_to_s + 100.0) == back_to_s + 60.0
