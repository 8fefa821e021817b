"""Cooling devices: ``sys/class/thermal/cooling_device*``, what the kernel does against heat."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from edge_inference.core.reading import Quantity, Reading, ReadingStatus, Role
from edge_inference.errors import InputError
from edge_inference.platforms.attributes import numbered, read_number, text_of, unique, verdict
from edge_inference.platforms.boards import Board, matches
from edge_inference.platforms.sensors.channel import Channel, Clock, FileSensor
from edge_inference.platforms.sensors.sensor import Sensor
from edge_inference.platforms.tree import Tree

_FOLDER = "sys/class/thermal"
#: intel_powerclamp says so while it does nothing (Documentation/admin-guide/thermal).
_IDLE = -1


@dataclass
class CoolingDevice(FileSensor):
    """One state: 0 while it does nothing, and higher the more it does."""

    def read(self) -> Sequence[Reading]:
        """Look once."""
        channel = self.channels[0]
        try:
            state = read_number(self.tree, channel.path)
        except OSError as error:
            return [channel.unknown(*verdict(error), self.clock())]
        except InputError as error:
            return [channel.unknown(ReadingStatus.INVALID, str(error), self.clock())]
        return [channel.known(0.0 if state == _IDLE else float(state), self.clock())]


def find(tree: Tree, board: Board, clock: Clock = time.monotonic_ns) -> list[Sensor]:
    """Return a sensor for each cooling device: ``cooling/<type>``.

    The board says which of them slow the machine down; the others, a fan, are only shown.
    """
    found: dict[str, Sensor] = {}
    for path in numbered(tree, _FOLDER, "cooling_device"):
        kind = text_of(tree, f"{path}/type") or path.rpartition("/")[2]
        name = unique(f"cooling/{kind}", found)
        throttles = matches(name, board.settings.throttling)
        channel = Channel(
            name,
            f"{path}/cur_state",
            Quantity.STATE,
            role=Role.THROTTLE if throttles else Role.NONE,
            lowest=0,
        )
        found[name] = CoolingDevice((channel,), tree, clock)
    return list(found.values())
