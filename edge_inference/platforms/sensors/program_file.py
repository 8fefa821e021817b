"""A file with a number that a program of the robot writes: a BMS daemon, a controller's bridge."""

from __future__ import annotations

import errno
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from edge_inference.core.reading import Reading, ReadingStatus
from edge_inference.errors import InputError
from edge_inference.platforms.attributes import classify_error, read_decimal
from edge_inference.platforms.sensors.channel import Channel, FileSensor


@dataclass
class ProgramFile(FileSensor):
    """One file with a decimal number: ``number * scale + offset`` is the value of its channel.

    The value is STALE while the file is not written within ``max_age_s``. The age counts by the
    monotonic clock, from the first write that is seen: how old a file is at the start is unknown.
    """

    scale: float = 1.0
    offset: float = 0.0
    max_age_s: float = math.inf
    _modified_ns: int | None = field(default=None, init=False, compare=False)
    _written_ns: int | None = field(default=None, init=False, compare=False)

    def read(self) -> Sequence[Reading]:
        """Read the file once."""
        return [self._read(self.channels[0])]

    def _read(self, channel: Channel) -> Reading:
        try:
            # Before the read: a write in between is seen next time, so no old number looks new.
            stale = self._describe_age(channel.path)
            number = read_decimal(self.files, channel.path)
        except OSError as error:
            status, problem = classify_error(error)
            if status is ReadingStatus.ABSENT:
                # That asks for a search for sensors, but the file may come at any time.
                status = ReadingStatus.STALE
                code = errno.errorcode[error.errno or 0]
                problem = f"{channel.path} does not exist ({code}); its program may not run"
            return channel.make_empty_reading(status, problem, self.clock())
        except InputError as error:
            return channel.make_empty_reading(ReadingStatus.INVALID, str(error), self.clock())
        if stale:
            return channel.make_empty_reading(ReadingStatus.STALE, stale, self.clock())
        return channel.make_reading(number * self.scale + self.offset, self.clock())

    def _describe_age(self, path: str) -> str:
        """Return why the file is too old; empty if it is not."""
        if self.max_age_s == math.inf:
            return ""
        modified_ns, now_ns = self.files.modified_ns(path), self.clock()
        before, self._modified_ns = self._modified_ns, modified_ns
        if before is not None and before != modified_ns:
            self._written_ns = now_ns
        if self._written_ns is None:
            return f"{path} has not been written since the first read, so its age is unknown"
        age_s = (now_ns - self._written_ns) / 1e9
        if age_s > self.max_age_s:
            return f"{path} was last written {age_s:.1f} s ago; expected {self.max_age_s:g} s"
        return ""
