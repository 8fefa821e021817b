"""The state of a machine: the readings of all its sensors at one moment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

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
    def power_w(self) -> float | None:
        """Power of the whole board in watts, None without a sensor."""
        return self._value(Role.TOTAL_POWER)

    @property
    def hottest(self) -> Reading | None:
        """The hottest control temperature, None if none has a value."""
        valid = [reading for reading in self.by_role(Role.CONTROL) if reading.value is not None]
        return max(valid, key=lambda reading: reading.value or 0.0, default=None)

    def _value(self, role: Role) -> float | None:
        return next((each.value for each in self.by_role(role) if each.value is not None), None)


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
