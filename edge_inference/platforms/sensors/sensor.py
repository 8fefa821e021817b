"""The protocol of sensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from edge_inference.core.reading import Reading


class Sensor(Protocol):
    """A source that is read as a whole: a file, a chip or a device.

    ``read`` returns the announced names each time, with a status if there is no value. It may
    block. A fault of the machine is a status, not an exception. Two sensors are equal if they
    read the same in the same way; of an unchanged sensor, the known object is kept.
    """

    @property
    def name(self) -> str:
        """The name of its first reading; unique."""

    @property
    def names(self) -> Sequence[str]:
        """The names of all its readings."""

    def announce(self, stamp_ns: int) -> Sequence[Reading]:
        """Return a STALE reading of every name, in case the first read hangs."""

    def read(self) -> Sequence[Reading]:
        """Read every value once."""
