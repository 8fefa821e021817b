"""A device of a machine, such as a battery, a rail or a GPU, with its readings."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from edge_inference.core.reading import Reading, ReadingStatus, Role


@dataclass(frozen=True)
class Device:
    """The readings of one device at one moment; there is at least one."""

    name: str
    readings: tuple[Reading, ...]

    def by_role(self, role: Role) -> Reading | None:
        """Return the first reading with this role; None if the device does not report it."""
        return next((each for each in self.readings if each.role is role), None)

    def value(self, role: Role) -> float | None:
        """Return the value with this role; None if it is unknown or not finite."""
        reading = self.by_role(role)
        value = None if reading is None else reading.value
        return value if value is not None and math.isfinite(value) else None

    @property
    def is_battery(self) -> bool:
        """Whether it is a battery of the machine."""
        return any(each.role.is_of_battery for each in self.readings)

    @property
    def is_absent(self) -> bool:
        """Whether it was removed: none of its readings exists any more."""
        return all(each.status is ReadingStatus.ABSENT for each in self.readings)


def group_by_device(readings: Iterable[Reading]) -> tuple[Device, ...]:
    """Return the devices of some readings, each at the place of its first reading."""
    groups: dict[str, list[Reading]] = {}
    for reading in readings:
        groups.setdefault(reading.device, []).append(reading)
    return tuple(Device(name, tuple(group)) for name, group in groups.items())
