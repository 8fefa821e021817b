"""One look at one sensor: a value or the reason why there is none."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class ReadingStatus(enum.Enum):
    """What a reading is worth. Only OK has a value."""

    OK = "ok"
    #: The unit that the sensor sits in is switched off; no fault.
    GATED = "gated"
    #: The sensor has not answered in time; what it said before is not repeated.
    STALE = "stale"
    #: It answered, but not with a value that can be true.
    INVALID = "invalid"
    #: It was there once, and is not any more.
    ABSENT = "absent"


class Quantity(enum.Enum):
    """What is measured; ``unit`` is the one unit that all readings of it have."""

    TEMPERATURE = "temperature"
    POWER = "power"
    VOLTAGE = "voltage"
    CURRENT = "current"
    ENERGY = "energy"
    FREQUENCY = "frequency"
    #: A share from 0 to 1: load, state of charge, memory in use.
    SHARE = "share"
    #: A count of events since the machine started; only ever rises.
    COUNT = "count"
    #: Above 0 while it holds (a throttle alert), else 0.
    STATE = "state"

    @property
    def unit(self) -> str:
        """The unit, as UCUM writes it; empty for a number without one."""
        return _UNITS.get(self, "")


_UNITS = {
    Quantity.TEMPERATURE: "Cel",
    Quantity.POWER: "W",
    Quantity.VOLTAGE: "V",
    Quantity.CURRENT: "A",
    Quantity.ENERGY: "J",
    Quantity.FREQUENCY: "Hz",
}


class Role(enum.Enum):
    """What a reading is good for beyond being shown."""

    NONE = "none"
    #: A temperature that decides: of the die, or what the vendor names as its maximum.
    CONTROL = "control"
    #: Power that the whole board takes in.
    TOTAL_POWER = "total_power"
    #: The sum of the rails that are measured; less than the whole board takes.
    RAILS_SUM = "rails_sum"
    #: Rises, or is above 0, while the machine slows itself down.
    THROTTLE = "throttle"
    #: Power that the battery gives (positive: discharging).
    BATTERY_POWER = "battery_power"
    #: Energy left in the battery.
    BATTERY_ENERGY = "battery_energy"
    #: State of charge of the battery.
    BATTERY_CHARGE = "battery_charge"
    BATTERY_VOLTAGE = "battery_voltage"
    BATTERY_CURRENT = "battery_current"


@dataclass(frozen=True)
class Reading:
    """``value`` is None unless ``status`` is OK; ``problem`` then says why in a sentence.

    ``name`` is ``<kind>/<what the machine calls it>`` (``zone/tj-thermal``, ``rail/VDD_IN``) and
    stays the same over reboots. ``source`` is where it was read (a file, or an API's name).
    ``stamp_ns`` is the moment of reading on the monotonic clock. ``throttle`` and ``critical``
    are the sensor's own trip points in its unit, None where it has none.
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

    def __post_init__(self) -> None:
        """Refuse a value that is not OK, and OK without a value: a programming error."""
        if (self.value is not None) != (self.status is ReadingStatus.OK):
            raise ValueError(f"{self.name}: value {self.value} with status {self.status.value}")
