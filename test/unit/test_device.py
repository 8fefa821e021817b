"""Readings grouped by the device that they belong to."""

from __future__ import annotations

import math
from dataclasses import replace

from edge_inference.core.device import Device, group_by_device
from edge_inference.core.platform_state import PlatformState
from edge_inference.core.reading import Quantity, Reading, ReadingStatus, Role


def reading(name: str, device: str = "", role: Role = Role.NONE, value: float = 1.0) -> Reading:
    return Reading(name, Quantity.POWER, value, "test", 0, role=role, device=device)


def absent(given: Reading) -> Reading:
    return replace(given, value=None, status=ReadingStatus.ABSENT)


def test_a_reading_without_a_device_is_one() -> None:
    alone = reading("zone/tj")
    assert alone.device == "zone/tj"
    assert replace(alone, value=2.0).device == "zone/tj"


def test_devices_are_in_the_order_of_their_first_readings() -> None:
    a, b, c = reading("a/power", "a"), reading("b"), reading("a/current", "a")
    assert group_by_device([a, b, c]) == (Device("a", (a, c)), Device("b", (b,)))
    assert group_by_device([]) == ()


def test_values_of_a_device() -> None:
    device = Device("a", (reading("a/p", "a", Role.BATTERY_POWER, math.nan), reading("a/q", "a")))
    assert device.value(Role.BATTERY_POWER) is None
    assert device.value(Role.BATTERY_ENERGY) is None
    assert device.value(Role.NONE) == 1.0


def test_a_number_that_is_none_is_not_the_hottest() -> None:
    warm = replace(reading("a", role=Role.CONTROL), value=40.0)
    for odd in (math.nan, math.inf):
        broken = replace(reading("b", role=Role.CONTROL), value=odd)
        assert PlatformState("b", (broken, warm), 0).hottest == warm
        assert PlatformState("b", (warm, broken), 0).hottest == warm


def test_a_device_is_absent_if_nothing_of_it_is_left() -> None:
    one, other = reading("a/p", "a"), reading("a/q", "a")
    assert not Device("a", (absent(one), other)).is_absent
    assert Device("a", (absent(one), absent(other))).is_absent


def test_batteries_are_devices_with_a_role_of_a_battery() -> None:
    state = PlatformState(
        "b",
        (
            reading("rail/IN", role=Role.TOTAL_POWER),
            reading("x/p", "x", Role.BATTERY_POWER),
            reading("x/other", "x"),
        ),
        0,
    )
    assert [each.name for each in state.batteries] == ["x"]
    assert len(state.batteries[0].readings) == 2
