"""Clocks of the CPU clusters: ``sys/devices/system/cpu/cpufreq/policy*``, in kHz."""

from __future__ import annotations

import time

from edge_inference.core.reading import Quantity
from edge_inference.platforms.attributes import list_numbered, read_number_or_none
from edge_inference.platforms.board_files import Board
from edge_inference.platforms.file_patterns import join_patterns
from edge_inference.platforms.sensors.channel import Channel, Clock, FileSensor
from edge_inference.platforms.sensors.probe import SensorProbe
from edge_inference.platforms.sensors.sensor import Sensor
from edge_inference.platforms.system_files import SystemFiles

_FOLDER = "sys/devices/system/cpu/cpufreq"
#: More clusters than a robot's board has; on a server each core has its own policy.
_MAX_POLICIES = 8


def find(files: SystemFiles, _: Board, clock: Clock = time.monotonic_ns) -> list[Sensor]:
    """Return a sensor for each cluster: ``cpu_clock/policy0``.

    With more than ``_MAX_POLICIES`` policies, only one of each kind of core is read.
    """
    policies = list_numbered(files, _FOLDER, "policy")
    if len(policies) > _MAX_POLICIES:
        kinds = {
            read_number_or_none(files, f"{path}/cpuinfo_max_freq"): path
            for path in reversed(policies)
        }
        policies = sorted(kinds.values(), key=policies.index)
    return [
        FileSensor((_make_channel(path.rpartition("/")[2], path),), files, clock)
        for path in policies
    ]


def _make_channel(name: str, path: str) -> Channel:
    file = f"{path}/scaling_cur_freq"
    return Channel(f"cpu_clock/{name}", file, Quantity.FREQUENCY, multiplier=1000, min_value=0)


_FILES = (
    *("affected_cpus", "related_cpus", "cpuinfo_min_freq", "cpuinfo_max_freq"),
    *("scaling_min_freq", "scaling_max_freq", "scaling_cur_freq", "scaling_governor"),
    *("scaling_available_frequencies", "scaling_available_governors"),
)
_CPU = "sys/devices/system/cpu"
PROBE = SensorProbe(
    "cpu_clock",
    find,
    files=(
        *join_patterns([f"{_FOLDER}/policy*"], _FILES),
        *join_patterns([_CPU], ("online", "present", "possible", "cpu[0-9]*/online")),
    ),
)
