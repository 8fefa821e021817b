"""Cooling devices (``sys/class/thermal/cooling_device*``): what the kernel does to cool down."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from edge_inference.core.reading import Quantity, Reading, ReadingStatus, Role
from edge_inference.errors import InputError
from edge_inference.platforms.attributes import (
    classify_error,
    list_numbered,
    make_unique,
    read_number,
    read_text,
)
from edge_inference.platforms.board_files import Board, matches_any
from edge_inference.platforms.file_patterns import join_patterns
from edge_inference.platforms.sensors.channel import Channel, Clock, FileSensor
from edge_inference.platforms.sensors.probe import SensorProbe
from edge_inference.platforms.sensors.sensor import Sensor
from edge_inference.platforms.system_files import SystemFiles

_FOLDER = "sys/class/thermal"
#: The state of an idle intel_powerclamp (Documentation/admin-guide/thermal).
_IDLE = -1


@dataclass
class CoolingDevice(FileSensor):
    """The state of one cooling device: 0 while idle, higher the more it cools."""

    def read(self) -> Sequence[Reading]:
        """Read the state once."""
        channel = self.channels[0]
        try:
            state = read_number(self.files, channel.path)
        except OSError as error:
            return [channel.make_empty_reading(*classify_error(error), self.clock())]
        except InputError as error:
            return [channel.make_empty_reading(ReadingStatus.INVALID, str(error), self.clock())]
        return [channel.make_reading(0.0 if state == _IDLE else float(state), self.clock())]


def find(files: SystemFiles, board: Board, clock: Clock = time.monotonic_ns) -> list[Sensor]:
    """Return a sensor for each cooling device: ``cooling/<type>``.

    The board names those that slow the machine down; the others, such as a fan, are only shown.
    """
    found: dict[str, Sensor] = {}
    for path in list_numbered(files, _FOLDER, "cooling_device"):
        kind = read_text(files, f"{path}/type") or path.rpartition("/")[2]
        name = make_unique(f"cooling/{kind}", found)
        throttles = matches_any(name, board.settings.throttling)
        channel = Channel(
            name,
            f"{path}/cur_state",
            Quantity.STATE,
            role=Role.THROTTLE if throttles else Role.NONE,
            min_value=0,
        )
        found[name] = CoolingDevice((channel,), files, clock)
    return list(found.values())


_FILES = ("type", "cur_state", "max_state")
PROBE = SensorProbe(
    "cooling_devices", find, files=join_patterns([f"{_FOLDER}/cooling_device*"], _FILES)
)
