"""One look at all sensors of a machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edge_inference.core.directives.directive import DirectiveLevel
from edge_inference.core.reading import Reading, Role


@dataclass(frozen=True)
class PlatformState:
    """``stamp_ns`` is on the monotonic clock; ``mode`` the power mode's name, empty where unknown.

    ``problem`` is what keeps the platform from being sensed as a whole; empty when nothing does.
    """

    board: str
    readings: tuple[Reading, ...]
    stamp_ns: int
    mode: str = ""
    problem: str = ""

    def by_role(self, role: Role) -> Iterator[Reading]:
        """Yield the readings with this role, without a value too."""
        return (reading for reading in self.readings if reading.role is role)

    def named(self, name: str) -> Reading | None:
        """Return the reading of this name."""
        return next((reading for reading in self.readings if reading.name == name), None)

    @property
    def power_w(self) -> float | None:
        """Power of the whole board in watts, None where nothing measures that."""
        return self._value(Role.TOTAL_POWER)

    @property
    def hottest(self) -> Reading | None:
        """The hottest of the temperatures that decide, None where none has a value."""
        valid = [reading for reading in self.by_role(Role.CONTROL) if reading.value is not None]
        return max(valid, key=lambda reading: reading.value or 0.0, default=None)

    def _value(self, role: Role) -> float | None:
        return next((each.value for each in self.by_role(role) if each.value is not None), None)


@dataclass(frozen=True)
class PlatformReport:
    """What the platform manager tells of the machine; as in ``msg/PlatformState``.

    ``now_ns`` is the moment of the report on the monotonic clock, which ages are counted from;
    ``stamp_ns`` the same moment on the node's clock.
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
    """One reading on its own, stamped on the node's clock; ``frame_id`` is its name."""

    reading: Reading
    stamp_ns: int
    frame_id: str
