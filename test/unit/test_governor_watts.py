"""Power: what work costs, limits in watts, and a battery that is to last."""

from __future__ import annotations

import math
import random

import pytest

from edge_inference.core.directives.directive import DirectiveLevel
from edge_inference.core.reading import Quantity, Reading, Role
from edge_inference.governor.battery_budget import BatteryBudget, BatteryPlan
from edge_inference.governor.governor import Governor
from edge_inference.governor.power_budget import busy_share
from edge_inference.governor.power_model import PowerModel, power_reading
from edge_inference.governor.settings import GovernorSettings
from governor_cases import SECOND, START_NS, Machine, by_name, node, sensor, state, watts, zone

PRESETS = ("ramp", "predictive")


def energy(joules: float) -> Reading:
    return sensor(Role.BATTERY_ENERGY, joules, Quantity.ENERGY)


def charge(share: float) -> Reading:
    return sensor(Role.BATTERY_CHARGE, share, Quantity.SHARE)


@pytest.mark.parametrize(
    ("readings", "role"),
    [
        ([], None),
        ([watts(math.nan), watts(-3.0)], None),
        ([watts(0.0)], None),
        ([watts(9.0, Role.BATTERY_POWER)], Role.BATTERY_POWER),
        ([watts(-9.0, Role.BATTERY_POWER)], None),
        ([watts(9.0, Role.BATTERY_POWER), watts(5.0, Role.RAILS_SUM)], Role.RAILS_SUM),
        ([watts(5.0, Role.RAILS_SUM), watts(9.0)], Role.TOTAL_POWER),
    ],
)
def test_the_best_source_of_power(readings: list[Reading], role: Role | None) -> None:
    found = power_reading(readings)
    assert (found.role if found else None) is role


def test_the_price_of_work_is_learned() -> None:
    model, chance = PowerModel(), random.Random(1)
    busy = 0.8
    for look in range(2000):
        if look % 100 == 0:
            busy = chance.uniform(0.2, 0.9)
        power_w = 5.0 + 20.0 * busy + chance.gauss(0.0, 0.2)
        model.update(state(watts(power_w)), busy, 0.5)
    assert model.watts_per_busy == pytest.approx(20.0, rel=0.05)
    assert model.base_w == pytest.approx(5.0, abs=0.8)


def test_before_anything_varied_half_of_the_power_is_work() -> None:
    model = PowerModel()
    for _ in range(100):
        model.update(state(watts(20.0)), 0.5, 0.5)
    assert model.watts_per_busy == pytest.approx(20.0)
    assert model.base_w == pytest.approx(10.0, abs=0.01)


def test_a_sensor_that_goes_takes_the_price_with_it_until_it_is_back() -> None:
    model = PowerModel()
    model.update(state(watts(20.0)), 0.5, 0.5)
    model.update(state(), 0.5, 0.5)
    assert (model.power_w, model.watts_per_busy) == (None, None)
    model.update(state(watts(20.0)), 0.5, 0.5)
    assert model.watts_per_busy == pytest.approx(20.0)


def test_work_that_is_not_known_costs_nothing() -> None:
    model = PowerModel()
    model.update(state(watts(20.0)), 0.0, 0.5)
    assert model.watts_per_busy is None
    settings = GovernorSettings()
    unknown = [
        node(rate_hz=None),
        node(rate_hz=math.nan),
        node(operating_point=None),
        node(operating_point=7),
        node(operating_point=-1),
        node(operating_points=()),
    ]
    assert busy_share(unknown, settings) == 0.0
    assert busy_share([node(rate_hz=10.0, operating_point=1)], settings) == pytest.approx(0.12)


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
def test_a_battery_is_spread_over_the_minutes(readings: list[Reading], plan: BatteryPlan) -> None:
    reserve = 0.1 if len(readings) > 1 else 0.0
    assert BatteryBudget().plan(state(*readings), START_NS, 60.0, reserve) == plan


