"""One number in one file, and what it means."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from edge_inference.core.reading import Quantity, Reading, ReadingStatus, Role
from edge_inference.errors import InputError
from edge_inference.platforms.attributes import classify_error, read_number
from edge_inference.platforms.system_files import SystemFiles

#: Gives nanoseconds on the monotonic clock.
Clock = Callable[[], int]


@dataclass(frozen=True)
class Channel:
    """What a file's number means: ``number * times / per`` is the value in ``quantity.unit``.

    A value outside ``min_value`` and ``max_value`` cannot be true and is INVALID.
    """

    name: str
    path: str
    quantity: Quantity
    multiplier: int = 1
    divisor: int = 1
    role: Role = Role.NONE
    min_value: float = -math.inf
    max_value: float = math.inf
    throttle: float | None = None
    critical: float | None = None

    def read(self, files: SystemFiles, clock: Clock) -> Reading:
        """Read the file once."""
        try:
            number = read_number(files, self.path)
        except OSError as error:
            return self.make_empty_reading(*classify_error(error), clock())
        except InputError as error:
            return self.make_empty_reading(ReadingStatus.INVALID, str(error), clock())
        return self.make_reading(number * self.multiplier / self.divisor, clock())

    def make_reading(self, value: float, stamp_ns: int) -> Reading:
        """Return a reading of this value; INVALID where it cannot be true."""
        if self.min_value <= value <= self.max_value:
            return Reading(
                self.name,
                self.quantity,
                value,
                self.path,
                stamp_ns,
                ReadingStatus.OK,
                self.role,
                "",
                self.throttle,
                self.critical,
            )
        return self.make_empty_reading(ReadingStatus.INVALID, self._implausible(value), stamp_ns)

    def make_empty_reading(self, status: ReadingStatus, problem: str, stamp_ns: int) -> Reading:
        """Return a reading without a value."""
        return Reading(
            self.name,
            self.quantity,
            None,
            self.path,
            stamp_ns,
            status,
            self.role,
            problem,
            self.throttle,
            self.critical,
        )

    def _implausible(self, value: float) -> str:
        got = f"{value:g} {self.quantity.unit}".rstrip()
        if value < 0 and self.min_value == 0:
            return f"it said {got}; that cannot be below 0"
        return f"it said {got}; only {self.min_value:g} to {self.max_value:g} can be true"


@dataclass
class FileSensor:
    """Files of one device that are read one after another, each a reading of its own.

    Two are equal where they would read the same files in the same way, whatever
    each remembers of former looks.
    """

    channels: tuple[Channel, ...]
    files: SystemFiles = field(compare=False)
    clock: Clock = field(default=time.monotonic_ns, compare=False)

    @property
    def name(self) -> str:
        """The name of the first reading."""
        return self.channels[0].name

    @property
    def names(self) -> Sequence[str]:
        """The names of all readings."""
        return [channel.name for channel in self.channels]

    def announce(self, stamp_ns: int) -> Sequence[Reading]:
        """Return a STALE reading of every name."""
        problem = "it has not been read yet"
        return [
            each.make_empty_reading(ReadingStatus.STALE, problem, stamp_ns)
            for each in self.channels
        ]

    def read(self) -> Sequence[Reading]:
        """Look at every file once."""
        return [channel.read(self.files, self.clock) for channel in self.channels]
