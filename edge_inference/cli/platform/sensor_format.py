"""A platform state as JSON, and as rows of a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from edge_inference.core.device import Device, group_by_device
from edge_inference.core.platform_state import PlatformState
from edge_inference.core.reading import BatteryStatus, Quantity, Reading, ReadingStatus, Role

#: What does not change; only JSON has it.
_CONSTANTS = (Role.BATTERY_FULL_ENERGY, Role.BATTERY_FULL_CHARGE, Role.BATTERY_DESIGN_VOLTAGE)
_EVENTS = (Quantity.STATE, Quantity.COUNT)


@dataclass(frozen=True)
class SensorRow:
    """The readings of one device: name, values and a remark."""

    name: str
    values: str
    remark: str
    #: False for a fault or while throttling; None if the measured unit is powered off.
    is_ok: bool | None


def state_as_json(state: PlatformState, time_s: float) -> dict[str, Any]:
    """Return a state as plain data; an unknown value is null."""
    hottest = state.hottest
    return {
        "t": round(time_s, 3),
        "board": state.board,
        "mode": state.mode,
        "problem": state.problem,
        "power_w": state.power_w,
        "hottest": None if hottest is None else hottest.name,
        "readings": [_reading_as_json(reading) for reading in state.readings],
    }


def format_headline(state: PlatformState) -> str:
    """Summarise board, power mode, temperature, power and throttling in one line."""
    parts = [state.board]
    if state.mode:
        parts.append(f"mode {state.mode}")
    hottest = state.hottest
    if hottest is not None:
        parts.append(f"{_format_value(hottest)} ({hottest.name})")
    if state.power_w is not None:
        parts.append(f"{state.power_w:.2f} W")
    parts.append(_format_throttling(state))
    return ", ".join(part for part in parts if part)


def make_rows(state: PlatformState) -> list[SensorRow]:
    """Return the rows of the table, without constants, and alerts and counters at 0."""
    devices = group_by_device(each for each in state.readings if _is_of_interest(each))
    return [_make_row(*row) for device in devices for row in _split_device(device)]


def _reading_as_json(reading: Reading) -> dict[str, Any]:
    return {
        "name": reading.name,
        "device": reading.device,
        "quantity": reading.quantity.value,
        "value": reading.value,
        "unit": reading.quantity.unit,
        "status": reading.status.value,
        "role": reading.role.value,
        "problem": reading.problem,
        "throttle": reading.throttle,
        "critical": reading.critical,
        "limit": reading.limit,
        "source": reading.source,
    }


def _format_throttling(state: PlatformState) -> str:
    found = list(state.by_role(Role.THROTTLE))
    active = [each.name for each in found if each.quantity is Quantity.STATE and each.value]
    if active:
        return f"THROTTLED by {', '.join(active)}"
    # A count above 0 means that it was throttled at some time since the boot.
    past = [f"{each.name} {_format_value(each)}" for each in found if each.value]
    if past:
        return f"not throttled now ({', '.join(past)} since the start)"
    return "not throttled" if any(each.value is not None for each in found) else ""


def _is_of_interest(reading: Reading) -> bool:
    is_at_rest = reading.quantity in _EVENTS and reading.value == 0
    return not is_at_rest and reading.role not in _CONSTANTS


def _split_device(device: Device) -> Iterator[tuple[str, list[Reading]]]:
    """Yield one row for a device, and one for each reading that would not be clear in it.

    That is a second one of a quantity, and a state or count whose name alone says what it is.
    """
    first = {each.quantity: each for each in reversed(device.readings)}
    row = [
        each
        for each in device.readings
        if first[each.quantity] is each
        and not (each.quantity in _EVENTS and each.role is Role.NONE)
    ]
    if row:
        yield (row[0].name if len(row) == 1 else device.name), row
    yield from ((each.name, [each]) for each in device.readings if each not in row)


def _make_row(name: str, group: Sequence[Reading]) -> SensorRow:
    values = "  ".join(_format_value(each) for each in group if each.value is not None)
    faults = [each for each in group if each.status is not ReadingStatus.OK]
    remarks = [each.role.remark for each in group]
    remarks += [_format_limits(each) for each in group if each.value is not None]
    remarks += dict.fromkeys(each.problem for each in faults)
    return SensorRow(
        name,
        values or faults[0].status.value,
        "; ".join(remark for remark in remarks if remark),
        _is_ok(group),
    )


def _is_ok(group: Sequence[Reading]) -> bool | None:
    if all(each.status is ReadingStatus.GATED for each in group):
        return None
    return all(each.status is ReadingStatus.OK and not _is_hot(each) for each in group)


def _is_hot(reading: Reading) -> bool:
    if reading.role is Role.THROTTLE and reading.quantity is Quantity.STATE:
        return bool(reading.value)
    limits = [each for each in (reading.throttle, reading.limit) if each is not None]
    return reading.value is not None and any(reading.value >= each for each in limits)


def _format_limits(reading: Reading) -> str:
    parts = []
    if reading.limit is not None:
        parts.append(f"limit {reading.limit:g}")
    if reading.throttle is not None:
        parts.append(f"throttles at {reading.throttle:g}")
    if reading.critical is not None:
        parts.append(f"critical at {reading.critical:g}")
    return ", ".join(parts)


def _format_value(reading: Reading) -> str:
    if reading.value is None:
        return reading.status.value
    if reading.role is Role.BATTERY_STATUS:
        return _format_battery_status(reading.value)
    return reading.quantity.describe(reading.value)


def _format_battery_status(value: float) -> str:
    names = {float(each): each.name.lower().replace("_", " ") for each in BatteryStatus}
    return names.get(value, f"status {value:g}")
