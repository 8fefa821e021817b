"""Temperatures of processors without a thermal zone: hwmon ``coretemp``, ``k10temp``."""

from __future__ import annotations

import re
import time

from edge_inference.platforms.attributes import (
    list_numbered,
    make_unique,
    read_number_or_none,
    read_text,
)
from edge_inference.platforms.board_files import Board
from edge_inference.platforms.file_patterns import join_patterns
from edge_inference.platforms.sensors.channel import Clock
from edge_inference.platforms.sensors.probe import SensorProbe
from edge_inference.platforms.sensors.sensor import Sensor
from edge_inference.platforms.sensors.temperature import Temperature, make_temperature_channel
from edge_inference.platforms.system_files import SystemFiles

_HWMON = "sys/class/hwmon"
_CHIPS = ("coretemp", "k10temp", "zenpower")
_INPUT = re.compile(r"(temp\d+)_input")
#: A core is no hotter than its package, which has a reading of its own.
_CORE = re.compile(r"Core \d+|Tccd\d+")


def find(files: SystemFiles, board: Board, clock: Clock = time.monotonic_ns) -> list[Sensor]:
    """Return a sensor for each processor: ``temp/k10temp/Tctl``; single cores are left out."""
    found: dict[str, Sensor] = {}
    last_valid: dict[str, tuple[float, int]] = {}
    for folder in list_numbered(files, _HWMON, "hwmon"):
        chip = read_text(files, f"{folder}/name")
        if chip not in _CHIPS:
            continue
        for file in files.list(folder):
            match = _INPUT.fullmatch(file)
            label = read_text(files, f"{folder}/{match[1]}_label") or match[1] if match else ""
            if match and not _CORE.fullmatch(label):
                name = make_unique(f"temp/{chip}/{label}", found)
                found[name] = _make_sensor(
                    files, board, clock, name, f"{folder}/{match[1]}", last_valid
                )
    return list(found.values())


def _make_sensor(
    files: SystemFiles,
    board: Board,
    clock: Clock,
    name: str,
    stem: str,
    last_valid: dict[str, tuple[float, int]],
) -> Temperature:
    channel = make_temperature_channel(
        name,
        f"{stem}_input",
        board,
        is_control=bool(board.control_names([name])),
        throttle=_read_limit(files, f"{stem}_max", board),
        critical=_read_limit(files, f"{stem}_crit", board),
    )
    return Temperature(
        (channel,),
        files,
        clock,
        board.settings.max_jump_c,
        board.is_placeholder(name),
        last_valid,
    )


def _read_limit(files: SystemFiles, path: str, board: Board) -> float | None:
    number = read_number_or_none(files, path)
    in_range = number is not None and 0 < number / 1000 <= board.settings.max_c
    return number / 1000 if number is not None and in_range else None


# The temperature of a power monitor is not read, but shown by its recording.
_FOLDERS = (f"{_HWMON}/hwmon*", "sys/bus/i2c/drivers/ina*/*/hwmon/hwmon*")
_FILES = ("name", *(f"temp[0-9]*_{kind}" for kind in ("label", "input", "max", "crit")))
PROBE = SensorProbe("hwmon_temperature", find, files=join_patterns(_FOLDERS, _FILES))