@pytest.mark.parametrize("readings", [[], [energy(math.nan)], [energy(-1.0)], [charge(0.5)]])
def test_without_a_known_energy_nothing_can_be_planned(readings: list[Reading]) -> None:
    plan = BatteryBudget().plan(state(*readings), START_NS, 60.0, 0.0)
    assert plan.budget_w is None
    assert "no battery tells how much energy" in plan.problem


def test_minutes_count_down_from_when_they_are_set() -> None:
    mission, full = BatteryBudget(), state(energy(36_000.0))
    assert mission.plan(full, START_NS, 0.0, 0.0) == BatteryPlan()
    assert mission.plan(full, START_NS, 60.0, 0.0).budget_w == pytest.approx(10.0)
    later = START_NS + 1800 * SECOND
    assert mission.plan(full, later, 60.0, 0.0).budget_w == pytest.approx(20.0)
    assert mission.plan(full, later, 30.0, 0.0).minutes_left == 30.0
    assert mission.plan(full, START_NS + 10_000 * SECOND, 30.0, 0.0) == BatteryPlan(None, 0.0)


def test_a_clock_set_back_does_not_lengthen_the_mission() -> None:
    mission, full = BatteryBudget(), state(energy(36_000.0))
    mission.plan(full, START_NS, 60.0, 0.0)
    earlier = mission.plan(full, START_NS - 3600 * SECOND, 60.0, 0.0)
    assert (earlier.budget_w, earlier.minutes_left) == (10.0, 60.0)


class Board:
    """A machine that takes 5 W, and 20 W more when it is busy all the time."""

    def __init__(self, preset: str, *readings: Reading, role: Role, **settings: float) -> None:
        self.role = role
        self.readings = readings
        self.power_w = 17.0
        made = GovernorSettings(preset=preset, **settings)  # type: ignore[arg-type]
        guard = node("/guard", safety_critical=True, demand_hz=5.0, rate_hz=5.0)
        self.machine = Machine(Governor(made), guard, node())

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * 2)):
            busy = busy_share(self.machine.workloads, GovernorSettings())
            self.power_w = 5.0 + 20.0 * busy
            self.machine.see(zone(50.0), watts(self.power_w, self.role), *self.readings)


@pytest.mark.parametrize("role", [Role.TOTAL_POWER, Role.RAILS_SUM])
@pytest.mark.parametrize("preset", PRESETS)
def test_a_limit_in_watts_is_kept(preset: str, role: Role) -> None:
    board = Board(preset, role=role, power_limit_w=13.0)
    board.run(5.0)
    board.run(300.0)
    assert 11.0 < board.power_w <= 13.0
    decision = board.machine.decisions[-1]
    assert by_name(decision.directives)["/guard"].limits.is_free
    assert ("only a sum of rails" in decision.reason) is (role is Role.RAILS_SUM)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_limit_that_critical_work_exceeds_is_an_error(preset: str) -> None:
    board = Board(preset, role=Role.TOTAL_POWER, power_limit_w=5.0)
    board.run(60.0)
    decision = board.machine.decisions[-1]
    assert decision.severity == "error"
    assert "the limit of 5 W cannot be kept" in decision.reason
    assert by_name(decision.directives)["/guard"].limits.is_free
    assert by_name(decision.directives)["/detector"].level is DirectiveLevel.MINIMUM


@pytest.mark.parametrize("preset", PRESETS)
def test_without_a_power_sensor_a_limit_in_watts_is_reported(preset: str) -> None:
    settings = GovernorSettings(preset=preset, power_limit_w=10.0, minutes_to_last=60.0)
    decision = Machine(Governor(settings), node()).see(zone(50.0), energy(36_000.0), seconds=30)
    assert (decision.severity, decision.level) == ("warn", DirectiveLevel.FULL)
    assert "power_limit_w: nothing measures the power" in decision.reason
    assert "minutes_to_last: nothing measures power" in decision.reason


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("role", [Role.TOTAL_POWER, Role.BATTERY_POWER])
def test_the_battery_is_a_limit_too(preset: str, role: Role) -> None:
    board = Board(
        preset, energy(12.0 * 3600.0), role=role, minutes_to_last=60.0, battery_reserve=0.0
    )
    board.run(200.0)
    assert 10.0 < board.power_w < 13.0
