"""A sensor reading: a value, or the reason why there is none."""

from __future__ import annotations

import enum
from dataclasses import dataclass


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
    """The measured quantity; all its readings have the same ``unit``."""

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
        return _UNITS.get(self, "")


#: Trip points of a temperature outside this range are placeholders of firmware.
PLAUSIBLE_TRIP_C = (50.0, 125.0)

_UNITS = {
    Quantity.TEMPERATURE: "Cel",
    Quantity.POWER: "W",
    Quantity.VOLTAGE: "V",
    Quantity.CURRENT: "A",
    Quantity.ENERGY: "J",
    Quantity.ELECTRIC_CHARGE: "C",
    Quantity.FREQUENCY: "Hz",
}


class Role(enum.Enum):
    """The purpose of a reading, besides being displayed."""

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
    def is_of_battery(self) -> bool:
        """Whether only batteries have readings with this role."""
        return self.value.startswith("battery_")


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
