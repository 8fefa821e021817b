"""The table of sensor kinds, and the probes of one machine."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence

from edge_inference.core.extension_table import ExtensionTable
from edge_inference.platforms.board_files import Board
from edge_inference.platforms.sensors import board_sensors, nvml
from edge_inference.platforms.sensors.channel import Clock
from edge_inference.platforms.sensors.kernel import (
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
from edge_inference.platforms.sensors.probe import SensorProbe, describe_probe_error
from edge_inference.platforms.sensors.sensor import Sensor
from edge_inference.platforms.system_files import SystemFiles

#: In the order in which tables show them: temperatures and throttling first.
_OWN_PROBES = (
    thermal_zones.PROBE,
    hwmon_temperature.PROBE,
    cooling_devices.PROBE,
    over_current.PROBE,
    hwmon_power.PROBE,
    iio_power.PROBE,
    rapl.PROBE,
    power_supply.PROBE,
    devfreq.PROBE,
    cpu_clock.PROBE,
    system_load.PROBE,
    nvml.PROBE,
)

#: The kinds of sensors. Other packages add theirs by entry points ``edge_inference.sensors``.
SENSOR_PROBES: ExtensionTable[SensorProbe] = ExtensionTable(
    "sensors", "sensor kind", SensorProbe, _OWN_PROBES, describe_probe_error
)


def list_probes(board: Board) -> list[SensorProbe]:
    """Return the probes of all kinds, and last that of the sensors in the board's file."""
    own = [board_sensors.make_probe(board)] if board.sensors else []
    return [*SENSOR_PROBES.rows().values(), *own]


def make_probes(
    files: SystemFiles, board: Board, clock: Clock = time.monotonic_ns, *, is_live: bool = False
) -> dict[str, Callable[[], Sequence[Sensor]]]:
    """Return functions that find the sensors of a machine, by kind.

    ``is_live`` states that ``files`` are those of this machine, where probes without files work.
    """
    return {
        probe.name: functools.partial(probe.run, files, board, clock)
        for probe in list_probes(board)
        if probe.files or is_live
    }
