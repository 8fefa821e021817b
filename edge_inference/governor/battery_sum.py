"""All batteries of a machine together: the power that they deliver, and their energy.

A battery that was removed does not count. A sum is unknown if the part of one battery is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edge_inference.core.device import Device
from edge_inference.core.platform_state import PlatformState
from edge_inference.core.reading import BatteryStatus, Role


@dataclass(frozen=True)
class BatterySum:
    """``power_w`` is positive while the batteries deliver more than they take; None if unknown.

    ``delivers`` is False only if the batteries as a whole surely do not discharge. ``problems``
    say by role why a sum is None.
    """

    power_w: float | None
    energy_j: float | None
    full_energy_j: float | None
    delivers: bool
    problems: dict[Role, str]


def sum_batteries(state: PlatformState) -> BatterySum | None:
    """Return the sums of a machine's batteries; None if it has none."""
    batteries = [each for each in state.batteries if not each.is_absent]
    if not batteries:
        return None
    problems: dict[Role, str] = {}
    power_w = _sum(batteries, Role.BATTERY_POWER, problems)
    energy_j = _sum(batteries, Role.BATTERY_ENERGY, problems)
    full_energy_j = _sum(batteries, Role.BATTERY_FULL_ENERGY, problems)
    discharging = [each for each in batteries if _may_discharge(each)]
    unmeasured = [each for each in discharging if each.value(Role.BATTERY_POWER) == 0.0]
    if power_w is not None and power_w <= 0.0 and unmeasured:
        power_w = None
        problem = f"{unmeasured[0].name} reports 0 W, but may discharge"
        problems[Role.BATTERY_POWER] = problem
    delivers = bool(discharging) if power_w is None else power_w > 0.0
    return BatterySum(power_w, energy_j, full_energy_j, delivers, problems)


def _sum(batteries: list[Device], role: Role, problems: dict[Role, str]) -> float | None:
    total = 0.0
    for battery in batteries:
        value = _VALUES[role](battery)
        total += math.nan if value is None else value
        if not math.isfinite(total):
            reading = battery.by_role(role)
            reason = f": {reading.problem}" if reading is not None and reading.problem else ""
            problems[role] = f"{battery.name} does not report its {_NAMES[role]}{reason}"
            return None
    return total


def _energy_j(battery: Device) -> float | None:
    energy_j = battery.value(Role.BATTERY_ENERGY)
    return energy_j if energy_j is not None and energy_j >= 0.0 else None


def _full_energy_j(battery: Device) -> float | None:
    """Return the energy of a full battery: its own, or what follows from its state of charge."""
    full_j = battery.value(Role.BATTERY_FULL_ENERGY)
    if full_j is not None and full_j > 0.0:
        return full_j
    energy_j, charge = _energy_j(battery), battery.value(Role.BATTERY_CHARGE)
    if energy_j is None or charge is None or not 0.0 < charge <= 1.0:
        return None
    return energy_j / charge


def _may_discharge(battery: Device) -> bool:
    """Tell whether a battery discharges, or nothing that is known says what it does."""
    return battery.value(Role.BATTERY_STATUS) not in _IDLE_OR_CHARGING


_IDLE_OR_CHARGING = {float(each) for each in BatteryStatus if each is not BatteryStatus.DISCHARGING}
#: What a sum adds up, and how a problem names it.
_VALUES: Mapping[Role, Callable[[Device], float | None]] = {
    Role.BATTERY_POWER: lambda battery: battery.value(Role.BATTERY_POWER),
    Role.BATTERY_ENERGY: _energy_j,
    Role.BATTERY_FULL_ENERGY: _full_energy_j,
}
_NAMES = {
    Role.BATTERY_POWER: "power",
    Role.BATTERY_ENERGY: "remaining energy",
    Role.BATTERY_FULL_ENERGY: "energy when full, which the reserve needs",
}
