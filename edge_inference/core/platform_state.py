"""The state of a machine: the readings of all its sensors at one moment."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from edge_inference.core.device import Device, group_by_device
from edge_inference.core.directives.directive import DirectiveLevel
from edge_inference.core.reading import Reading, Role


@dataclass(frozen=True)
class PlatformState:
    """``stamp_ns`` is on the monotonic clock; ``mode`` names the power mode, empty if unknown.

    ``problem`` says which sensors are not known, and why: a control temperature without a value,
    a kind of sensor that fails; empty if all are known.
    """

    board: str
    readings: tuple[Reading, ...]
    stamp_ns: int
    mode: str = ""
    problem: str = ""

    def by_role(self, role: Role) -> Iterator[Reading]:
        """Yield the readings with this role, including those without a value."""
        return (reading for reading in self.readings if reading.role is role)

    def named(self, name: str) -> Reading | None:
        """Return the reading with this name."""
        return next((reading for reading in self.readings if reading.name == name), None)

    @property
    def devices(self) -> tuple[Device, ...]:
        """The devices with their readings."""
        return group_by_device(self.readings)

    @property
    def batteries(self) -> tuple[Device, ...]:
        """The batteries, including those that were removed."""
        return tuple(device for device in self.devices if device.is_battery)

    @property
    def power_w(self) -> float | None:
        """Power of the whole board in watts, None without a sensor.

        Where several devices measure it, one measures part of the other: the highest counts.
        """
        highest = self._highest(Role.TOTAL_POWER)
        return None if highest is None else highest.value

    @property
    def hottest(self) -> Reading | None:
        """The hottest control temperature, None if none has a value."""
        return self._highest(Role.CONTROL)

    def _highest(self, role: Role) -> Reading | None:
        valid = [
            (reading.value, reading)
            for reading in self.by_role(role)
            if reading.value is not None and math.isfinite(reading.value)
        ]
        return max(valid, key=lambda each: each[0], default=(0.0, None))[1]


@dataclass(frozen=True)
class PlatformReport:
    """The report of the platform manager, as in ``msg/PlatformState``.

    ``now_ns`` is the time of the report on the monotonic clock; ages are relative to it.
    ``stamp_ns`` is the same time on the clock of the node.
    """

    state: PlatformState
    headroom: float | None
    throttling: tuple[str, ...]
    level: DirectiveLevel
    reason: str
    now_ns: int
    stamp_ns: int = 0
    frame_id: str = ""


@dataclass(frozen=True)
class StampedReading:
    """A single reading, stamped on the clock of the node; ``frame_id`` is its name."""

    reading: Reading
    stamp_ns: int
    frame_id: str


@dataclass(frozen=True)
class StampedDevice:
    """A single device, stamped on the clock of the node; ``frame_id`` is its name."""

    device: Device
    stamp_ns: int
    frame_id: str
