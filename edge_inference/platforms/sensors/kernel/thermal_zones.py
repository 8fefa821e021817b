"""Thermal zones (``sys/class/thermal/thermal_zone*``), identified by type and not by number."""

from __future__ import annotations

import re
import time
from collections.abc import Container, Sequence

from edge_inference.platforms.attributes import (
    list_numbered,
    make_unique,
    read_number_or_none,
    read_text,
)
from edge_inference.platforms.board_files import Board, matches_any
from edge_inference.platforms.file_patterns import join_patterns
from edge_inference.platforms.sensors.channel import Clock
from edge_inference.platforms.sensors.probe import SensorProbe
from edge_inference.platforms.sensors.sensor import Sensor
from edge_inference.platforms.sensors.temperature import Temperature, make_temperature_channel
from edge_inference.platforms.system_files import SystemFiles

_FOLDER = "sys/class/thermal"
_TRIP_TYPE = re.compile(r"trip_point_(\d+)_type")
_DEVICE = re.compile(r"cdev\d+")


def find(files: SystemFiles, board: Board, clock: Clock = time.monotonic_ns) -> list[Sensor]:
    """Return a sensor for each zone: ``zone/<type>``, with its trip points."""
    zones: dict[str, str] = {}
    for path in list_numbered(files, _FOLDER, "thermal_zone"):
        kind = read_text(files, f"{path}/type") or path.rpartition("/")[2]
        zones[make_unique(f"zone/{kind}", zones)] = path
    control = board.control_names(list(zones))
    last_valid: dict[str, tuple[float, int]] = {}
    return [
        _make_sensor(files, board, clock, name, path, name in control, last_valid)
        for name, path in zones.items()
    ]


def _make_sensor(
    files: SystemFiles,
    board: Board,
    clock: Clock,
    name: str,
    path: str,
    is_control: bool,
    last_valid: dict[str, tuple[float, int]],
) -> Temperature:
    trips = _read_trip_points(files, board, path)
    max_value = board.settings.max_c
    channel = make_temperature_channel(
        name,
        f"{path}/temp",
        board,
        is_control=is_control,
        throttle=_find_lowest(trips, "passive", max_value),
        critical=_find_lowest(trips, "critical", max_value),
    )
    return Temperature(
        (channel,),
        files,
        clock,
        board.settings.max_jump_c,
        board.is_placeholder(name),
        last_valid,
    )


def _read_trip_points(files: SystemFiles, board: Board, path: str) -> list[tuple[str, float]]:
    """Return the type and the temperature of each trip point of a zone.

    A passive trip point is left out if its cooling devices do not slow the machine down, such as
    a fan or an alert (Documentation/driver-api/thermal/sysfs-api.rst: ``cdevN_trip_point``).
    """
    names = files.list(path)
    throttling = _find_throttling_trips(files, board, path, names)
    found = []
    for name in names:
        match = _TRIP_TYPE.fullmatch(name)
        if match is None:
            continue
        kind = read_text(files, f"{path}/{name}")
        temperature = read_number_or_none(files, f"{path}/trip_point_{match[1]}_temp")
        is_idle = kind == "passive" and throttling is not None and int(match[1]) not in throttling
        if temperature is not None and not is_idle:
            found.append((kind, temperature / 1000))
    return found


def _find_throttling_trips(
    files: SystemFiles, board: Board, path: str, names: Sequence[str]
) -> Container[int] | None:
    """Return the trip points that are bound to a throttling device; None if unknown."""
    devices = [name for name in names if _DEVICE.fullmatch(name)]
    if not devices:
        return None
    found = set()
    for device in devices:
        kind = read_text(files, f"{path}/{device}/type")
        if kind and not matches_any(f"cooling/{kind}", board.settings.throttling):
            continue
        trip = read_number_or_none(files, f"{path}/{device}_trip_point")
        if trip is None or trip < 0:
            return None  # bound to an unknown trip point
        found.add(trip)
    return found


def _find_lowest(trips: list[tuple[str, float]], kind: str, max_value: float) -> float | None:
    """Return the lowest trip point of a type; one at 0 or above ``max_value`` is disabled."""
    return min((at for what, at in trips if what == kind and 0 < at <= max_value), default=None)


_ZONE = f"{_FOLDER}/thermal_zone*"
PROBE = SensorProbe(
    "thermal_zones",
    find,
    files=(
        *join_patterns([_ZONE], ["type", "mode", "temp", "trip_point_*", "cdev[0-9]*_trip_point"]),
        f"{_ZONE}/cdev[0-9]*/type",
    ),
)
