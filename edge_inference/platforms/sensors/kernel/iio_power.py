"""Power monitors on JetPack 4: INA3221x as industrial I/O (IIO) devices, in mV, mA and mW."""

from __future__ import annotations

import time

from edge_inference.platforms.attributes import list_numbered, make_unique, read_text
from edge_inference.platforms.board_files import Board
from edge_inference.platforms.file_patterns import join_patterns
from edge_inference.platforms.sensors.channel import Clock
from edge_inference.platforms.sensors.probe import SensorProbe
from edge_inference.platforms.sensors.rail import Rail, is_connected, make_rail_channels
from edge_inference.platforms.sensors.sensor import Sensor
from edge_inference.platforms.system_files import SystemFiles

_DRIVER = "sys/bus/i2c/drivers/ina3221x"
_CHANNELS = (0, 1, 2)
_MILLIWATTS = 1000


def find(files: SystemFiles, board: Board, clock: Clock = time.monotonic_ns) -> list[Sensor]:
    """Return a sensor for each rail: ``rail/<rail_name>``."""
    found: dict[str, Sensor] = {}
    for device in files.list(_DRIVER):
        for chip in list_numbered(files, f"{_DRIVER}/{device}", "iio:device"):
            for number in _CHANNELS:
                label = read_text(files, f"{chip}/rail_name_{number}")
                if is_connected(label):
                    name = make_unique(f"rail/{label}", found)
                    found[name] = _make_rail(files, board, clock, name, f"{chip}/in", number)
    return list(found.values())


def _make_rail(
    files: SystemFiles, board: Board, clock: Clock, name: str, stem: str, number: int
) -> Rail:
    channels = make_rail_channels(
        name,
        board,
        power=(f"{stem}_power{number}_input", _MILLIWATTS),
        voltage=f"{stem}_voltage{number}_input",
        current=f"{stem}_current{number}_input",
    )
    return Rail(channels, files, clock)


_FOLDERS = ("sys/bus/i2c/drivers/ina*/*/iio:device*", "sys/bus/iio/devices/iio:device*")
_FILES = ("name", "rail_name_[0-9]*", "in_power*_input", "in_voltage*_input", "in_current*_input")
PROBE = SensorProbe("iio_power", find, files=join_patterns(_FOLDERS, _FILES))
