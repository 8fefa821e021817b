"""Batteries: ``sys/class/power_supply/*``, in µV, µA, µW, µWh and µAh.

The kernel's rule is that a current is negative while a battery discharges, yet
many drivers give it without a sign. The direction is therefore taken from
``status``. Here, positive is out of the battery.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from edge_inference.core.reading import Quantity, Reading, ReadingStatus, Role
from edge_inference.platforms.attributes import number_of, text_of
from edge_inference.platforms.boards import Board
from edge_inference.platforms.sensors.channel import Channel, Clock, FileSensor
from edge_inference.platforms.sensors.sensor import Sensor
from edge_inference.platforms.tree import Tree

_FOLDER = "sys/class/power_supply"
_MICRO = 1_000_000
_SECONDS_PER_HOUR = 3600
_OUTWARD = {"discharging": 1, "charging": -1, "full": -1, "not charging": -1}
_FLOWS = (Role.BATTERY_POWER, Role.BATTERY_CURRENT)
#: Battery voltages that tell an energy from a charge, the best first.
_VOLTAGES = ("voltage_min_design", "voltage_now")


@dataclass
class Battery(FileSensor):
    """One battery.

    ``multiplied`` is True for one whose driver gives no power: it is then voltage times
    current, and the power's channel has no file of its own.
    """

    status: str = ""
    multiplied: bool = False

    def read(self) -> Sequence[Reading]:
        """Look at the battery once."""
        looks = {
            each.role: each.look(self.tree, self.clock)
            for each in self.channels
            if not (self.multiplied and each.role is Role.BATTERY_POWER)
        }
        says = text_of(self.tree, self.status)
        for role in _FLOWS:
            if role in looks:
                looks[role] = _outward(looks[role], says)
        if self.multiplied:
            power = next(each for each in self.channels if each.role is Role.BATTERY_POWER)
            looks[power.role] = _product(
                power, looks[Role.BATTERY_VOLTAGE], looks[Role.BATTERY_CURRENT]
            )
        return list(looks.values())


def find(tree: Tree, _: Board, clock: Clock = time.monotonic_ns) -> list[Sensor]:
    """Return a sensor for each battery of the machine: ``battery/<name>/charge`` and more.

    A battery in a mouse or a game pad (``scope`` Device) is none of the machine's.
    """
    found: list[Sensor] = []
    for name in tree.list(_FOLDER):
        path = f"{_FOLDER}/{name}"
        is_battery = text_of(tree, f"{path}/type") == "Battery"
        if is_battery and text_of(tree, f"{path}/scope") != "Device":
            battery = _battery(tree, clock, f"battery/{name}", path)
            found += [battery] if battery.channels else []
    return found


def _battery(tree: Tree, clock: Clock, name: str, path: str) -> Battery:
    files = tree.list(path)
    channels = []
    if "capacity" in files:
        file = f"{path}/capacity"
        channels.append(
            Channel(
                f"{name}/charge",
                file,
                Quantity.SHARE,
                per=100,
                role=Role.BATTERY_CHARGE,
                lowest=0,
                highest=1,
            )
        )
    if "voltage_now" in files:
        file = f"{path}/voltage_now"
        role = Role.BATTERY_VOLTAGE
        channels.append(
            Channel(f"{name}/voltage", file, Quantity.VOLTAGE, per=_MICRO, role=role, lowest=0)
        )
    if "current_now" in files:
        file = f"{path}/current_now"
        role = Role.BATTERY_CURRENT
        channels.append(Channel(f"{name}/current", file, Quantity.CURRENT, per=_MICRO, role=role))
    multiplied = "power_now" not in files and {"voltage_now", "current_now"} <= set(files)
    if "power_now" in files or multiplied:
        file = f"{path}/current_now" if multiplied else f"{path}/power_now"
        role = Role.BATTERY_POWER
        channels.append(Channel(f"{name}/power", file, Quantity.POWER, per=_MICRO, role=role))
    energy = _energy(tree, name, path, files)
    channels += [energy] if energy else []
    return Battery(tuple(channels), tree, clock, f"{path}/status", multiplied)


def _energy(tree: Tree, name: str, path: str, files: Sequence[str]) -> Channel | None:
    """Describe the energy left: as such, or as a charge at the battery's usual voltage."""
    if "energy_now" in files:
        file, times = f"{path}/energy_now", _SECONDS_PER_HOUR
        per = _MICRO
    elif "charge_now" in files:
        volts = next((v for each in _VOLTAGES if (v := number_of(tree, f"{path}/{each}"))), None)
        if volts is None:
            return None
        file, times = f"{path}/charge_now", volts * _SECONDS_PER_HOUR
        per = _MICRO * _MICRO
    else:
        return None
    role = Role.BATTERY_ENERGY
    return Channel(f"{name}/energy", file, Quantity.ENERGY, times, per, role, lowest=0)


def _outward(reading: Reading, says: str) -> Reading:
    """Give a flow the sign that the battery's status tells."""
    if reading.value is None or reading.value == 0:
        return reading
    sign = _OUTWARD.get(says.lower())
    if sign is not None:
        return replace(reading, value=sign * abs(reading.value))
    if reading.value < 0:  # without a status, a sign tells: it is negative while discharging
        return replace(reading, value=-reading.value)
    problem = f"the battery does not say whether it is charged or discharged (status {says!r})"
    return replace(reading, value=None, status=ReadingStatus.INVALID, problem=problem)


def _product(power: Channel, voltage: Reading, current: Reading) -> Reading:
    for factor in (voltage, current):
        if factor.value is None:
            return power.unknown(factor.status, factor.problem, factor.stamp_ns)
    assert voltage.value is not None and current.value is not None
    return power.known(voltage.value * current.value, current.stamp_ns)
