"""The PI controller: bounded, nothing winds up, fast down, slow up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_inference.governor.power_control import PowerController


def run(control: PowerController, error_c: float, seconds: float) -> float:
    budget = 0.0
    for _ in range(round(seconds / 0.5)):
        budget = control.update(error_c, 0.5, 5.0, 25.0)
    return budget


def test_a_cool_machine_has_everything_from_the_start() -> None:
    assert run(PowerController(), 40.0, 0.5) == 25.0


def test_too_hot_takes_away_at_once_and_more_with_time() -> None:
    control = PowerController()
    run(control, 3.0, 60.0)
    soon, later = run(control, -3.0, 12.0), run(control, -3.0, 60.0)
    assert 15.0 < soon < 23.0
    assert later < soon - 3.0


@pytest.mark.parametrize("hours", [1, 10])
def test_the_integral_does_not_wind_up(hours: int) -> None:
    control = PowerController()
    run(control, 40.0, hours * 3600.0)
    assert run(control, -6.0, 30.0) < 18.0
    run(control, -40.0, hours * 3600.0)
    # The way back takes as long as after a short time, not longer.
    assert run(control, 6.0, 120.0) > 20.0


def test_it_falls_faster_than_it_rises() -> None:
    control = PowerController()
    run(control, 3.0, 60.0)
    falls = 25.0 - run(control, -5.0, 20.0)
    low = run(control, -40.0, 600.0)
    assert low == 5.0
    rises = run(control, 5.0, 20.0) - low
    assert falls > 1.2 * rises


def test_who_was_never_held_back_may_want_more() -> None:
    control = PowerController()
    assert control.update(40.0, 0.5, 5.0, 10.0) == 10.0
    assert control.update(40.0, 0.5, 5.0, 25.0) == 25.0
    run(control, -3.0, 60.0)
    held = control.update(1.0, 0.5, 5.0, 25.0)
    assert control.update(1.0, 0.5, 5.0, 50.0) < held + 2.0


def test_what_was_dropped_comes_back_slowly() -> None:
    control = PowerController()
    run(control, 40.0, 60.0)
    control.drop()
    assert run(control, 40.0, 0.5) == pytest.approx(5.2)
    assert run(control, 40.0, 60.0) == 25.0


def test_time_that_stands_moves_no_integral() -> None:
    control = PowerController()
    run(control, -2.0, 10.0)
    first = control.update(-2.0, 0.0, 5.0, 25.0)
    for _ in range(1000):
        assert control.update(-2.0, 0.0, 5.0, 25.0) == first


@given(
    st.lists(st.tuples(st.floats(-100, 100), st.floats(0, 2)), min_size=1, max_size=50),
    st.floats(0, 50),
    st.floats(0, 50),
)
def test_the_budget_stays_within_its_bounds(
    steps: list[tuple[float, float]], lowest: float, span: float
) -> None:
    control = PowerController()
    for error_c, elapsed_s in steps:
        budget = control.update(error_c, elapsed_s, lowest, lowest + span)
        assert lowest <= budget <= lowest + span
