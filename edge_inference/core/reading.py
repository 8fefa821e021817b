"""A sensor reading: a value, or the reason why there is none."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple


class ReadingStatus(enum.Enum):
    """The validity of a reading. Only OK has a value."""

    OK = "ok"
    #: The unit that contains the sensor is powered off; this is no fault.
    GATED = "gated"
    #: The sensor has not answered in time; its last value is not repeated.
    STALE = "stale"
    #: The sensor answered with an impossible value.
    INVALID = "invalid"
    #: The sensor existed before and does not exist any more.
    ABSENT = "absent"


class Quantity(enum.Enum):
    """The measured quantity; ``_QUANTITIES`` has a row for each."""

    TEMPERATURE = "temperature"
    POWER = "power"
    VOLTAGE = "voltage"
    CURRENT = "current"
    ENERGY = "energy"
    ELECTRIC_CHARGE = "electric_charge"
    FREQUENCY = "frequency"
    #: A share from 0 to 1: load, state of charge, memory in use.
    SHARE = "share"
    #: A number of events since the machine started; it never falls.
    COUNT = "count"
    #: Above 0 while the state is active (a throttle alert), else 0; of a battery a BatteryStatus.
    STATE = "state"

    @property
    def unit(self) -> str:
        """The unit in UCUM notation; empty for a number without a unit."""
        return _QUANTITIES[self].unit

    @property
    def valid(self) -> tuple[float, float]:
        """The lowest and the highest value that a sensor of any computer may report."""
        return _QUANTITIES[self].valid

    def describe(self, value: float) -> str:
        """Return a value as text for people."""
        row = _QUANTITIES[self]
        return row.text.format(value / row.divisor)


#: Trip points of a temperature outside this range are placeholders of firmware.
PLAUSIBLE_TRIP_C = (50.0, 125.0)


class _QuantityRow(NamedTuple):
    """Everything about a quantity; ``text`` is that of a value for people, after ``divisor``."""

    unit: str
    valid: tuple[float, float]
    text: str
    divisor: float = 1.0


_QUANTITIES = {
    Quantity.TEMPERATURE: _QuantityRow("Cel", (-273.15, 1e4), "{:.1f} °C"),
    Quantity.POWER: _QuantityRow("W", (-1e6, 1e6), "{:.2f} W"),
    Quantity.VOLTAGE: _QuantityRow("V", (-1e6, 1e6), "{:.2f} V"),
    Quantity.CURRENT: _QuantityRow("A", (-1e6, 1e6), "{:.2f} A"),
    Quantity.ENERGY: _QuantityRow("J", (0.0, 1e15), "{:.1f} Wh", 3600),
    Quantity.ELECTRIC_CHARGE: _QuantityRow("C", (0.0, 1e12), "{:.2f} Ah", 3600),
    Quantity.FREQUENCY: _QuantityRow("Hz", (0.0, 1e12), "{:.0f} MHz", 1e6),
    Quantity.SHARE: _QuantityRow("", (0.0, 1.0), "{:.0%}"),
    Quantity.COUNT: _QuantityRow("", (0.0, 2.0**64), "{:g}"),
    Quantity.STATE: _QuantityRow("", (-(2.0**63), 2.0**64), "{:g}"),
}


class Role(enum.Enum):
    """The use of a reading; ``_ROLES`` has a row for each."""

    NONE = "none"
    #: A temperature that the governor limits: of the die, or the vendor's maximum of several.
    CONTROL = "control"
    #: Input power of the whole board.
    TOTAL_POWER = "total_power"
    #: Sum of the measured rails; less than the power of the whole board.
    RAILS_SUM = "rails_sum"
    #: Rises, or is above 0, while the machine throttles.
    THROTTLE = "throttle"
    #: Output power of a battery (positive: discharging), and the current of the same sign.
    BATTERY_POWER = "battery_power"
    BATTERY_CURRENT = "battery_current"
    BATTERY_VOLTAGE = "battery_voltage"
    #: The voltage that converts energies to electric charges.
    BATTERY_DESIGN_VOLTAGE = "battery_design_voltage"
    #: State of charge of a battery, from 0 to 1.
    BATTERY_CHARGE = "battery_charge"
    #: Energy in a battery now, and when it is full.
    BATTERY_ENERGY = "battery_energy"
    BATTERY_FULL_ENERGY = "battery_full_energy"
    #: The same as electric charge.
    BATTERY_REMAINING_CHARGE = "battery_remaining_charge"
    BATTERY_FULL_CHARGE = "battery_full_charge"
    BATTERY_TEMPERATURE = "battery_temperature"
    #: A BatteryStatus as a number.
    BATTERY_STATUS = "battery_status"

    @property
    def remark(self) -> str:
        """The role as text for people; empty where the name of the reading says enough."""
        return _ROLES[self].remark

    @property
    def is_of_battery(self) -> bool:
        """Whether only batteries have readings with this role."""
        return self.value.startswith("battery_")

    def objection(self, quantity: Quantity) -> str | None:
        """Return why readings of a quantity cannot have this role, None if they can."""
        suitable = _ROLES[self].quantities
        if quantity in suitable:
            return None
        names = " or ".join(each.value for each in suitable)
        return f"expected quantity {names} for role {self.value}, got {quantity.value}"


class _RoleRow(NamedTuple):
    quantities: tuple[Quantity, ...]
    remark: str = ""


_ROLES = {
    Role.NONE: _RoleRow(tuple(Quantity)),
    Role.CONTROL: _RoleRow((Quantity.TEMPERATURE,), "control temperature"),
    Role.TOTAL_POWER: _RoleRow((Quantity.POWER,), "total power"),
    Role.RAILS_SUM: _RoleRow((Quantity.POWER,), "sum of the measured rails"),
    Role.THROTTLE: _RoleRow((Quantity.STATE, Quantity.COUNT), "throttling"),
    Role.BATTERY_POWER: _RoleRow((Quantity.POWER,)),
    Role.BATTERY_CURRENT: _RoleRow((Quantity.CURRENT,)),
    Role.BATTERY_VOLTAGE: _RoleRow((Quantity.VOLTAGE,)),
    Role.BATTERY_DESIGN_VOLTAGE: _RoleRow((Quantity.VOLTAGE,)),
    Role.BATTERY_CHARGE: _RoleRow((Quantity.SHARE,)),
    Role.BATTERY_ENERGY: _RoleRow((Quantity.ENERGY,)),
    Role.BATTERY_FULL_ENERGY: _RoleRow((Quantity.ENERGY,)),
    Role.BATTERY_REMAINING_CHARGE: _RoleRow((Quantity.ELECTRIC_CHARGE,)),
    Role.BATTERY_FULL_CHARGE: _RoleRow((Quantity.ELECTRIC_CHARGE,)),
    Role.BATTERY_TEMPERATURE: _RoleRow((Quantity.TEMPERATURE,)),
    Role.BATTERY_STATUS: _RoleRow((Quantity.STATE,)),
}


class BatteryStatus(enum.IntEnum):
    """What a battery does, with the numbers of Linux and of ``sensor_msgs/BatteryState``.

    An unknown status is a reading without a value.
    """

    CHARGING = 1
    DISCHARGING = 2
    NOT_CHARGING = 3
    FULL = 4


@dataclass(frozen=True)
class Reading:
    """``value`` is None unless ``status`` is OK; ``problem`` then says why in a sentence.

    ``name`` is ``<kind>/<name on the machine>`` (``zone/tj-thermal``, ``rail/VDD_IN``) and
    does not change over reboots. ``device`` is what it belongs to: all readings of one battery,
    rail or GPU have the same. A reading without one is a device of its own. ``source`` is the file
    or API that was read. ``stamp_ns`` is the time of reading on the monotonic clock. ``throttle``
    and ``critical`` are the trip points of the sensor in its unit, None if it has none. ``limit``
    is the highest value that the user allows, None without a limit.
    """

    name: str
    quantity: Quantity
    value: float | None
    source: str
    stamp_ns: int
    status: ReadingStatus = ReadingStatus.OK
    role: Role = Role.NONE
    problem: str = ""
    throttle: float | None = None
    critical: float | None = None
    device: str = ""
    limit: float | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for a value without OK, or OK without a value: a programming error."""
        if (self.value is not None) != (self.status is ReadingStatus.OK):
            raise ValueError(f"{self.name}: value {self.value} with status {self.status.value}")
        if not self.device:
            object.__setattr__(self, "device", self.name)
