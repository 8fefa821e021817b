"""Batteries: units, signs, and missing files of drivers."""

from __future__ import annotations

import errno
import itertools
from pathlib import Path

import pytest

from edge_inference.core.reading import BatteryStatus, Reading, ReadingStatus, Role
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


def charger(name: str, online: str | int, kind: str = "Mains") -> Files:
    folder = f"{ROOT}/{name}"
    return {f"{folder}/type": f"{kind}\n", f"{folder}/online": online}


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
        "battery/BAT0/status": (2.0, ""),
    }
    assert {each.device for each in readings.values()} == {"battery/BAT0"}


def test_reading_roles() -> None:
    assert set(by_role(**FULL)) == {
        Role.BATTERY_CHARGE,
        Role.BATTERY_VOLTAGE,
        Role.BATTERY_CURRENT,
        Role.BATTERY_POWER,
        Role.BATTERY_ENERGY,
        Role.BATTERY_STATUS,
    }


def test_power_is_voltage_times_current_without_a_power_file() -> None:
    readings = by_role(voltage_now="12000000\n", current_now="1500000\n")
    assert readings[Role.BATTERY_POWER].value == pytest.approx(18.0)


@pytest.mark.parametrize("lost", ["voltage_now", "current_now"])
def test_power_needs_voltage_and_current(lost: str) -> None:
    values: dict[str, str | int] = {"voltage_now": "12000000\n", "current_now": "1500000\n"}
    reading = by_role(**{**values, lost: errno.ENODEV})[Role.BATTERY_POWER]
    assert (reading.value, reading.status) == (None, ReadingStatus.INVALID)


def test_energy_is_charge_times_design_voltage() -> None:
    values = {"charge_now": "2000000\n", "voltage_now": "12600000\n"}
    assert by_role(**values)[Role.BATTERY_ENERGY].value == pytest.approx(2 * 12.6 * 3600)
    values["voltage_min_design"] = "11100000\n"
    assert by_role(**values)[Role.BATTERY_ENERGY].value == pytest.approx(2 * 11.1 * 3600)


def test_charge_without_a_voltage_gives_no_energy() -> None:
    assert Role.BATTERY_ENERGY not in by_role(charge_now="2000000\n", capacity="50\n")


def test_a_driver_that_counts_charge() -> None:
    readings = by_role(
        charge_now="2000000\n",
        charge_full="4000000\n",
        voltage_now="12600000\n",
        voltage_min_design="11100000\n",
    )
    assert {role: each.value for role, each in readings.items()} == {
        Role.BATTERY_REMAINING_CHARGE: 2 * 3600.0,
        Role.BATTERY_FULL_CHARGE: 4 * 3600.0,
        Role.BATTERY_ENERGY: pytest.approx(2 * 11.1 * 3600),
        Role.BATTERY_FULL_ENERGY: pytest.approx(4 * 11.1 * 3600),
        Role.BATTERY_CHARGE: pytest.approx(0.5),
        Role.BATTERY_VOLTAGE: 12.6,
        Role.BATTERY_DESIGN_VOLTAGE: 11.1,
        Role.BATTERY_STATUS: 2.0,
    }
    assert readings[Role.BATTERY_ENERGY].source == f"{ROOT}/BAT0/charge_now"


def test_a_driver_that_counts_energy() -> None:
    readings = by_role(energy_now="20000000", energy_full="40000000", voltage_min_design="10000000")
    assert readings[Role.BATTERY_REMAINING_CHARGE].value == pytest.approx(2 * 3600.0)
    assert readings[Role.BATTERY_FULL_CHARGE].value == pytest.approx(4 * 3600.0)
    readings = by_role(energy_now="20000000", energy_full="40000000", voltage_now="10000000")
    assert Role.BATTERY_REMAINING_CHARGE not in readings


@pytest.mark.parametrize(
    ("now", "full", "share"),
    [("41000000", "40000000", 1.0), ("0", "40000000", 0.0), ("5000000", "0", None)],
)
def test_the_charge_follows_from_energies(now: str, full: str, share: float | None) -> None:
    reading = by_role(energy_now=now, energy_full=full)[Role.BATTERY_CHARGE]
    assert reading.value == share
    assert ("battery/BAT0/full_energy is 0" in reading.problem) is (share is None)


