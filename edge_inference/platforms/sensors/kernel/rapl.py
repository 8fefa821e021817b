"""Power from the energy counters of x86 processors: ``sys/class/powercap/intel-rapl:*``, in µJ."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from edge_inference.core.reading import Quantity, Reading, ReadingStatus
from edge_inference.errors import InputError
from edge_inference.platforms.attributes import (
    classify_error,
    make_unique,
    read_number,
    read_number_or_none,
    read_text,
)
from edge_inference.platforms.board_files import Board
from edge_inference.platforms.file_patterns import join_patterns
from edge_inference.platforms.sensors.channel import Channel, Clock, FileSensor
from edge_inference.platforms.sensors.probe import SensorProbe
from edge_inference.platforms.sensors.sensor import Sensor
from edge_inference.platforms.system_files import SystemFiles

_FOLDER = "sys/class/powercap"
#: No socket draws more: a higher power means that the counter was reset and did not wrap.
_MAX_W = 2000.0
#: In a longer time the counter may wrap twice.
_MAX_INTERVAL_NS = 10_000_000_000
_MICROJOULES = 1_000_000


@dataclass
class EnergyCounter(FileSensor):
    """Mean power between two samples of an energy counter, which wraps after ``range_uj``.

    ``never_idle`` is True for a whole socket, which always draws some power.
    """

    range_uj: int | None = None
    never_idle: bool = False
    _before: tuple[int, int] | None = field(default=None, init=False, compare=False)

    def read(self) -> Sequence[Reading]:
        """Read the counter once. The first sample, and one after a long pause, has no value."""
        channel = self.channels[0]
        try:
            energy = read_number(self.files, channel.path)
        except OSError as error:
            self._before = None
            return [channel.make_empty_reading(*classify_error(error), self.clock())]
        except InputError as error:
            self._before = None
            return [channel.make_empty_reading(ReadingStatus.INVALID, str(error), self.clock())]
        now = self.clock()
        before, self._before = self._before, (energy, now)
        if before is None or not 0 < now - before[1] <= _MAX_INTERVAL_NS:
            problem = "the power needs two samples"
            return [channel.make_empty_reading(ReadingStatus.STALE, problem, now)]
        used = energy - before[0]
        if used < 0:
            if self.range_uj is None:
                problem = "the energy counter went back, and its range is unknown"
                return [channel.make_empty_reading(ReadingStatus.INVALID, problem, now)]
            used += self.range_uj
        if used == 0 and self.never_idle:
            problem = "the energy counter does not change, but a socket always draws some power"
            return [channel.make_empty_reading(ReadingStatus.INVALID, problem, now)]
        seconds = (now - before[1]) / 1e9
        return [channel.make_reading(used / _MICROJOULES / seconds, now)]


def find(files: SystemFiles, board: Board, clock: Clock = time.monotonic_ns) -> list[Sensor]:
    """Return a sensor for each domain: ``rapl/package-0``, and ``rapl/package-0/dram`` within."""
    found: dict[str, Sensor] = {}
    outer: dict[str, str] = {}
    for zone in files.list(_FOLDER):  # sorted: a domain comes before its subdomains
        control, _, path = zone.partition(":")
        if control != "intel-rapl" or not path:
            continue
        label = read_text(files, f"{_FOLDER}/{zone}/name") or zone
        parent = outer.get(path.rpartition(":")[0])
        name = make_unique(f"{parent}/{label}" if parent else f"rapl/{label}", found)
        outer[path] = name
        within = parent is not None
        found[name] = _make_counter(files, board, clock, name, f"{_FOLDER}/{zone}", within)
    return list(found.values())


def _make_counter(
    files: SystemFiles, board: Board, clock: Clock, name: str, folder: str, within: bool
) -> EnergyCounter:
    channel = Channel(
        name,
        f"{folder}/energy_uj",
        Quantity.POWER,
        role=board.power_role(name),
        min_value=0,
        max_value=_MAX_W,
    )
    reach = read_number_or_none(files, f"{folder}/max_energy_range_uj")
    return EnergyCounter((channel,), files, clock, range_uj=reach, never_idle=not within)


_FILES = ("name", "energy_uj", "max_energy_range_uj")
PROBE = SensorProbe("rapl", find, files=join_patterns([f"{_FOLDER}/intel-rapl*"], _FILES))
