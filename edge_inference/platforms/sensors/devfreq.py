"""Clock and load of a GPU that the kernel scales by devfreq: Jetson and other boards."""

from __future__ import annotations

import time

from edge_inference.core.reading import Quantity
from edge_inference.platforms.boards import Board, matches
from edge_inference.platforms.sensors.channel import Channel, Clock, FileSensor
from edge_inference.platforms.sensors.sensor import Sensor
from edge_inference.platforms.tree import Tree

_FOLDER = "sys/class/devfreq"


def find(tree: Tree, board: Board, clock: Clock = time.monotonic_ns) -> list[Sensor]:
    """Return sensors for each of the board's GPUs: ``gpu/<device>/clock`` and ``…/load``."""
    found: list[Sensor] = []
    for device in tree.list(_FOLDER):
        if not matches(device, board.settings.gpus):
            continue
        path, name = f"{_FOLDER}/{device}", f"gpu/{device}"
        channel = Channel(f"{name}/clock", f"{path}/cur_freq", Quantity.FREQUENCY, lowest=0)
        found.append(FileSensor((channel,), tree, clock))
        if "load" in tree.list(f"{path}/device"):
            load = Channel(
                f"{name}/load", f"{path}/device/load", Quantity.SHARE, per=1000, lowest=0, highest=1
            )
            found.append(FileSensor((load,), tree, clock))
    return found
