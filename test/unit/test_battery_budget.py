"""The power that a battery may deliver to last for a given time."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_inference.core.reading import BatteryStatus, Quantity, Reading, Role
from edge_inference.governor.battery_budget import BatteryBudget, BatteryPlan
from edge_inference.governor.battery_sum import sum_batteries
from edge_inference.governor.power_budget import PowerTracker
from edge_inference.governor.settings import GovernorSettings
from governor_cases import SECOND, START_NS, battery, energy, sensor, state, watts


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


@pytest.mark.parametrize("readings", [[energy(math.nan)], [energy(-1.0)], [charge(0.5)]])
def test_without_a_known_energy_there_is_no_plan(readings: list[Reading]) -> None:
    plan = BatteryBudget().plan(state(*readings), START_NS, 60.0, 0.0)
    assert plan.budget_w is None
    assert "battery/BAT0 does not report its remaining energy" in plan.problem


@pytest.mark.parametrize("readings", [[], battery(absent=True)])
def test_without_a_battery_there_is_no_plan(readings: list[Reading]) -> None:
    plan = BatteryBudget().plan(state(*readings), START_NS, 60.0, 0.0)
    assert plan == BatteryPlan(None, 60.0, "minutes_to_last: this machine has no battery")


IN, OUT = BatteryStatus.CHARGING, BatteryStatus.DISCHARGING
IDLE, FULL = BatteryStatus.NOT_CHARGING, BatteryStatus.FULL


@pytest.mark.parametrize(
    ("batteries", "budget_w"),
    [
        # One nearly empty, one nearly full, of which only one delivers.
        (
            [
                {"watts": 0.0, "watt_hours": 2.0, "charge": 0.1, "status": IDLE},
                {"watts": 18.0, "watt_hours": 90.0, "charge": 0.9, "status": OUT},
            ],
            92.0 - 0.1 * 120.0,
        ),
        ([{"watts": 9.0, "watt_hours": 10.0, "charge": 0.5}] * 2, 20.0 - 0.1 * 40.0),
        # A battery whose charge is rounded to 0 needs its full energy for the reserve.
        (
            [
                {"watts": 0.0, "watt_hours": 0.4, "charge": 0.0, "full_watt_hours": 50.0},
                {"watts": 9.0, "watt_hours": 30.0, "charge": 0.6},
            ],
            30.4 - 0.1 * 100.0,
        ),
        # A removed battery does not count, whatever it reported before.
        ([{"watts": 9.0, "watt_hours": 10.0, "charge": 0.5}, {"absent": True}], 10.0 - 2.0),
        # One charges, another one discharges: what counts is the sum.
        (
            [
                {"watts": -15.0, "watt_hours": 10.0, "charge": 0.5, "status": IN},
                {"watts": 25.0, "watt_hours": 10.0, "charge": 0.5, "status": OUT},
            ],
            20.0 - 4.0,
        ),
        (
            [
                {"watts": -25.0, "watt_hours": 10.0, "charge": 0.5, "status": IN},
                {"watts": 15.0, "watt_hours": 10.0, "charge": 0.5, "status": OUT},
            ],
            None,
        ),
        ([{"watts": -5.0, "status": IN}, {"watts": 0.0, "status": FULL}], None),
        # Without powers, the statuses tell whether the batteries discharge.
        ([{"charge": 0.9, "status": IN}, {"charge": 1.0, "status": FULL}], None),
        ([{"watt_hours": 10.0, "charge": 0.5, "status": OUT}], 10.0 - 2.0),
        ([{"watt_hours": 10.0, "charge": 0.5}], 10.0 - 2.0),
        # A power of 0 W of a battery that discharges is not one that charges.
        ([{"watts": 0.0, "watt_hours": 10.0, "charge": 0.5, "status": OUT}], 10.0 - 2.0),
        ([{"watts": 0.0, "watt_hours": 10.0, "charge": 0.5}], 10.0 - 2.0),
        ([{"watts": 0.0, "watt_hours": 10.0, "charge": 1.0, "status": FULL}] * 2, None),
    ],
)
def test_batteries_are_summed(batteries: list[dict[str, Any]], budget_w: float | None) -> None:
    readings = [each for n, given in enumerate(batteries) for each in battery(f"BAT{n}", **given)]
    plan = BatteryBudget().plan(state(*readings), START_NS, 60.0, 0.1)
    assert (plan.budget_w, plan.problem) == (budget_w and pytest.approx(budget_w), "")


@pytest.mark.parametrize(
    ("second", "problem"),
    [
        ({"watts": 9.0, "charge": 0.5}, "battery/BAT1 does not report its remaining energy: why"),
        ({"watts": 9.0, "watt_hours": math.inf}, "BAT1 does not report its remaining energy"),
    ],
)
def test_what_one_battery_does_not_report_makes_the_sum_unknown(
    second: dict[str, Any], problem: str
) -> None:
    first = battery("BAT0", watts=9.0, watt_hours=10.0, charge=0.5)
    plan = BatteryBudget().plan(state(*first, *battery("BAT1", **second)), START_NS, 60.0, 0.1)
    assert plan.budget_w is None
    assert problem in plan.problem


@pytest.mark.parametrize("given_charge", [None, 0.0, 1.5])
def test_without_a_known_full_energy_there_is_no_reserve(given_charge: float | None) -> None:
    first = battery("BAT0", watts=9.0, watt_hours=10.0, charge=0.5)
    second = battery("BAT1", watts=9.0, watt_hours=5.0, charge=given_charge)
    plan = BatteryBudget().plan(state(*first, *second), START_NS, 60.0, 0.1)
    assert plan.budget_w == pytest.approx(15.0)
    assert "battery_reserve cannot be kept: battery/BAT1 does not report its" in plan.problem
    assert BatteryBudget().plan(state(*first, *second), START_NS, 60.0, 0.0).problem == ""


def test_the_last_budget_stays_in_force_while_an_energy_is_unknown() -> None:
    budget = BatteryBudget()
    known = battery("BAT0", watts=9.0, watt_hours=10.0, charge=0.5)
    both = state(*known, *battery("BAT1", watts=9.0, watt_hours=10.0, charge=0.5))
    lost = state(*known, *battery("BAT1", watts=9.0, charge=0.5))
    assert "stays in force" not in budget.plan(lost, START_NS, 60.0, 0.0).problem
    assert budget.plan(both, START_NS, 60.0, 0.0).budget_w == pytest.approx(20.0)
    plan = budget.plan(lost, START_NS, 60.0, 0.0)
    assert plan.budget_w == pytest.approx(20.0)
    assert "battery/BAT1" in plan.problem and "stays in force" in plan.problem
    # It belongs to its plan, and ends where batteries set no limit.
    assert budget.plan(lost, START_NS, 30.0, 0.0).budget_w is None
    budget.plan(both, START_NS, 30.0, 0.0)
    assert budget.plan(state(*battery(status=IN)), START_NS, 30.0, 0.0).budget_w is None
    assert budget.plan(lost, START_NS, 30.0, 0.0).budget_w is None


def test_a_power_that_one_battery_does_not_report_makes_the_sum_unknown() -> None:
    first = battery("BAT0", watts=9.0, watt_hours=10.0, charge=0.5)
    second = battery("BAT1", watt_hours=10.0, charge=0.5, status=IN)
    total = sum_batteries(state(*first, *second))
    assert total is not None and total.power_w is None
    assert total.problems[Role.BATTERY_POWER] == "battery/BAT1 does not report its power: why"
    settings = GovernorSettings(minutes_to_last=60.0)
    budget = PowerTracker().update(state(*first, *second), 0.5, 0.5, START_NS, settings)
    assert budget.budget_w is None
    assert "battery/BAT1 does not report its power: why" in " ".join(budget.problems)


@pytest.mark.parametrize("status", [OUT, None])
def test_0_watts_of_a_battery_that_may_discharge_are_no_power(status: BatteryStatus | None) -> None:
    drained = battery(watts=0.0, watt_hours=10.0, charge=0.5, status=status)
    total = sum_batteries(state(*drained))
    assert total is not None and (total.power_w, total.delivers) == (None, True)
    assert total.problems[Role.BATTERY_POWER] == "battery/BAT0 reports 0 W, but may discharge"
    idle = sum_batteries(state(*battery(watts=0.0, status=IDLE)))
    assert idle is not None and (idle.power_w, idle.delivers) == (0.0, False)


def test_0_watts_beside_a_battery_that_charges_are_no_power() -> None:
    """One that delivers an unknown power may deliver more than the other one takes."""
    readings = [*battery(watts=0.0, status=OUT), *battery("BAT1", watts=-5.0, status=IN)]
    total = sum_batteries(state(*readings))
    assert total is not None and (total.power_w, total.delivers) == (None, True)
    # Beside one that delivers, an idle one of which Linux knows no more is usual.
    readings = [*battery(watts=0.0), *battery("BAT1", watts=9.0, status=OUT)]
    total = sum_batteries(state(*readings))
    assert total is not None and (total.power_w, total.delivers) == (9.0, True)


@pytest.mark.parametrize("number", [0.0, 1.5, 5.0, -2.0])
def test_a_number_that_is_no_status_is_an_unknown_one(number: float) -> None:
    """0 is what sensor_msgs/BatteryState calls unknown; a program may write it into its file."""
    readings = battery(watt_hours=10.0, status=OUT)[:-1]
    readings.append(sensor(Role.BATTERY_STATUS, number, Quantity.STATE))
    total = sum_batteries(state(*readings))
    assert total is not None and total.delivers


def test_the_last_budget_stays_in_force_when_the_batteries_vanish() -> None:
    """A battery that delivered is hardly taken out, but its sensor may be lost."""
    budget = BatteryBudget()
    used = state(*battery(watts=9.0, watt_hours=10.0, status=OUT))
    assert budget.plan(used, START_NS, 60.0, 0.0).budget_w == pytest.approx(10.0)
    plan = budget.plan(state(*battery(absent=True)), START_NS, 60.0, 0.0)
    assert plan.budget_w == pytest.approx(10.0)
    assert "no battery is left" in plan.problem and "stays in force" in plan.problem
    charging = state(*battery(watts=-9.0, watt_hours=10.0, status=IN))
    assert budget.plan(charging, START_NS, 60.0, 0.0).budget_w is None
    plan = budget.plan(state(*battery(absent=True)), START_NS, 60.0, 0.0)
    assert (plan.budget_w, plan.problem) == (None, "minutes_to_last: this machine has no battery")


parts = st.lists(
    st.tuples(st.floats(0.0, 200.0), st.floats(0.01, 1.0), st.floats(0.1, 100.0)),
    min_size=1,
    max_size=5,
)


@given(parts, st.randoms(use_true_random=False), st.floats(0.0, 0.9))
def test_a_battery_may_be_split(
    given_parts: list[tuple[float, float, float]], rng: random.Random, reserve: float
) -> None:
    """Several batteries get the budget of a single one with their sums, in any order."""
    readings = [
        each
        for n, (watt_hours, charge, watts) in enumerate(given_parts)
        for each in battery(f"BAT{n}", watts=watts, watt_hours=watt_hours, charge=charge)
    ]
    single = battery(
        watts=sum(watts for _, _, watts in given_parts),
        watt_hours=sum(watt_hours for watt_hours, _, _ in given_parts),
        full_watt_hours=sum(watt_hours / charge for watt_hours, charge, _ in given_parts),
    )
    rng.shuffle(readings)
    plan = BatteryBudget().plan(state(*readings), START_NS, 60.0, reserve)
    expected = BatteryBudget().plan(state(*single), START_NS, 60.0, reserve)
    if sum(watt_hours for watt_hours, _, _ in given_parts) == 0.0:
        return
    assert plan.budget_w == pytest.approx(expected.budget_w, abs=1e-6)


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
