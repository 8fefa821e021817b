"""One number in one file, and what it means."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from edge_inference.core.reading import Quantity, Reading, ReadingStatus, Role
from edge_inference.errors import InputError
from edge_inference.platforms.attributes import read_number, verdict
from edge_inference.platforms.tree import Tree

#: Gives nanoseconds on the monotonic clock.
Clock = Callable[[], int]


@dataclass(frozen=True)
class Channel:
    """What a file's number means: ``number * times / per`` is the value in ``quantity.unit``.

    A value outside ``lowest`` and ``highest`` cannot be true and is INVALID.
    """

    name: str
    path: str
    quantity: Quantity
    times: int = 1
    per: int = 1
    role: Role = Role.NONE
    lowest: float = -math.inf
    highest: float = math.inf
    throttle: float | None = None
    critical: float | None = None

    def look(self, tree: Tree, clock: Clock) -> Reading:
        """Read the file once."""
        try:
            number = read_number(tree, self.path)
        except OSError as error:
            return self.unknown(*verdict(error), clock())
        except InputError as error:
            return self.unknown(ReadingStatus.INVALID, str(error), clock())
        return self.known(number * self.times / self.per, clock())

    def known(self, value: float, stamp_ns: int) -> Reading:
        """Return a reading of this value; INVALID where it cannot be true."""
        if self.lowest <= value <= self.highest:
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
        return self.unknown(ReadingStatus.INVALID, self._implausible(value), stamp_ns)

    def unknown(self, status: ReadingStatus, problem: str, stamp_ns: int) -> Reading:
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
        if value < 0 and self.lowest == 0:
            return f"it said {got}; that cannot be below 0"
        return f"it said {got}; only {self.lowest:g} to {self.highest:g} can be true"


@dataclass
class FileSensor:
    """Files of one device that are read one after another, each a reading of its own.

    Two are equal where they would read the same files in the same way, whatever
    each remembers of former looks.
    """

    channels: tuple[Channel, ...]
    tree: Tree = field(compare=False)
    clock: Clock = field(default=time.monotonic_ns, compare=False)

    @property
    def name(self) -> str:
        """The name of the first reading."""
        return self.channels[0].name

    @property
    def names(self) -> Sequence[str]:
        """The names of all readings."""
        return [channel.name for channel in self.channels]

    def unread(self, stamp_ns: int) -> Sequence[Reading]:
        """Return a STALE reading of every name."""
        problem = "it has not been read yet"
        return [each.unknown(ReadingStatus.STALE, problem, stamp_ns) for each in self.channels]

    def read(self) -> Sequence[Reading]:
        """Look at every file once."""
        return [channel.look(self.tree, self.clock) for channel in self.channels]
