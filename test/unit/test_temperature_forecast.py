"""The temperature forecast, and the headroom."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_inference.governor.failsafe import TemperatureBounds, ZoneTemperature
from edge_inference.governor.temperature_forecast import (
    TemperatureForecaster,
    Trend,
    headroom,
    worst_headroom,
)

BOUNDS = TemperatureBounds(70.0, 80.0)


@pytest.mark.parametrize(
    ("temperature", "share"), [(80, 1), (83, 1.1), (65, 0.5), (50, 0), (20, 0), (-40, 0)]
)
def test_headroom_is_one_at_the_limit(temperature: float, share: float) -> None:
    assert headroom(temperature, 80.0) == pytest.approx(share)


def trend(*values: float, step_s: float = 0.5) -> Trend:
    samples = Trend()
    for number, value in enumerate(values):
        samples.add(number * step_s, value)
    return samples


def test_without_samples_there_is_no_forecast() -> None:
    assert Trend().forecast_c(10.0) is None


@pytest.mark.parametrize("count", [1, 2, 4])
def test_the_forecast_of_few_samples_is_their_mean(count: int) -> None:
    assert trend(*[50.0 + n for n in range(count)]).forecast_c(10.0) == 50.0 + (count - 1) / 2


def test_a_steady_rise_continues() -> None:
    assert trend(*[50.0 + 0.1 * n for n in range(20)]).forecast_c(10.0) == pytest.approx(53.9)
    assert trend(*[50.0 - 0.1 * n for n in range(20)]).forecast_c(10.0) == pytest.approx(46.1)


def test_only_the_last_thirty_samples_count() -> None:
    values = [20.0 + n for n in range(30)] + [60.0] * 30
    assert trend(*values).forecast_c(60.0) == pytest.approx(60.0)


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(-40, 130)), min_size=1, max_size=60))
def test_a_clock_that_stands_still_or_goes_back_gives_a_forecast(
    samples: list[tuple[float, float]],
) -> None:
    line = Trend()
    for time_s, value in samples:
        line.add(time_s, value)
    forecast = line.forecast_c(8.0)
    assert forecast is not None
    assert forecast == forecast


def test_a_sample_of_the_same_time_replaces_the_last_one() -> None:
    line = Trend()
    for value in range(40):
        line.add(5.0, float(value))
    assert line.forecast_c(10.0) == 39.0


def test_the_zone_nearest_to_its_own_limit_gives_the_headroom() -> None:
    forecaster = TemperatureForecaster()
    zones = (
        ZoneTemperature("a", 70.0, TemperatureBounds(70.0, 80.0)),
        ZoneTemperature("b", 80.0, TemperatureBounds(95.0, 105.0)),
    )
    forecasts = forecaster.update(zones, 0.0, ahead_s=8.0, jumped=False)
    assert worst_headroom(forecasts) == pytest.approx(2 / 3)
    assert worst_headroom(()) is None


def test_a_jump_of_the_clock_restarts_the_line() -> None:
    forecaster = TemperatureForecaster()
    for number in range(20):
        rising = (ZoneTemperature("a", 40.0 + number, BOUNDS),)
        before = forecaster.update(rising, number * 0.5, ahead_s=8.0, jumped=False)
    assert before[0].forecast_c == pytest.approx(75.0)
    after = forecaster.update(rising, 12.0, ahead_s=8.0, jumped=True)
    assert after[0].forecast_c == 59.0
