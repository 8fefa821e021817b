"""The ramp preset, and the sources of its limits."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_inference.core.directives.directive import DirectiveLevel
from edge_inference.core.settings import build, change
from edge_inference.errors import ConfigError
from edge_inference.governor.failsafe import TemperatureBounds, temperature_bounds
from edge_inference.governor.governor import Governor
from edge_inference.governor.ramp import Ramp, ramp_factor
from edge_inference.governor.settings import GovernorSettings
from governor_cases import Machine, by_name, node, zone

BOUNDS = TemperatureBounds(70.0, 80.0)


@pytest.mark.parametrize(
    ("temperature", "factor"),
    [
        (-40, 1),
        (69.9, 1),
        (70, 1),
        (71, 0.9),
        (75, 0.5),
        (78.9, 0.11),
        (79, 0.1),
        (80, 0.1),
        (130, 0.1),
    ],
)
def test_the_ramp_of_the_specification(temperature: float, factor: float) -> None:
    assert ramp_factor(temperature, BOUNDS, 0.1) == pytest.approx(factor)


@given(st.floats(-40, 130), st.floats(-40, 130))
def test_hotter_is_never_faster(one: float, other: float) -> None:
    cooler, hotter = sorted((one, other))
    factors = ramp_factor(cooler, BOUNDS, 0.1), ramp_factor(hotter, BOUNDS, 0.1)
    assert 0.1 <= factors[1] <= factors[0] <= 1.0


@pytest.mark.parametrize(
    ("temperatures", "factors"),
    [
        ((60, 69.9), (1, 1)),
        ((72, 69, 65, 64.9), (0.8, 0.8, 0.8, 1)),
        ((72, 69, 71, 69), (0.8, 0.8, 0.9, 0.9)),
        ((72, 70), (0.8, 0.8)),
        ((72, 64, 69), (0.8, 1, 1)),
    ],
)
def test_full_speed_comes_back_only_below_the_release_temperature(
    temperatures: tuple[float, ...], factors: tuple[float, ...]
) -> None:
    ramp = Ramp()
    results = [ramp.update(each, BOUNDS, release_c=5.0, minimum=0.1) for each in temperatures]
    assert results == pytest.approx(factors)


@given(st.lists(st.floats(-40, 130), min_size=1, max_size=30))
def test_the_factor_follows_the_ramp_after_any_history(temperatures: list[float]) -> None:
    ramp = Ramp()
    for each in temperatures:
        factor = ramp.update(each, BOUNDS, release_c=5.0, minimum=0.1)
        assert 0.1 <= factor <= 1.0
        if each > 70.0 and ramp_factor(each, BOUNDS, 0.1) < 1.0:
            assert factor == ramp_factor(each, BOUNDS, 0.1)
        if each < 65.0:
            assert factor == 1.0


@pytest.mark.parametrize(
    ("limits_from", "trips", "bounds"),
    [
        ("absolute", {"throttle": 99.0}, (70, 80)),
        ("board", {"throttle": 99.0, "critical": 104.5}, (85, 95)),
        ("board", {"throttle": 109.0}, (95, 105)),
        ("board", {"critical": 105.0}, (85, 95)),
        ("board", {}, (70, 80)),
        ("board", {"throttle": math.nan}, (70, 80)),
        ("board", {"throttle": 0.0, "critical": -273.0}, (70, 80)),
        ("board", {"throttle": 20.8, "critical": 105.0}, (85, 95)),
        ("board", {"throttle": 65535.0}, (70, 80)),
    ],
)
def test_limits_of_the_user_or_of_the_board(
    limits_from: str, trips: dict[str, float], bounds: tuple[float, float]
) -> None:
    settings = GovernorSettings(limits_from=limits_from)
    assert temperature_bounds(zone(50.0, **trips), settings) == TemperatureBounds(*bounds)


def test_a_board_that_is_hot_by_design_is_not_throttled() -> None:
    settings = GovernorSettings(limits_from="board")
    decision = Machine(Governor(settings), node()).run(zone(85.0, throttle=109.0))
    assert decision.level is DirectiveLevel.FULL


@pytest.mark.parametrize(
    ("temperature", "level", "factor", "rate"),
    [
        (60, DirectiveLevel.FULL, 1.0, None),
        (72, DirectiveLevel.REDUCED, 0.8, 24.0),
        (75, DirectiveLevel.REDUCED, 0.5, 15.0),
        (85, DirectiveLevel.MINIMUM, 0.1, 3.0),
    ],
)
def test_the_rate_is_the_factor_times_the_demand(
    temperature: float, level: DirectiveLevel, factor: float, rate: float | None
) -> None:
    decision = Machine(Governor(GovernorSettings()), node()).run(zone(temperature))
    directive = by_name(decision.directives)["/detector"]
    assert directive.level is level
    assert directive.throttle_factor == pytest.approx(factor)
    assert directive.limits.max_rate_hz == (None if rate is None else pytest.approx(rate))
    assert (directive.limits.precision_ceiling, directive.limits.max_batch) == ("", None)


@pytest.mark.parametrize(
    ("workload", "rate"),
    [
        ({"minimum_rate_hz": 20.0}, 20.0),
        ({"minimum_rate_hz": 50.0}, 30.0),
        ({"minimum_rate_hz": 0.0, "demand_hz": 4.0}, 2.0),
        ({"minimum_rate_hz": 0.0, "demand_hz": 1.5}, 1.0),
        ({"demand_hz": None}, None),
        ({"demand_hz": math.nan}, None),
    ],
)
def test_the_minimum_rate_of_a_node_is_kept(workload: dict[str, Any], rate: float | None) -> None:
    decision = Machine(Governor(GovernorSettings()), node(**workload)).run(zone(75.0))
    assert by_name(decision.directives)["/detector"].limits.max_rate_hz == rate


def test_the_hottest_zone_decides_and_not_the_last_one() -> None:
    machine = Machine(Governor(GovernorSettings()), node())
    decision = machine.run(zone(78.0, "zone/tj"), zone(40.0, "zone/last"))
    assert by_name(decision.directives)["/detector"].throttle_factor == pytest.approx(0.2)


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ConfigError, match="throttle_c: expected less than max_c"):
        build(GovernorSettings, {"throttle_c": 80.0, "max_c": 80.0})
    with pytest.raises(ConfigError, match="int8_cost"):
        change(GovernorSettings(), {"int8_cost": 0.9})
