"""Batteries: ``sys/class/power_supply/*``, in µV, µA, µW, µWh and µAh.

In readings, positive means discharging. ``battery_status`` decides the direction, also by the
``online`` of chargers and supplies in the same folder.
"""

from __future__ import annotations

import errno
import math
import operator
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from edge_inference.core.reading import BatteryStatus, Quantity, Reading, ReadingStatus, Role
from edge_inference.platforms.attributes import (
    classify_error,
    read_number_or_none,
    read_text,
)
from edge_inference.platforms.board_files import Board
from edge_inference.platforms.file_patterns import join_patterns
from edge_inference.platforms.sensors.channel import Channel, Clock, FileSensor
from edge_inference.platforms.sensors.kernel.battery_status import (
    ExternalPower,
    Flow,
    decide_status,
    parse_status,
)
from edge_inference.platforms.sensors.probe import SensorProbe
from edge_inference.platforms.sensors.sensor import Sensor
from edge_inference.platforms.system_files import SystemFiles

_FOLDER = "sys/class/power_supply"
_BATTERY = "Battery"
_MICRO = 1_000_000
_HOUR_S = 3600
#: A driver that reports 0 V measures nothing; energies computed from it would be 0.
_MIN_VOLTAGE_V = 0.01
_FLOWS = (Role.BATTERY_POWER, Role.BATTERY_CURRENT)
_CHARGE_OF_ENERGY = (
    (Role.BATTERY_ENERGY, Role.BATTERY_REMAINING_CHARGE),
    (Role.BATTERY_FULL_ENERGY, Role.BATTERY_FULL_CHARGE),
)


@dataclass(frozen=True)
class _BatteryFile:
    """A quantity of a battery: the end of its reading's name, and the file that may hold it."""

    suffix: str
    file: str
    quantity: Quantity
    role: Role
    multiplier: int = 1
    divisor: int = _MICRO
    min_value: float = 0.0
    max_value: float = math.inf


_FILES = (
    _BatteryFile(
        "charge", "capacity", Quantity.SHARE, Role.BATTERY_CHARGE, divisor=100, max_value=1
    ),
    _BatteryFile(
        "voltage", "voltage_now", Quantity.VOLTAGE, Role.BATTERY_VOLTAGE, min_value=_MIN_VOLTAGE_V
    ),
    _BatteryFile(
        "current", "current_now", Quantity.CURRENT, Role.BATTERY_CURRENT, min_value=-math.inf
    ),
    _BatteryFile("power", "power_now", Quantity.POWER, Role.BATTERY_POWER, min_value=-math.inf),
    _BatteryFile("energy", "energy_now", Quantity.ENERGY, Role.BATTERY_ENERGY, _HOUR_S),
    _BatteryFile("full_energy", "energy_full", Quantity.ENERGY, Role.BATTERY_FULL_ENERGY, _HOUR_S),
    _BatteryFile(
        "remaining_charge",
        "charge_now",
        Quantity.ELECTRIC_CHARGE,
        Role.BATTERY_REMAINING_CHARGE,
        _HOUR_S,
    ),
    _BatteryFile(
        "full_charge", "charge_full", Quantity.ELECTRIC_CHARGE, Role.BATTERY_FULL_CHARGE, _HOUR_S
    ),
    _BatteryFile(
        "design_voltage", "voltage_min_design", Quantity.VOLTAGE, Role.BATTERY_DESIGN_VOLTAGE
    ),
    _BatteryFile(
        "temperature",
        "temp",
        Quantity.TEMPERATURE,
        Role.BATTERY_TEMPERATURE,
        divisor=10,
        min_value=-40,
        max_value=130,
    ),
    _BatteryFile("status", "status", Quantity.STATE, Role.BATTERY_STATUS, divisor=1),
)


@dataclass(frozen=True)
class _Derivation:
    """Computes a quantity that a driver does not report from two others."""

    role: Role
    first: Role
    second: Role
    compute: Callable[[float, float], float]