def test_a_design_voltage_of_0_is_unknown() -> None:
    readings = by_role(charge_now="2000000", voltage_min_design="0", voltage_now="12000000")
    assert readings[Role.BATTERY_ENERGY].value == pytest.approx(2 * 12 * 3600)
    assert Role.BATTERY_DESIGN_VOLTAGE not in readings


def test_the_temperature_is_in_tenths() -> None:
    assert by_role(capacity="50", temp="312")[Role.BATTERY_TEMPERATURE].value == pytest.approx(31.2)


@pytest.mark.parametrize(
    ("status", "says", "value"),
    [
        ("Discharging\n", "1500000", 1.5),
        ("Discharging\n", "-1500000", 1.5),
        ("Charging\n", "1500000", -1.5),
        ("Full\n", "0", 0.0),
        ("Unknown\n", "-1500000", 1.5),
        ("Unknown\n", "0", 0.0),
        ("Unknown\n", "1500000", None),
        # Without a charger that Linux knows, this may be an old status or the opposite sign.
        ("Charging\n", "-1500000", None),
        ("Not charging\n", "1000", None),
        (errno.EIO, "1500000", None),
    ],
)
def test_sign_follows_the_status(status: str | int, says: str, value: float | None) -> None:
    readings = by_role(status=status, current_now=says, voltage_now="10000000")
    current, power = readings[Role.BATTERY_CURRENT], readings[Role.BATTERY_POWER]
    assert current.value == value
    assert power.value == (None if value is None else pytest.approx(10 * value))
    if value is None:
        assert current.status is power.status is ReadingStatus.INVALID
        assert "the direction is unknown: the driver's status is" in power.problem
        assert "external power is unknown" in power.problem


@pytest.mark.parametrize(
    ("chargers", "value", "status"),
    [
        (charger("AC", "0\n"), 15.0, BatteryStatus.DISCHARGING),
        (charger("AC", "1\n"), -15.0, BatteryStatus.FULL),
        (charger("AC", "0\n") | charger("usb", "0\n", "USB"), 15.0, BatteryStatus.DISCHARGING),
        # A programmable supply that delivers reports 2.
        (charger("AC", "0\n") | charger("usb", "2\n", "USB"), -15.0, BatteryStatus.FULL),
        (charger("AC", errno.EIO) | charger("usb", "1\n", "USB"), -15.0, BatteryStatus.FULL),
        # A charger that cannot be read may deliver; so may one of a machine that lists none.
        (charger("AC", errno.EIO) | charger("usb", "0\n", "USB"), 15.0, BatteryStatus.DISCHARGING),
        ({}, 15.0, BatteryStatus.DISCHARGING),
    ],
)
def test_full_at_minus_15_watts(chargers: Files, value: float, status: BatteryStatus) -> None:
    readings = batteries(supply(status="Full\n", power_now="-15000000\n") | chargers)
    assert readings["battery/BAT0/power"].value == value
    assert readings["battery/BAT0/status"].value == status


def test_a_charger_that_cannot_be_read_decides_nothing() -> None:
    readings = batteries(supply(status="Full\n", power_now="15000000\n") | charger("AC", errno.EIO))
    assert readings["battery/BAT0/power"].value is None


def test_the_charger_of_a_mouse_does_not_feed_the_machine() -> None:
    mouse = charger("mouse", "1\n", "USB") | {f"{ROOT}/mouse/scope": "Device\n"}
    files = supply(status="Full\n", power_now="15000000\n") | charger("AC", "0\n") | mouse
    assert batteries(files)["battery/BAT0/power"].value == 15.0


def test_power_and_current_have_one_direction() -> None:
    """One of them may be without a sign."""
    values = {"power_now": "15000000\n", "current_now": "-1500000\n", "status": "Unknown\n"}
    readings = by_role(**values)
    assert readings[Role.BATTERY_POWER].value == 15.0
    assert readings[Role.BATTERY_CURRENT].value == 1.5


