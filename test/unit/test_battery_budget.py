"""The power that a battery may deliver to last for a given time."""

from __future__ import annotations

import math

import pytest

from edge_inference.core.reading import Quantity, Reading, Role
from edge_inference.governor.battery_budget import BatteryBudget, BatteryPlan
from governor_cases import SECOND, START_NS, energy, sensor, state, watts


def charge(share: float) -> Reading:
    return sensor(Role.BATTERY_CHARGE, share, Quantity.SHARE)


@pytest.mark.parametrize(
    ("readings", "plan"),
    [
        ([energy(36_000.0)], BatteryPlan(10.0, 60.0)),
        ([energy(36_000.0), charge(0.5)], BatteryPlan(8.0, 60.0)),
        ([energy(36_000.0), charge(0.05)], BatteryPlan(0.0, 60.0)),
        ([energy(0.0)], BatteryPlan(0.0, 60.0)),
        ([energy(36_000.0), watts(-20.0, Role.BATTERY_POWER)], BatteryPlan(None, 60.0)),
    ],
)
def test_the_energy_is_spread_over_the_minutes(readings: list[Reading], plan: BatteryPlan) -> None:
    reserve = 0.1 if len(readings) > 1 else 0.0
    assert BatteryBudget().plan(state(*readings), START_NS, 60.0, reserve) == plan


@pytest.mark.parametrize("readings", [[], [energy(math.nan)], [energy(-1.0)], [charge(0.5)]])
def test_without_a_known_energy_there_is_no_plan(readings: list[Reading]) -> None:
    plan = BatteryBudget().plan(state(*readings), START_NS, 60.0, 0.0)
    assert plan.budget_w is None
    assert "no battery reports its remaining energy" in plan.problem


def test_minutes_count_down_from_when_they_are_set() -> None:
    budget, full = BatteryBudget(), state(energy(36_000.0))
    assert budget.plan(full, START_NS, 0.0, 0.0) == BatteryPlan()
    assert budget.plan(full, START_NS, 60.0, 0.0).budget_w == pytest.approx(10.0)
    later = START_NS + 1800 * SECOND
    assert budget.plan(full, later, 60.0, 0.0).budget_w == pytest.approx(20.0)
    assert budget.plan(full, later, 30.0, 0.0).minutes_left == 30.0
    assert budget.plan(full, START_NS + 10_000 * SECOND, 30.0, 0.0) == BatteryPlan(None, 0.0)


def test_a_clock_set_back_does_not_lengthen_the_plan() -> None:
    budget, full = BatteryBudget(), state(energy(36_000.0))
    budget.plan(full, START_NS, 60.0, 0.0)
    earlier = budget.plan(full, START_NS - 3600 * SECOND, 60.0, 0.0)
    assert (earlier.budget_w, earlier.minutes_left) == (10.0, 60.0)
