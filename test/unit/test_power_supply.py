"""Batteries: units, signs, and missing files of drivers."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from edge_inference.core.reading import Reading, ReadingStatus, Role
from edge_inference.platforms.board_files import find_board, load_boards
from edge_inference.platforms.sensors.kernel import power_supply
from machine_files import Files, MemoryFiles, read_sensors

PC = find_board("pc", load_boards([Path(__file__).parents[2] / "config" / "platforms"]))
ROOT = "sys/class/power_supply"


def supply(name: str = "BAT0", **values: str | int) -> Files:
    files: Files = {f"{ROOT}/{name}/type": "Battery\n", f"{ROOT}/{name}/status": "Discharging\n"}
    return files | {f"{ROOT}/{name}/{file}": value for file, value in values.items()}


def batteries(files: Files) -> dict[str, Reading]:
    return read_sensors(power_supply.find(MemoryFiles(files), PC))


def by_role(**values: str | int) -> dict[Role, Reading]:
    return {each.role: each for each in batteries(supply(**values)).values()}


FULL = {
    "capacity": "80\n",
    "voltage_now": "12000000\n",
    "current_now": "1500000\n",
    "power_now": "18000000\n",
    "energy_now": "40000000\n",
}


def test_no_battery_no_sensors() -> None:
    assert batteries({}) == {}
    assert batteries({f"{ROOT}/AC/type": "Mains\n", f"{ROOT}/AC/online": "1\n"}) == {}
    assert batteries(supply()) == {}


def test_converted_to_si_units() -> None:
    readings = batteries(supply(**FULL))
    assert {name: (each.value, each.quantity.unit) for name, each in readings.items()} == {
        "battery/BAT0/charge": (0.8, ""),
        "battery/BAT0/voltage": (12.0, "V"),
        "battery/BAT0/current": (1.5, "A"),
        "battery/BAT0/power": (18.0, "W"),
        "battery/BAT0/energy": (144000.0, "J"),  # 40 Wh
    }


def test_reading_roles() -> None:
    assert set(by_role(**FULL)) == {
        Role.BATTERY_CHARGE,
        Role.BATTERY_VOLTAGE,
        Role.BATTERY_CURRENT,
        Role.BATTERY_POWER,
        Role.BATTERY_ENERGY,
    }


def test_power_is_voltage_times_current_without_a_power_file() -> None:
    readings = by_role(voltage_now="12000000\n", current_now="1500000\n")
    assert readings[Role.BATTERY_POWER].value == pytest.approx(18.0)


@pytest.mark.parametrize("lost", ["voltage_now", "current_now"])
def test_power_needs_voltage_and_current(lost: str) -> None:
    values: dict[str, str | int] = {"voltage_now": "12000000\n", "current_now": "1500000\n"}
    reading = by_role(**{**values, lost: errno.ENODEV})[Role.BATTERY_POWER]
    assert (reading.value, reading.status) == (None, ReadingStatus.ABSENT)


def test_energy_is_charge_times_design_voltage() -> None:
    values = {"charge_now": "2000000\n", "voltage_now": "12600000\n"}
    assert by_role(**values)[Role.BATTERY_ENERGY].value == pytest.approx(2 * 12.6 * 3600)
    values["voltage_min_design"] = "11100000\n"
    assert by_role(**values)[Role.BATTERY_ENERGY].value == pytest.approx(2 * 11.1 * 3600)


def test_charge_without_a_voltage_gives_no_energy() -> None:
    assert Role.BATTERY_ENERGY not in by_role(charge_now="2000000\n", capacity="50\n")


@pytest.mark.parametrize(
    ("status", "says", "value"),
    [
        ("Discharging\n", "1500000", 1.5),
        ("Discharging\n", "-1500000", 1.5),
        ("Charging\n", "1500000", -1.5),
        ("Charging\n", "-1500000", -1.5),
        ("Full\n", "0", 0.0),
        ("Not charging\n", "1000", -0.001),
        ("Unknown\n", "-1500000", 1.5),
        ("Unknown\n", "0", 0.0),
        ("Unknown\n", "1500000", None),
        (errno.EIO, "1500000", None),
    ],
)
def test_sign_follows_the_status(status: str | int, says: str, value: float | None) -> None:
    readings = by_role(status=status, current_now=says, voltage_now="10000000")
    current, power = readings[Role.BATTERY_CURRENT], readings[Role.BATTERY_POWER]
    assert current.value == value
    assert power.value == (None if value is None else pytest.approx(10 * value))
    if value is None:
        assert current.status is ReadingStatus.INVALID
        assert "charging or discharging" in current.problem


@pytest.mark.parametrize(
    ("file", "content"),
    [("capacity", "101\n"), ("capacity", "-1\n"), ("voltage_now", "-5\n"), ("energy_now", "?")],
)
def test_impossible_values_are_invalid(file: str, content: str) -> None:
    broken = [each for each in by_role(**{**FULL, file: content}).values() if each.value is None]
    assert [each.status for each in broken] == [ReadingStatus.INVALID]


def test_removed_battery_is_absent() -> None:
    readings = by_role(**{**FULL, "capacity": errno.ENODEV})
    assert readings[Role.BATTERY_CHARGE].status is ReadingStatus.ABSENT


def test_battery_of_a_mouse_is_skipped() -> None:
    assert batteries(supply("hidpp_battery_0", scope="Device\n", capacity="50\n")) == {}


def test_two_batteries() -> None:
    files = supply("BAT0", capacity="10\n") | supply("BAT1", capacity="90\n")
    readings = batteries(files)
    assert [each.value for each in readings.values()] == [0.1, 0.9]
