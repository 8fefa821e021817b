"""CPU load (``proc/stat``) and memory in use (``proc/meminfo``)."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from edge_inference.core.reading import Quantity, Reading, ReadingStatus
from edge_inference.platforms.attributes import classify_error
from edge_inference.platforms.board_files import Board
from edge_inference.platforms.sensors.channel import Channel, Clock, FileSensor
from edge_inference.platforms.sensors.probe import SensorProbe
from edge_inference.platforms.sensors.sensor import Sensor
from edge_inference.platforms.system_files import SystemFiles

_STAT = "proc/stat"
_MEMINFO = "proc/meminfo"
#: The first line of proc/stat: user nice system idle iowait irq softirq steal, then guest times,
#: which user and nice already include.
_CPU_TIMES = re.compile(rb"cpu((?: +\d+){4,8})")
_IDLE = slice(3, 5)
_TOTAL = re.compile(rb"^MemTotal: +(\d+) kB", re.MULTILINE)
_AVAILABLE = re.compile(rb"^MemAvailable: +(\d+) kB", re.MULTILINE)


@dataclass
class CpuLoad(FileSensor):
    """Share of the time between two samples in which the CPU cores were busy."""

    _before: tuple[int, int] | None = field(default=None, init=False, compare=False)

    def read(self) -> Sequence[Reading]:
        """Read the times once. The first sample has no value."""
        channel = self.channels[0]
        try:
            match = _CPU_TIMES.match(self.files.read(channel.path))
        except OSError as error:
            return [channel.make_empty_reading(*classify_error(error), self.clock())]
        now = self.clock()
        if match is None:
            problem = "expected the times of 'cpu' in the first line"
            return [channel.make_empty_reading(ReadingStatus.INVALID, problem, now)]
        times = [int(each) for each in match[1].split()]
        sample = sum(times), sum(times[_IDLE])
        before, self._before = self._before, sample
        if before is None or sample[0] <= before[0]:
            problem = "the load needs two samples"
            return [channel.make_empty_reading(ReadingStatus.STALE, problem, now)]
        idle = (sample[1] - before[1]) / (sample[0] - before[0])
        # The idle time may go back by a tick or two, see proc(5), so the share is clamped.
        return [channel.make_reading(min(max(1 - idle, 0.0), 1.0), now)]


@dataclass
class MemoryUse(FileSensor):
    """Share of the memory that is not available to programs."""

    def read(self) -> Sequence[Reading]:
        """Read the file once."""
        channel = self.channels[0]
        try:
            text = self.files.read(channel.path)
        except OSError as error:
            return [channel.make_empty_reading(*classify_error(error), self.clock())]
        total, available = _TOTAL.search(text), _AVAILABLE.search(text)
        if total is None or available is None or int(total[1]) == 0:
            problem = "expected MemTotal and MemAvailable in the file"
            return [channel.make_empty_reading(ReadingStatus.INVALID, problem, self.clock())]
        return [channel.make_reading(1 - int(available[1]) / int(total[1]), self.clock())]


def find(files: SystemFiles, _: Board, clock: Clock = time.monotonic_ns) -> list[Sensor]:
    """Return the sensors ``cpu/load`` and ``memory/used``."""
    names = files.list("proc")
    found: list[Sensor] = []
    if "stat" in names:
        found.append(CpuLoad((_make_channel("cpu/load", _STAT),), files, clock))
    if "meminfo" in names:
        found.append(MemoryUse((_make_channel("memory/used", _MEMINFO),), files, clock))
    return found


def _make_channel(name: str, path: str) -> Channel:
    return Channel(name, path, Quantity.SHARE, min_value=0, max_value=1)


# The other lines of these files are long, change in every sample and are not needed.
PROBE = SensorProbe(
    "system_load",
    find,
    files=(_STAT, _MEMINFO),
    lines={_STAT: (b"cpu",), _MEMINFO: (b"Mem", b"Swap")},
)
