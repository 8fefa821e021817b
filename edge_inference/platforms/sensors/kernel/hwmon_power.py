"""Power monitors with an hwmon driver: INA3221 (Jetson since JetPack 5), INA238, INA226.

Files are in mV, mA and µW. An INA3221 has three channels: in1 to in3 with curr1 to
curr3. Its in4 to in6 are shunt voltages, and in7 and curr4 are sums: these are not
rails. The other chips have one channel: in1, curr1 and power1; in0 is the shunt voltage.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from edge_inference.platforms.attributes import list_numbered, make_unique, read_text
from edge_inference.platforms.board_files import Board
from edge_inference.platforms.file_patterns import join_patterns
from edge_inference.platforms.sensors.channel import Clock
from edge_inference.platforms.sensors.probe import SensorProbe
from edge_inference.platforms.sensors.rail import Rail, is_connected, make_rail_channels
from edge_inference.platforms.sensors.sensor import Sensor
from edge_inference.platforms.system_files import SystemFiles

_HWMON = "sys/class/hwmon"
_DRIVERS = "sys/bus/i2c/drivers"
_INA3221 = "ina3221"
_CHANNELS = (1, 2, 3)
#: By driver, the hwmon names of its chips.
_SINGLE_CHANNEL_CHIPS = {
    "ina238": ("ina238", "ina237"),
    "ina2xx": ("ina226", "ina219", "ina230", "ina231"),
}
_MICROWATTS = 1_000_000


def find(files: SystemFiles, board: Board, clock: Clock = time.monotonic_ns) -> list[Sensor]:
    """Return a sensor for each rail: ``rail/<label>``."""
    found: dict[str, Sensor] = {}
    for chip in _list_chips(files, _INA3221, (_INA3221,)):
        for number in _CHANNELS:
            label = read_text(files, f"{chip}/in{number}_label")
            if is_connected(label):
                name = make_unique(f"rail/{label}", found)
                found[name] = _make_rail_without_power(files, board, clock, name, chip, number)
    for driver, names in _SINGLE_CHANNEL_CHIPS.items():
        for chip in _list_chips(files, driver, names):
            name = make_unique(f"rail/{_read_label(files, chip)}", found)
            found[name] = _make_rail_with_power(files, board, clock, name, chip)
    return list(found.values())


def _list_chips(files: SystemFiles, driver: str, names: tuple[str, ...]) -> Iterator[str]:
    """Yield the hwmon folders of a driver's chips.

    The driver's device list is preferred: a path by bus and address does not change when the
    hwmon numbers do.
    """
    by_driver = [
        folder
        for device in files.list(f"{_DRIVERS}/{driver}")
        for folder in list_numbered(files, f"{_DRIVERS}/{driver}/{device}/hwmon", "hwmon")
    ]
    if by_driver:
        yield from by_driver
        return
    for folder in list_numbered(files, _HWMON, "hwmon"):
        if read_text(files, f"{folder}/name") in names:
            yield folder


def _read_label(files: SystemFiles, chip: str) -> str:
    for file in ("in1_label", "power1_label", "label", "name"):
        label = read_text(files, f"{chip}/{file}")
        if label:
            return label
    return chip.rpartition("/")[2]


def _make_rail_without_power(
    files: SystemFiles, board: Board, clock: Clock, name: str, chip: str, number: int
) -> Rail:
    voltage, current = f"{chip}/in{number}_input", f"{chip}/curr{number}_input"
    channels = make_rail_channels(name, board, power=(voltage, 1), voltage=voltage, current=current)
    return Rail(channels, files, clock, computes_power=True)


def _make_rail_with_power(
    files: SystemFiles, board: Board, clock: Clock, name: str, chip: str
) -> Rail:
    channels = make_rail_channels(
        name,
        board,
        power=(f"{chip}/power1_input", _MICROWATTS),
        voltage=f"{chip}/in1_input",
        current=f"{chip}/curr1_input",
    )
    return Rail(channels, files, clock)


_FOLDERS = (f"{_HWMON}/hwmon*", f"{_DRIVERS}/ina*/*/hwmon/hwmon*")
_FILES = (
    *("name", "label", "in[0-9]*_label", "in[0-9]*_input", "curr[0-9]*_label", "curr[0-9]*_input"),
    *("power[0-9]*_label", "power[0-9]*_input", "power[0-9]*_average"),
)
PROBE = SensorProbe("hwmon_power", find, files=join_patterns(_FOLDERS, _FILES))
