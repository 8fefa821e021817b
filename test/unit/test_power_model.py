"""The learned power of inference, and the check that power drops after lower limits."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from edge_inference.core.reading import BatteryStatus, Reading, Role
from edge_inference.governor.power_budget import total_utilization
from edge_inference.governor.power_model import PowerDropCheck, PowerModel, measure_power
from edge_inference.governor.settings import GovernorSettings
from governor_cases import battery, node, state, watts


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
def test_the_best_power_source_counts(readings: list[Reading], role: Role | None) -> None:
    measured = measure_power(state(*readings))
    assert (measured[0] if measured else None) is role


def test_two_batteries_are_one_source_of_power() -> None:
    out = BatteryStatus.DISCHARGING
    both = [
        *battery("BAT0", watts=4.0, status=out),
        *battery("BAT1", watts=11.0, status=out),
    ]
    assert measure_power(state(*both)) == (Role.BATTERY_POWER, 15.0)
    assert measure_power(state(*both, *battery("BAT2", status=out))) is None


def test_two_measurements_of_the_board_do_not_add_up() -> None:
    inner, outer = watts(7.0), replace(watts(9.0), name="rail/VIN", device="rail/VIN")
    assert measure_power(state(inner, outer)) == (Role.TOTAL_POWER, 9.0)
    assert measure_power(state(outer, inner)) == (Role.TOTAL_POWER, 9.0)
    assert state(inner, outer).power_w == 9.0


def test_the_power_of_inference_is_learned() -> None:
    model, rng = PowerModel(), random.Random(1)
    utilization = 0.8
    for step in range(2000):
        if step % 100 == 0:
            utilization = rng.uniform(0.2, 0.9)
        power_w = 5.0 + 20.0 * utilization + rng.gauss(0.0, 0.2)
        model.update(state(watts(power_w)), utilization, 0.5)
    assert model.full_load_w == pytest.approx(20.0, rel=0.05)
    assert model.base_w == pytest.approx(5.0, abs=0.8)


def test_before_the_load_varies_half_of_the_power_counts_as_work() -> None:
    model = PowerModel()
    for _ in range(100):
        model.update(state(watts(20.0)), 0.5, 0.5)
    assert model.full_load_w == pytest.approx(20.0)
    assert model.base_w == pytest.approx(10.0, abs=0.01)


def test_without_a_sensor_the_power_of_inference_is_unknown() -> None:
    model = PowerModel()
    model.update(state(watts(20.0)), 0.5, 0.5)
    model.update(state(), 0.5, 0.5)
    assert (model.power_w, model.full_load_w) == (None, None)
    model.update(state(watts(20.0)), 0.5, 0.5)
    assert model.full_load_w == pytest.approx(20.0)


def test_unknown_work_has_no_utilization() -> None:
    model = PowerModel()
    model.update(state(watts(20.0)), 0.0, 0.5)
    assert model.full_load_w is None
    settings = GovernorSettings()
    unknown = [
        node(rate_hz=None),
        node(rate_hz=math.nan),
        node(operating_point=None),
        node(operating_point=7),
        node(operating_point=-1),
        node(operating_points=()),
    ]
    assert total_utilization(unknown, settings) == 0.0
    assert total_utilization([node(rate_hz=10.0, operating_point=1)], settings) == pytest.approx(
        0.12
    )


def feed(
    check: PowerDropCheck, expected_w: float, power_w: float, start_s: float, end_s: float
) -> bool:
    is_missing = False
    time_s = start_s
    while time_s < end_s:
        is_missing |= check.is_missing(time_s, expected_w, power_w)
        time_s += 0.5
    return is_missing


@pytest.mark.parametrize(
    ("expected_w", "power_w", "missing"),
    [(4.0, 20.0, True), (4.0, 19.0, True), (4.0, 17.0, False), (9.0, 20.0, False)],
)
def test_power_must_drop_after_lower_limits(
    expected_w: float, power_w: float, missing: bool
) -> None:
    check = PowerDropCheck()
    assert not feed(check, 10.0, 20.0, 0.0, 20.0)
    assert feed(check, expected_w, power_w, 20.0, 40.0) is missing


@pytest.mark.parametrize(("expected_w", "power_w"), [(None, 20.0), (4.0, None)])
def test_without_a_power_sensor_no_drop_is_missing(
    expected_w: float | None, power_w: float | None
) -> None:
    check = PowerDropCheck()
    feed(check, 10.0, 20.0, 0.0, 20.0)
    assert not any(check.is_missing(20.0 + n, expected_w, power_w) for n in range(30))