@pytest.mark.parametrize(
    ("file", "content"),
    [("capacity", "101\n"), ("capacity", "-1\n"), ("voltage_now", "-5\n"), ("energy_now", "?")],
)
def test_impossible_values_are_invalid(file: str, content: str) -> None:
    broken = [each for each in by_role(**{**FULL, file: content}).values() if each.value is None]
    assert [each.status for each in broken] == [ReadingStatus.INVALID]


def test_battery_of_a_mouse_is_skipped() -> None:
    assert batteries(supply("hidpp_battery_0", scope="Device\n", capacity="50\n")) == {}


def test_a_battery_that_is_taken_out_is_absent() -> None:
    files = MemoryFiles(supply(**FULL, present="1\n"))
    sensors = power_supply.find(files, PC)
    files.contents[f"{ROOT}/BAT0/present"] = "0\n"
    assert {each.status for each in read_sensors(sensors).values()} == {ReadingStatus.ABSENT}
    assert power_supply.find(files, PC) == []


def test_two_batteries() -> None:
    files = supply("BAT0", capacity="10\n") | supply("BAT1", capacity="90\n")
    readings = batteries(files)
    assert {name: (each.device, each.value) for name, each in readings.items()} == {
        "battery/BAT0/charge": ("battery/BAT0", 0.1),
        "battery/BAT0/status": ("battery/BAT0", 2.0),
        "battery/BAT1/charge": ("battery/BAT1", 0.9),
        "battery/BAT1/status": ("battery/BAT1", 2.0),
    }


@pytest.mark.parametrize(
    ("first", "second", "values"),
    [
        # Idle beside one that discharges.
        (("Not charging", "0"), ("Discharging", "-9000000"), (0.0, 9.0)),
        (("Full", "0"), ("Discharging", "9000000"), (0.0, 9.0)),
        (("Unknown", "0"), ("Discharging", "9000000"), (0.0, 9.0)),
        # One charges the other one, as a battery in a keyboard may do.
        (("Charging", "5000000"), ("Discharging", "-9000000"), (-5.0, 9.0)),
        # Both deliver, and the status of one lags.
        (("Charging", "-5000000"), ("Discharging", "-9000000"), (5.0, 9.0)),
        (("Full", "5000000"), ("Full", "9000000"), (5.0, 9.0)),
        # Nothing feeds the machine, they say.
        (("Charging", "5000000"), ("Full", "0"), (None, 0.0)),
    ],
)
def test_two_batteries_without_external_power(
    first: tuple[str, str], second: tuple[str, str], values: tuple[float | None, float]
) -> None:
    readings = batteries(
        supply("BAT0", status=first[0], power_now=first[1])
        | supply("BAT1", status=second[0], power_now=second[1])
        | charger("AC", "0\n")
    )
    assert tuple(readings[f"battery/BAT{n}/power"].value for n in (0, 1)) == values


def test_one_battery_has_a_power_and_one_a_voltage_and_a_current() -> None:
    readings = batteries(
        supply("BAT0", power_now="9000000")
        | supply("BAT1", voltage_now="12000000", current_now="1000000")
    )
    assert [readings[f"battery/BAT{n}/power"].value for n in (0, 1)] == [9.0, 12.0]


def test_a_battery_is_kept_over_probes() -> None:
    files = MemoryFiles(supply(**FULL) | charger("AC", "0\n"))
    before = power_supply.find(files, PC)
    assert power_supply.find(files, PC) == before
    files.contents |= charger("usb", "1\n", "USB")
    assert power_supply.find(files, PC) != before


def test_a_battery_that_vanishes_is_absent_beside_a_charger() -> None:
    """Without files nothing tells what it does, and no charger may make up for that."""
    files = MemoryFiles(supply(**FULL) | charger("AC", "0\n"))
    sensors = power_supply.find(files, PC)
    files.remove(f"{ROOT}/BAT0")
    assert {each.status for each in read_sensors(sensors).values()} == {ReadingStatus.ABSENT}