#: The best ones first; one may use the results of those before it.
_DERIVATIONS = (
    _Derivation(Role.BATTERY_POWER, Role.BATTERY_CURRENT, Role.BATTERY_VOLTAGE, operator.mul),
    _Derivation(Role.BATTERY_CURRENT, Role.BATTERY_POWER, Role.BATTERY_VOLTAGE, operator.truediv),
    *(
        _Derivation(energy, charge, voltage, operator.mul)
        for voltage in (Role.BATTERY_DESIGN_VOLTAGE, Role.BATTERY_VOLTAGE)
        for energy, charge in _CHARGE_OF_ENERGY
    ),
    *(
        _Derivation(charge, energy, Role.BATTERY_DESIGN_VOLTAGE, operator.truediv)
        for energy, charge in _CHARGE_OF_ENERGY
    ),
    _Derivation(
        Role.BATTERY_CHARGE,
        Role.BATTERY_ENERGY,
        Role.BATTERY_FULL_ENERGY,
        # A battery may hold a little more than when it was last full.
        lambda energy, full: min(energy / full, 1.0),
    ),
)


@dataclass
class Battery(FileSensor):
    """One battery. ``folder`` is its own one; ``derivations`` compute what has no file.

    ``chargers`` are the folders of the supplies from outside, ``others`` those of the other
    batteries.
    """

    folder: str = ""
    derivations: tuple[_Derivation, ...] = ()
    chargers: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    def read(self) -> Sequence[Reading]:
        """Read the battery once."""
        if not _is_in_place(self.files, self.folder):
            problem = "there is no battery in its place"
            return [
                each.make_empty_reading(ReadingStatus.ABSENT, problem, self.clock())
                for each in self.channels
            ]
        channels = {channel.role: channel for channel in self.channels}
        derived = {each.role for each in self.derivations}
        found: dict[Role, Reading] = {
            role: channel.read(self.files, self.clock, _classify_error)
            for role, channel in channels.items()
            if role not in derived and role is not Role.BATTERY_STATUS
        }
        found[Role.BATTERY_STATUS] = self._read_status(channels[Role.BATTERY_STATUS], found)
        for role in found.keys() & set(_FLOWS):
            found[role] = _with_direction(found[role], found[Role.BATTERY_STATUS])
        for each in self.derivations:
            factors = found[each.first], found[each.second]
            found[each.role] = _derive(channels[each.role], each.compute, *factors)
        return [found[role] for role in channels]

    def _read_status(self, channel: Channel, found: Mapping[Role, Reading]) -> Reading:
        text = read_text(self.files, channel.path)
        external, flow = self._read_external_power(), _find_flow(found)
        status = decide_status(parse_status(text), flow, external, self._does_another_discharge)
        if status is not None:
            return channel.make_reading(float(status), self.clock())
        problem = (
            f"the direction is unknown: the driver's status is {text!r}, its power is "
            f"{flow.value}, external power is {external.value}"
        )
        return channel.make_empty_reading(ReadingStatus.INVALID, problem, self.clock())

    def _read_external_power(self) -> ExternalPower:
        states = [read_number_or_none(self.files, f"{each}/online") for each in self.chargers]
        if any(state is not None and state > 0 for state in states):  # 2: at another voltage
            return ExternalPower.ONLINE
        return ExternalPower.OFFLINE if set(states) == {0} else ExternalPower.UNKNOWN

    def _does_another_discharge(self) -> bool:
        texts = (read_text(self.files, f"{each}/status") for each in self.others)
        return any(parse_status(text) is BatteryStatus.DISCHARGING for text in texts)


def find(files: SystemFiles, _: Board, clock: Clock = time.monotonic_ns) -> list[Sensor]:
    """Return a sensor for each battery of the machine: ``battery/<name>/charge`` and more.

    A supply with ``scope`` Device is skipped: it is in a mouse or a game pad. So is an empty place.
    """
    batteries, chargers = [], []
    for name in files.list(_FOLDER):
        folder = f"{_FOLDER}/{name}"
        if read_text(files, f"{folder}/scope") == "Device":
            continue
        if read_text(files, f"{folder}/type") == _BATTERY:
            if _is_in_place(files, folder):
                batteries.append(folder)
        elif "online" in files.list(folder):
            chargers.append(folder)
    found = (
        _make_battery(files, clock, each, chargers, [other for other in batteries if other != each])
        for each in batteries
    )
    return [each for each in found if each is not None]


