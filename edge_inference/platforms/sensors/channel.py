"""Channels: how the number in one file becomes a reading."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from edge_inference.core.reading import Quantity, Reading, ReadingStatus, Role
from edge_inference.errors import InputError
from edge_inference.platforms.attributes import classify_error, read_number
from edge_inference.platforms.system_files import SystemFiles

#: Returns nanoseconds on the monotonic clock.
Clock = Callable[[], int]


@dataclass(frozen=True)
class Channel:
    """One file: ``number * multiplier / divisor`` is the value in ``quantity.unit``.

    A value outside ``min_value`` and ``max_value`` is INVALID. ``device`` is that of its readings.
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
    device: str = ""
    limit: float | None = None

    def read(
        self,
        files: SystemFiles,
        clock: Clock,
        classify: Callable[[OSError], tuple[ReadingStatus, str]] = classify_error,
    ) -> Reading:
        """Read the file once; ``classify`` returns the status and the problem of a read error."""
        try:
            number = read_number(files, self.path)
        except OSError as error:
            return self.make_empty_reading(*classify(error), clock())
        except InputError as error:
            return self.make_empty_reading(ReadingStatus.INVALID, str(error), clock())
        return self.make_reading(number * self.multiplier / self.divisor, clock())

    def make_reading(self, value: float, stamp_ns: int) -> Reading:
        """Return a reading with this value; INVALID if it is out of range."""
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
                self.device,
                self.limit,
            )
        return self.make_empty_reading(
            ReadingStatus.INVALID, self._describe_range_error(value), stamp_ns
        )

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
            self.device,
            self.limit,
        )

    def _describe_range_error(self, value: float) -> str:
        got = f"{value:g} {self.quantity.unit}".rstrip()
        if value < 0 and self.min_value == 0:
            return f"expected at least 0, got {got}"
        return f"expected {self.min_value:g} to {self.max_value:g}, got {got}"


@dataclass
class FileSensor:
    """The files of one device, read one after another; each gives one reading.

    Two sensors are equal if they read the same files in the same way; state from
    earlier reads is not compared.
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
        problem = "the sensor has not been read yet"
        return [
            each.make_empty_reading(ReadingStatus.STALE, problem, stamp_ns)
            for each in self.channels
        ]

    def read(self) -> Sequence[Reading]:
        """Read every file once."""
        return [channel.read(self.files, self.clock) for channel in self.channels]
