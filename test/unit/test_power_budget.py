"""The PI controller, and budgets from a limit in watts and from a battery."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_inference.core.directives.directive import DirectiveLevel
from edge_inference.core.reading import BatteryStatus, Reading, Role
from edge_inference.governor.governor import Governor
from edge_inference.governor.power_budget import PowerController, total_utilization
from edge_inference.governor.settings import GovernorSettings
from governor_cases import Machine, battery, by_name, energy, node, watts, zone

PRESETS = ("ramp", "predictive")


def run(control: PowerController, error_c: float, seconds: float) -> float:
    budget = 0.0
    for _ in range(round(seconds / 0.5)):
        budget = control.update(error_c, 0.5, 5.0, 25.0)
    return budget


def test_a_cool_machine_is_unlimited_from_the_start() -> None:
    assert run(PowerController(), 40.0, 0.5) == 25.0


def test_a_hot_machine_loses_budget_at_once_and_more_with_time() -> None:
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
    # The recovery takes as long as after a short time, not longer.
    assert run(control, 6.0, 120.0) > 20.0


def test_the_budget_falls_faster_than_it_rises() -> None:
    control = PowerController()
    run(control, 3.0, 60.0)
    fall = 25.0 - run(control, -5.0, 20.0)
    low = run(control, -40.0, 600.0)
    assert low == 5.0
    rise = run(control, 5.0, 20.0) - low
    assert fall > 1.2 * rise


def test_a_higher_demand_is_unlimited_if_nothing_was_limited() -> None:
    control = PowerController()
    assert control.update(40.0, 0.5, 5.0, 10.0) == 10.0
    assert control.update(40.0, 0.5, 5.0, 25.0) == 25.0
    run(control, -3.0, 60.0)
    held = control.update(1.0, 0.5, 5.0, 25.0)
    assert control.update(1.0, 0.5, 5.0, 50.0) < held + 2.0


def test_a_dropped_budget_recovers_slowly() -> None:
    control = PowerController()
    run(control, 40.0, 60.0)
    control.drop()
    assert run(control, 40.0, 0.5) == pytest.approx(5.2)
    assert run(control, 40.0, 60.0) == 25.0


def test_without_elapsed_time_the_integral_does_not_move() -> None:
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


class Board:
    """A machine that takes 5 W, and 20 W more at full utilization."""

    def __init__(self, preset: str, *readings: Reading, role: Role, **settings: float) -> None:
        self.role = role
        self.readings = readings
        self.power_w = 17.0
        governor = Governor(GovernorSettings(preset=preset, **settings))  # type: ignore[arg-type]
        guard = node("/guard", safety_critical=True, demand_hz=5.0, rate_hz=5.0)
        self.machine = Machine(governor, guard, node())

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * 2)):
            utilization = total_utilization(self.machine.workloads, GovernorSettings())
            self.power_w = 5.0 + 20.0 * utilization
            self.machine.run(zone(50.0), watts(self.power_w, self.role), *self.readings)


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
    decision = Machine(Governor(settings), node()).run(zone(50.0), energy(36_000.0), seconds=30)
    assert (decision.severity, decision.level) == ("warn", DirectiveLevel.FULL)
    assert "power_limit_w cannot be kept: this board has no power sensor" in decision.reason
    assert "minutes_to_last cannot be kept" in decision.reason


@pytest.mark.parametrize("role", [Role.TOTAL_POWER, Role.RAILS_SUM])
def test_a_sensor_that_reports_0_watts_keeps_no_limit(role: Role) -> None:
    machine = Machine(Governor(GovernorSettings(power_limit_w=10.0)), node())
    decision = machine.run(zone(50.0), watts(0.0, role), seconds=30)
    assert "power_limit_w cannot be kept: this board has no power sensor" in decision.reason


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("role", [Role.TOTAL_POWER, Role.BATTERY_POWER])
def test_the_battery_limits_the_power(preset: str, role: Role) -> None:
    board = Board(
        preset, energy(12.0 * 3600.0), role=role, minutes_to_last=60.0, battery_reserve=0.0
    )
    board.run(200.0)
    assert 10.0 < board.power_w < 13.0


@pytest.mark.parametrize("preset", PRESETS)
def test_an_idle_battery_counts_for_one_that_is_nearly_empty(preset: str) -> None:
    idle = battery(
        "BAT1", watts=0.0, watt_hours=11.5, charge=0.9, status=BatteryStatus.NOT_CHARGING
    )
    board = Board(
        preset,
        energy(0.5 * 3600.0),
        *idle,
        role=Role.BATTERY_POWER,
        minutes_to_last=60.0,
        battery_reserve=0.0,
    )
    board.run(200.0)
    assert 10.0 < board.power_w < 13.0
