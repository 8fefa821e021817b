"""Rates over the last seconds, and mean durations for each operating point."""

from __future__ import annotations

import pytest

from edge_inference.core.runtime.work_meter import WorkMeter

SECOND = 1_000_000_000


def test_before_the_first_item_nothing_is_known() -> None:
    meter = WorkMeter()
    assert meter.demand_hz(SECOND) is None
    assert meter.rate_hz(SECOND) is None
    assert meter.process_ms("fp32") is None


def test_demand_includes_items_dropped_upstream() -> None:
    meter = WorkMeter()
    for number in range(100):  # one of three is accepted
        meter.record_offered(number * SECOND // 10, 1 + 2)
        meter.record_done(number * SECOND // 10, "fp32", 5.0)
    now = 99 * SECOND // 10
    assert meter.demand_hz(now) == pytest.approx(30, rel=0.05)
    assert meter.rate_hz(now) == pytest.approx(10, rel=0.05)


def test_rates_fall_to_zero_without_items() -> None:
    meter = WorkMeter()
    meter.record_offered(0)
    meter.record_done(0, "fp32", 5.0)
    assert meter.demand_hz(20 * SECOND) == 0
    assert meter.rate_hz(20 * SECOND) == 0


def test_the_first_seconds_do_not_count_as_a_whole_window() -> None:
    meter = WorkMeter()
    for number in range(61):
        meter.record_offered(number * SECOND // 30)
    assert meter.demand_hz(2 * SECOND) == pytest.approx(30, rel=0.05)


def test_each_operating_point_has_its_own_duration() -> None:
    meter = WorkMeter()
    meter.record_done(0, "fp32", 40.0)
    for number in range(200):
        meter.record_done(number, "int8", 10.0 if number % 2 else 20.0)
    assert meter.process_ms("fp32") == 40.0
    assert meter.process_ms("int8") == pytest.approx(15, abs=1.5)
