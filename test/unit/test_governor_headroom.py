"""The forecast, and the share of the limit that is used."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_inference.governor.failsafe import ZoneTemperature
from edge_inference.governor.limits import TemperatureBounds
from edge_inference.governor.outlook import TemperatureForecaster, worst_headroom
from edge_inference.governor.temperature_forecast import Trend, headroom

LIMITS = TemperatureBounds(70.0, 80.0)


@pytest.mark.parametrize(
    ("temperature", "share"), [(80, 1), (83, 1.1), (65, 0.5), (50, 0), (20, 0), (-40, 0)]
)
def test_headroom_is_one_at_the_limit(temperature: float, share: float) -> None:
    assert headroom(temperature, 80.0) == pytest.approx(share)


def trend(*values: float, step_s: float = 0.5) -> Trend:
    made = Trend()
    for number, value in enumerate(values):
        made.add(number * step_s, value)
    return made


def test_nothing_is_forecast_from_nothing() -> None:
    assert Trend().forecast_c(10.0) is None


@pytest.mark.parametrize("count", [1, 2, 4])
def test_few_samples_make_no_line(count: int) -> None:
    assert trend(*[50.0 + n for n in range(count)]).forecast_c(10.0) == 50.0 + (count - 1) / 2


def test_a_steady_rise_goes_on() -> None:
    assert trend(*[50.0 + 0.1 * n for n in range(20)]).forecast_c(10.0) == pytest.approx(53.9)
    assert trend(*[50.0 - 0.1 * n for n in range(20)]).forecast_c(10.0) == pytest.approx(46.1)


def test_only_the_last_thirty_samples_count() -> None:
    values = [20.0 + n for n in range(30)] + [60.0] * 30
    assert trend(*values).forecast_c(60.0) == pytest.approx(60.0)


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(-40, 130)), min_size=1, max_size=60))
def test_a_clock_that_stands_or_goes_back_breaks_nothing(
    samples: list[tuple[float, float]],
) -> None:
    made = Trend()
    for time_s, value in samples:
        made.add(time_s, value)
    forecast = made.forecast_c(8.0)
    assert forecast is not None
    assert forecast == forecast


def test_a_clock_that_stands_replaces_the_last_sample() -> None:
    made = Trend()
    for value in range(40):
        made.add(5.0, float(value))
    assert made.forecast_c(10.0) == 39.0


def test_the_zone_nearest_to_its_own_limit_gives_the_headroom() -> None:
    forecaster = TemperatureForecaster()
    heats = (
        ZoneTemperature("a", 70.0, TemperatureBounds(70.0, 80.0)),
        ZoneTemperature("b", 80.0, TemperatureBounds(95.0, 105.0)),
    )
    outlooks = forecaster.look(heats, 0.0, ahead_s=8.0, jumped=False)
    assert worst_headroom(outlooks) == pytest.approx(2 / 3)
    assert worst_headroom(()) is None


def test_after_a_jump_of_the_clock_the_line_starts_anew() -> None:
    forecaster = TemperatureForecaster()
    for number in range(20):
        rising = (ZoneTemperature("a", 40.0 + number, LIMITS),)
        before = forecaster.look(rising, number * 0.5, ahead_s=8.0, jumped=False)
    assert before[0].ahead_c == pytest.approx(75.0)
    after = forecaster.look(rising, 12.0, ahead_s=8.0, jumped=True)
    assert after[0].ahead_c == 59.0
