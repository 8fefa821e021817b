"""Clock and load of a GPU under devfreq, as on Jetson and other boards."""

from __future__ import annotations

import time

from edge_inference.core.reading import Quantity
from edge_inference.platforms.board_files import Board, matches_any
from edge_inference.platforms.file_patterns import join_patterns
from edge_inference.platforms.sensors.channel import Channel, Clock, FileSensor
from edge_inference.platforms.sensors.probe import SensorProbe
from edge_inference.platforms.sensors.sensor import Sensor
from edge_inference.platforms.system_files import SystemFiles

_FOLDER = "sys/class/devfreq"


def find(files: SystemFiles, board: Board, clock: Clock = time.monotonic_ns) -> list[Sensor]:
    """Return a sensor for each of the board's GPUs: ``gpu/<device>/clock`` and ``…/load``."""
    found: list[Sensor] = []
    for device in files.list(_FOLDER):
        if not matches_any(device, board.settings.gpus):
            continue
        path, name = f"{_FOLDER}/{device}", f"gpu/{device}"
        channels = [
            Channel(
                f"{name}/clock", f"{path}/cur_freq", Quantity.FREQUENCY, min_value=0, device=name
            )
        ]
        if "load" in files.list(f"{path}/device"):
            channels.append(
                Channel(
                    f"{name}/load",
                    f"{path}/device/load",
                    Quantity.SHARE,
                    divisor=1000,
                    min_value=0,
                    max_value=1,
                    device=name,
                )
            )
        found.append(FileSensor(tuple(channels), files, clock))
    return found


_FILES = (
    *("name", "governor", "cur_freq", "min_freq", "max_freq"),
    *("available_frequencies", "available_governors", "device/load"),
)
PROBE = SensorProbe("devfreq", find, files=join_patterns([f"{_FOLDER}/*"], _FILES))
