"""Converts a PlatformReport to the package's message and to messages of sensor_msgs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeVar

from sensor_msgs.msg import BatteryState, Temperature

from edge_inference.composition.adapter import Adapter
from edge_inference.composition.message_bounds import MAX_PATH_BYTES, MessageBounds
from edge_inference.core import platform_state as core
from edge_inference.core.device import Device
from edge_inference.core.directives.directive import DirectiveLevel
from edge_inference.core.reading import BatteryStatus, Quantity, Reading, ReadingStatus, Role
from edge_inference.core.text_line import one_line
from edge_inference.errors import InputError
from edge_inference.msg import PlatformReading, PlatformState
from edge_inference.nodes.conversions.headers import stamp_ns, to_header
from edge_inference.nodes.conversions.numbers import (
    NumberRange,
    from_optional,
    to_number,
    to_optional,
)

_HEADROOM = NumberRange(-1e3, 1e3)
# The age of a sensor that has never answered is the uptime of the machine.
_AGE_S = NumberRange(0.0, 1e9)

_Member = TypeVar("_Member", Quantity, ReadingStatus, Role)


class PlatformReportAdapter(Adapter[core.PlatformReport]):
    """PlatformReport as ``edge_inference/PlatformState``."""

    message_type = PlatformState
    bounds = MessageBounds(size=1 << 20, texts={"source": MAX_PATH_BYTES})

    def to_message(self, item: core.PlatformReport) -> PlatformState:
        """Build the message; ages are relative to the time of the report."""
        state = item.state
        return PlatformState(
            header=to_header(item.stamp_ns, item.frame_id),
            board=state.board,
            mode=state.mode,
            headroom=from_optional(item.headroom),
            power_w=from_optional(state.power_w),
            throttling=list(item.throttling),
            level=int(item.level),
            reason=one_line(item.reason),
            problem=one_line(state.problem),
            readings=[_to_reading(reading, item.now_ns) for reading in state.readings],
        )

    def from_message(self, message: PlatformState) -> core.PlatformReport:
        """Build the object, on a monotonic clock that starts at the time of the report.

        Raise InputError for an invalid reading or an unknown level.
        """
        readings = tuple(_from_reading(reading) for reading in message.readings)
        levels = [int(level) for level in DirectiveLevel]
        if message.level not in levels:
            raise InputError(f"PlatformState: expected a level of {levels}, got {message.level}")
        return core.PlatformReport(
            state=core.PlatformState(message.board, readings, 0, message.mode, message.problem),
            headroom=to_optional(message.headroom, _HEADROOM, "PlatformState: headroom"),
            throttling=tuple(message.throttling),
            level=DirectiveLevel(message.level),
            reason=message.reason,
            now_ns=0,
            stamp_ns=stamp_ns(message.header),
            frame_id=message.header.frame_id,
        )


class TemperatureAdapter(Adapter[core.StampedReading]):
    """A temperature as ``sensor_msgs/Temperature``: the name is the frame_id, NaN is unknown."""

    message_type = Temperature

    def to_message(self, item: core.StampedReading) -> Temperature:
        """Build the message; a variance of 0 means unknown, as in the definition."""
        value = from_optional(item.reading.value)
        return Temperature(header=to_header(item.stamp_ns, item.frame_id), temperature=value)

    def from_message(self, message: Temperature) -> core.StampedReading:
        """Build the object; raise InputError for an impossible temperature."""
        allowed = _valid(Quantity.TEMPERATURE)
        value = to_optional(message.temperature, allowed, "Temperature: temperature")
        status = ReadingStatus.STALE if value is None else ReadingStatus.OK
        name = message.header.frame_id
        reading = Reading(name, Quantity.TEMPERATURE, value, "topic", 0, status)
        return core.StampedReading(reading, stamp_ns(message.header), name)


class BatteryAdapter(Adapter[core.StampedDevice]):
    """A battery as ``sensor_msgs/BatteryState``: its name is the frame_id and location.

    NaN is unknown; ``present`` is False for a battery that was removed.
    """

    message_type = BatteryState

    def to_message(self, item: core.StampedDevice) -> BatteryState:
        """Build the message; the current is negative while the battery discharges."""
        battery = item.device
        current_a = battery.value(Role.BATTERY_CURRENT)
        status = battery.value(Role.BATTERY_STATUS)
        return BatteryState(
            header=to_header(item.stamp_ns, item.frame_id),
            voltage=from_optional(battery.value(Role.BATTERY_VOLTAGE)),
            temperature=from_optional(battery.value(Role.BATTERY_TEMPERATURE)),
            current=from_optional(None if current_a is None else 0.0 - current_a),  # never -0.0
            charge=_ampere_hours(battery, Role.BATTERY_REMAINING_CHARGE),
            capacity=_ampere_hours(battery, Role.BATTERY_FULL_CHARGE),
            design_capacity=math.nan,
            percentage=from_optional(battery.value(Role.BATTERY_CHARGE)),
            power_supply_status=_STATUSES.get(status, BatteryState.POWER_SUPPLY_STATUS_UNKNOWN),
            present=not battery.is_absent,
            location=battery.name,
        )

    def from_message(self, message: BatteryState) -> core.StampedDevice:
        """Refuse the message: no node subscribes to batteries."""
        raise InputError("BatteryState: expected no message: this package only publishes it")


_STATUSES: Mapping[float | None, int] = {
    float(BatteryStatus.CHARGING): BatteryState.POWER_SUPPLY_STATUS_CHARGING,
    float(BatteryStatus.DISCHARGING): BatteryState.POWER_SUPPLY_STATUS_DISCHARGING,
    float(BatteryStatus.NOT_CHARGING): BatteryState.POWER_SUPPLY_STATUS_NOT_CHARGING,
    float(BatteryStatus.FULL): BatteryState.POWER_SUPPLY_STATUS_FULL,
}


def _ampere_hours(battery: Device, role: Role) -> float:
    coulombs = battery.value(role)
    return from_optional(None if coulombs is None else coulombs / 3600.0)


def _to_reading(reading: Reading, now_ns: int) -> PlatformReading:
    return PlatformReading(
        name=reading.name,
        device=reading.device,
        quantity=reading.quantity.value,
        value=from_optional(reading.value),
        unit=reading.quantity.unit,
        status=reading.status.value,
        role=reading.role.value,
        source=reading.source,
        age_s=max(0.0, (now_ns - reading.stamp_ns) / 1e9),
        throttle=from_optional(reading.throttle),
        critical=from_optional(reading.critical),
        limit=from_optional(reading.limit),
        problem=one_line(reading.problem),
    )


def _valid(quantity: Quantity) -> NumberRange:
    return NumberRange(*quantity.valid)


def _from_reading(message: PlatformReading) -> Reading:
    quantity = _member(Quantity, message, "quantity")

    def known(field: str) -> float | None:
        name = f"PlatformReading {message.name!r}: {field}"
        return to_optional(getattr(message, field), _valid(quantity), name)

    age_s = to_number(message.age_s, _AGE_S, f"PlatformReading {message.name!r}: age_s")
    try:
        return Reading(
            name=message.name,
            quantity=quantity,
            value=known("value"),
            source=message.source,
            stamp_ns=-int(age_s * 1e9),
            status=_member(ReadingStatus, message, "status"),
            role=_member(Role, message, "role"),
            problem=message.problem,
            throttle=known("throttle"),
            critical=known("critical"),
            limit=known("limit"),
            device=message.device,
        )
    except InputError:
        raise
    except ValueError as error:  # value and status contradict each other
        raise InputError(f"PlatformReading {message.name!r}: {error}") from error


def _member(kind: type[_Member], message: PlatformReading, field: str) -> _Member:
    value = getattr(message, field)
    known = [each.value for each in kind]
    if value not in known:
        raise InputError(
            f"PlatformReading {message.name!r}: {field}: expected one of {', '.join(known)}, "
            f"got {value!r}"
        )
    return kind(value)