def _make_battery(
    files: SystemFiles, clock: Clock, folder: str, chargers: Sequence[str], others: Sequence[str]
) -> Battery | None:
    """Return the battery; None if it reports nothing but a status."""
    names = files.list(folder)
    known = {each.role: f"{folder}/{each.file}" for each in _FILES if each.file in names}
    if not read_number_or_none(files, f"{folder}/voltage_min_design"):
        known.pop(Role.BATTERY_DESIGN_VOLTAGE, None)  # a driver that does not know it reports 0
    derivations = []
    for each in _DERIVATIONS:
        if each.role not in known and {each.first, each.second} <= known.keys():
            derivations.append(each)
            known[each.role] = known[each.first]
    if not known.keys() - {Role.BATTERY_STATUS}:
        return None
    known.setdefault(Role.BATTERY_STATUS, f"{folder}/status")
    device = f"battery/{folder.rpartition('/')[2]}"
    channels = tuple(
        Channel(
            f"{device}/{each.suffix}",
            known[each.role],
            each.quantity,
            each.multiplier,
            each.divisor,
            each.role,
            each.min_value,
            each.max_value,
            device=device,
        )
        for each in _FILES
        if each.role in known
    )
    return Battery(
        channels, files, clock, folder, tuple(derivations), tuple(chargers), tuple(others)
    )


def _is_in_place(files: SystemFiles, folder: str) -> bool:
    """Tell whether a folder still is of a battery, and the battery in its place."""
    is_battery = read_text(files, f"{folder}/type") == _BATTERY
    return is_battery and read_number_or_none(files, f"{folder}/present") != 0


def _classify_error(error: OSError) -> tuple[ReadingStatus, str]:
    """Classify an error of a battery in its place: a value may be missing, but not the battery.

    Drivers answer ENODEV or ENODATA for a value that they do not know.
    """
    status, problem = classify_error(error)
    if status in (ReadingStatus.ABSENT, ReadingStatus.GATED):
        code = errno.errorcode[error.errno or 0]
        return ReadingStatus.INVALID, f"the driver has no value ({code})"
    return status, problem


def _find_flow(found: Mapping[Role, Reading]) -> Flow:
    values = [each.value for role in _FLOWS if (each := found.get(role)) and each.value is not None]
    if not values:
        return Flow.UNKNOWN
    if any(value < 0 for value in values):
        return Flow.NEGATIVE
    return Flow.POSITIVE if any(values) else Flow.ZERO


def _with_direction(flow: Reading, status: Reading) -> Reading:
    """Return a power or current with the sign that follows from the battery's status."""
    if not flow.value:
        return flow
    if status.value is None:
        return replace(flow, value=None, status=ReadingStatus.INVALID, problem=status.problem)
    sign = 1 if status.value == BatteryStatus.DISCHARGING else -1
    return replace(flow, value=sign * abs(flow.value))


def _derive(
    channel: Channel, compute: Callable[[float, float], float], first: Reading, second: Reading
) -> Reading:
    stamp_ns = min(first.stamp_ns, second.stamp_ns)
    for each in (first, second):
        if each.value is None:
            return channel.make_empty_reading(each.status, each.problem, each.stamp_ns)
    assert first.value is not None and second.value is not None
    try:
        return channel.make_reading(compute(first.value, second.value), stamp_ns)
    except ZeroDivisionError:
        problem = f"{second.name} is 0"
        return channel.make_empty_reading(ReadingStatus.INVALID, problem, stamp_ns)


PROBE = SensorProbe(
    "power_supply",
    find,
    files=join_patterns(
        [f"{_FOLDER}/*"],
        (
            *("type", "scope", "present", "online", "technology"),
            *(each.file for each in _FILES),
            *("charge_full_design", "energy_full_design"),
        ),
    ),
)
