"""Over-current events since the start of the chip (hwmon ``soctherm_oc``)."""

from __future__ import annotations

import re
import time

from edge_inference.core.reading import Quantity, Role
from edge_inference.platforms.attributes import list_numbered, read_text
from edge_inference.platforms.board_files import Board
from edge_inference.platforms.file_patterns import join_patterns
from edge_inference.platforms.sensors.channel import Channel, Clock, FileSensor
from edge_inference.platforms.sensors.probe import SensorProbe
from edge_inference.platforms.sensors.sensor import Sensor
from edge_inference.platforms.system_files import SystemFiles

_HWMON = "sys/class/hwmon"
_NAME = "soctherm_oc"
_COUNTER = re.compile(r"(oc\d+)_event_cnt")


def find(files: SystemFiles, _: Board, clock: Clock = time.monotonic_ns) -> list[Sensor]:
    """Return a sensor for each counter: ``over_current/oc1``; a rising counter means throttling."""
    return [
        FileSensor((_make_channel(match[1], f"{folder}/{match[0]}"),), files, clock)
        for folder in list_numbered(files, _HWMON, "hwmon")
        if read_text(files, f"{folder}/name") == _NAME
        for file in files.list(folder)
        if (match := _COUNTER.fullmatch(file))
    ]


def _make_channel(name: str, path: str) -> Channel:
    return Channel(f"over_current/{name}", path, Quantity.COUNT, role=Role.THROTTLE, min_value=0)


_FILES = ("name", "oc[0-9]*_event_cnt", "oc[0-9]*_throt_en")
PROBE = SensorProbe("over_current", find, files=join_patterns([f"{_HWMON}/hwmon*"], _FILES))
