"""The kinds of sensors that are found in files."""

from __future__ import annotations

import time

from edge_inference.platforms.board_files import Board
from edge_inference.platforms.sensors import (
    cooling_devices,
    cpu_clock,
    devfreq,
    hwmon_power,
    hwmon_temperature,
    iio_power,
    over_current,
    power_supply,
    rapl,
    system_load,
    thermal_zones,
)
from edge_inference.platforms.sensors.channel import Clock
from edge_inference.platforms.sensors.sensor import Sensor
from edge_inference.platforms.system_files import SystemFiles

#: In the order in which tables show them: temperatures and throttling first.
_KINDS = (
    thermal_zones,
    hwmon_temperature,
    cooling_devices,
    over_current,
    hwmon_power,
    iio_power,
    rapl,
    power_supply,
    devfreq,
    cpu_clock,
    system_load,
)


def find_sensors(
    files: SystemFiles, board: Board, clock: Clock = time.monotonic_ns
) -> list[Sensor]:
    """Return the sensors of a machine; the probe reads only files that do not change."""
    return [sensor for kind in _KINDS for sensor in kind.find(files, board, clock)]