@pytest.mark.parametrize("error", [errno.ENODEV, errno.ENXIO, errno.ENODATA, errno.EAGAIN])
@pytest.mark.parametrize("file", ["power_now", "energy_now", "capacity"])
def test_a_value_that_its_driver_does_not_know_is_invalid(file: str, error: int) -> None:
    """The ACPI driver answers ENODEV; to search for sensors each second would not help."""
    broken = [each for each in by_role(**{**FULL, file: error}).values() if each.value is None]
    assert [each.status for each in broken] == [ReadingStatus.INVALID]
    assert f"has no value ({errno.errorcode[error]})" in broken[0].problem


def test_a_battery_of_0_volts_measures_nothing() -> None:
    readings = by_role(voltage_now="0\n", current_now="1500000\n", charge_now="2000000\n")
    for role in (Role.BATTERY_VOLTAGE, Role.BATTERY_POWER, Role.BATTERY_ENERGY):
        assert readings[role].status is ReadingStatus.INVALID


def test_current_is_power_divided_by_voltage() -> None:
    readings = by_role(voltage_now="12000000\n", power_now="-18000000\n")
    assert readings[Role.BATTERY_CURRENT].value == pytest.approx(1.5)
    assert Role.BATTERY_CURRENT not in by_role(power_now="18000000\n")


@pytest.mark.parametrize("online", ["-1\n", "on\n", ""])
def test_an_online_that_means_nothing_decides_nothing(online: str) -> None:
    readings = batteries(supply(status="Full\n", power_now="15000000\n") | charger("AC", online))
    assert readings["battery/BAT0/power"].value is None


@pytest.mark.parametrize("kind", ["Mains", "USB", "USB_C", "USB_PD", "Wireless", "UPS", "Unknown"])
def test_what_is_no_battery_feeds_the_machine(kind: str) -> None:
    """As in the kernel's power_supply_is_system_supplied; a UPS has a battery of its own."""
    other = charger("x", "1\n", kind) | {f"{ROOT}/x/capacity": "50\n"}
    readings = batteries(supply(status="Full\n", power_now="-15000000\n") | other)
    assert readings["battery/BAT0/status"].value == BatteryStatus.FULL
    assert {each.device for each in readings.values()} == {"battery/BAT0"}


def test_a_driver_that_reports_nothing_but_a_status_is_no_battery() -> None:
    """A charger chip, such as a bq24190, shows one beside the fuel gauge."""
    files = supply("bq24190-battery", online="1\n", technology="Li-ion\n")
    assert batteries(files) == {}


def test_three_batteries_have_a_device_each() -> None:
    files: Files = {}
    for number, watts in enumerate((9, -3, 0)):
        status = ("Discharging", "Charging", "Not charging")[number]
        files |= supply(f"BAT{number}", status=status, power_now=f"{watts}000000", capacity="50")
    readings = batteries(files | charger("AC", "1\n"))
    assert [readings[f"battery/BAT{n}/power"].value for n in range(3)] == [9.0, -3.0, 0.0]


def test_a_supply_without_online_decides_nothing() -> None:
    """A second charger chip of a phone's processor has none."""
    files = supply(status="Full\n", power_now="15000000\n") | charger("AC", "0\n")
    assert batteries(files | {f"{ROOT}/parallel/type": "USB\n"})["battery/BAT0/power"].value == 15.0


def test_a_computed_value_is_as_old_as_the_older_of_its_two() -> None:
    clock = itertools.count(1).__next__
    files = MemoryFiles(supply(voltage_now="12000000\n", current_now="1500000\n"))
    readings = read_sensors(power_supply.find(files, PC, clock))
    voltage, current = (readings[f"battery/BAT0/{name}"] for name in ("voltage", "current"))
    oldest_ns = min(voltage.stamp_ns, current.stamp_ns)
    assert (
        readings["battery/BAT0/power"].stamp_ns
        == oldest_ns
        < max(voltage.stamp_ns, current.stamp_ns)
    )
