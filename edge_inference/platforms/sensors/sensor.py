"""What a probe finds: things that can be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from edge_inference.core.reading import Reading


class Sensor(Protocol):
    """One source that is read as a whole: a file, a chip, a device.

    ``read`` returns the same names each time, with a status where there is no value;
    it raises nothing for what a machine may do, and may block.
    """

    @property
    def name(self) -> str:
        """The name of the first of its readings; unique."""

    @property
    def names(self) -> Sequence[str]:
        """The names of all its readings."""

    def read(self) -> Sequence[Reading]:
        """Look once."""


@runtime_checkable
class AnnouncedSensor(Sensor, Protocol):
    """A sensor that can tell of its readings before it is read, for one whose first read hangs."""

    def announce(self, stamp_ns: int) -> Sequence[Reading]:
        """Return a STALE reading of every name."""
