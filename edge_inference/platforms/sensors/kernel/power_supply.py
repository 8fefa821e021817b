"""Batteries: ``sys/class/power_supply/*``, in µV, µA, µW, µWh and µAh.

By the kernel's rule a current is negative while a battery discharges, but many
drivers report it without a sign. The direction is therefore taken from ``status``.
In readings, positive means discharging.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from edge_inference.core.reading import Quantity, Reading, ReadingStatus, Role
from edge_inference.platforms.attributes import read_number_or_none, read_text
from edge_inference.platforms.board_files import Board
from edge_inference.platforms.file_patterns import join_patterns
from edge_inference.platforms.sensors.channel import Channel, Clock, FileSensor
from edge_inference.platforms.sensors.probe import SensorProbe
from edge_inference.platforms.sensors.sensor import Sensor
from edge_inference.platforms.system_files import SystemFiles

_FOLDER = "sys/class/power_supply"
_MICRO = 1_000_000
_SECONDS_PER_HOUR = 3600
_DISCHARGE_SIGNS = {"discharging": 1, "charging": -1, "full": -1, "not charging": -1}
_FLOWS = (Role.BATTERY_POWER, Role.BATTERY_CURRENT)
#: Files with the battery voltage that converts a charge to an energy, the best first.
_VOLTAGES = ("voltage_min_design", "voltage_now")


@dataclass
class Battery(FileSensor):
    """One battery.

    ``computes_power`` is True if the driver reports no power. The power is then voltage times
    current, and its channel has no file of its own.
    """

    status: str = ""
    computes_power: bool = False

    def read(self) -> Sequence[Reading]:
        """Read the battery once."""
        readings = {
            each.role: each.read(self.files, self.clock)
            for each in self.channels
            if not (self.computes_power and each.role is Role.BATTERY_POWER)
        }
        status_text = read_text(self.files, self.status)
        for role in _FLOWS:
            if role in readings:
                readings[role] = _with_discharge_sign(readings[role], status_text)
        if self.computes_power:
            power = next(each for each in self.channels if each.role is Role.BATTERY_POWER)
            readings[power.role] = _multiply_power(
                power, readings[Role.BATTERY_VOLTAGE], readings[Role.BATTERY_CURRENT]
            )
        return list(readings.values())


def find(files: SystemFiles, _: Board, clock: Clock = time.monotonic_ns) -> list[Sensor]:
    """Return a sensor for each battery of the machine: ``battery/<name>/charge`` and more.

    A battery with ``scope`` Device is skipped: it is in a mouse or a game pad.
    """
    found: list[Sensor] = []
    for name in files.list(_FOLDER):
        path = f"{_FOLDER}/{name}"
        is_battery = read_text(files, f"{path}/type") == "Battery"
        if is_battery and read_text(files, f"{path}/scope") != "Device":
            battery = _make_battery(files, clock, f"battery/{name}", path)
            found += [battery] if battery.channels else []
    return found


def _make_battery(files: SystemFiles, clock: Clock, name: str, path: str) -> Battery:
    names = files.list(path)
    channels = []
    if "capacity" in names:
        file = f"{path}/capacity"
        channels.append(
            Channel(
                f"{name}/charge",
                file,
                Quantity.SHARE,
                divisor=100,
                role=Role.BATTERY_CHARGE,
                min_value=0,
                max_value=1,
            )
        )
    if "voltage_now" in names:
        file = f"{path}/voltage_now"
        role = Role.BATTERY_VOLTAGE
        channels.append(
            Channel(
                f"{name}/voltage", file, Quantity.VOLTAGE, divisor=_MICRO, role=role, min_value=0
            )
        )
    if "current_now" in names:
        file = f"{path}/current_now"
        role = Role.BATTERY_CURRENT
        channels.append(
            Channel(f"{name}/current", file, Quantity.CURRENT, divisor=_MICRO, role=role)
        )
    computes_power = "power_now" not in names and {"voltage_now", "current_now"} <= set(names)
    if "power_now" in names or computes_power:
        file = f"{path}/current_now" if computes_power else f"{path}/power_now"
        role = Role.BATTERY_POWER
        channels.append(Channel(f"{name}/power", file, Quantity.POWER, divisor=_MICRO, role=role))
    energy = _make_energy_channel(files, name, path, names)
    channels += [energy] if energy else []
    return Battery(tuple(channels), files, clock, f"{path}/status", computes_power)


def _make_energy_channel(
    files: SystemFiles, name: str, path: str, names: Sequence[str]
) -> Channel | None:
    """Return the channel of the remaining energy, from the energy or the charge times voltage."""
    if "energy_now" in names:
        file, multiplier = f"{path}/energy_now", _SECONDS_PER_HOUR
        divisor = _MICRO
    elif "charge_now" in names:
        volts = next(
            (v for each in _VOLTAGES if (v := read_number_or_none(files, f"{path}/{each}"))), None
        )
        if volts is None:
            return None
        file, multiplier = f"{path}/charge_now", volts * _SECONDS_PER_HOUR
        divisor = _MICRO * _MICRO
    else:
        return None
    role = Role.BATTERY_ENERGY
    return Channel(f"{name}/energy", file, Quantity.ENERGY, multiplier, divisor, role, min_value=0)


def _with_discharge_sign(reading: Reading, status_text: str) -> Reading:
    """Give a power or current the sign that follows from the battery's status."""
    if reading.value is None or reading.value == 0:
        return reading
    sign = _DISCHARGE_SIGNS.get(status_text.lower())
    if sign is not None:
        return replace(reading, value=sign * abs(reading.value))
    if reading.value < 0:  # without a status, a negative value means discharging
        return replace(reading, value=-reading.value)
    problem = f"expected a battery status of charging or discharging, got {status_text!r}"
    return replace(reading, value=None, status=ReadingStatus.INVALID, problem=problem)


def _multiply_power(power: Channel, voltage: Reading, current: Reading) -> Reading:
    for factor in (voltage, current):
        if factor.value is None:
            return power.make_empty_reading(factor.status, factor.problem, factor.stamp_ns)
    assert voltage.value is not None and current.value is not None
    return power.make_reading(voltage.value * current.value, current.stamp_ns)


_FILES = (
    *("type", "scope", "status", "present", "online", "technology", "capacity", "temp"),
    *("voltage_now", "voltage_min_design", "current_now", "power_now"),
    *("charge_now", "charge_full", "charge_full_design"),
    *("energy_now", "energy_full", "energy_full_design"),
)
PROBE = SensorProbe("power_supply", find, files=join_patterns([f"{_FOLDER}/*"], _FILES))
