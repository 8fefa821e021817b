"""Machines in memory: files by path, an OSError in place of what cannot be read."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path

from edge_inference.core.reading import Reading
from edge_inference.platforms.sensors.sensor import Sensor

Files = dict[str, "str | int"]
ZONE = "sys/class/thermal/thermal_zone{}"
INA3221 = "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon{}"


class MemoryFiles:
    """Files with texts; a number is the errno of reading the file."""

    def __init__(self, contents: Mapping[str, str | int]) -> None:
        self.contents: dict[str, str | int] = dict(contents)
        self.reads: list[str] = []
        self.writes: dict[str, int] = {}

    def read(self, path: str) -> bytes:
        self.reads.append(path)
        content = self.contents.get(path, errno.ENOENT)
        if isinstance(content, int):
            raise OSError(content, os.strerror(content), path)
        return content.encode("utf-8", "surrogateescape")

    def list(self, path: str) -> list[str]:
        start = f"{path}/"
        inside = (each[len(start) :] for each in self.contents if each.startswith(start))
        return sorted({each.partition("/")[0] for each in inside})

    def modified_ns(self, path: str) -> int:
        self.read(path)
        return self.writes.get(path, 0)

    def write(self, path: str, content: str | int) -> None:
        """Write a file, also with the content that it has."""
        self.contents[path] = content
        self.writes[path] = self.writes.get(path, 0) + 1

    def remove(self, start: str) -> None:
        """Remove every file below a path."""
        self.contents = {
            path: text for path, text in self.contents.items() if not path.startswith(start)
        }

    def move(self, old: str, new: str) -> None:
        """Move every file below a path."""
        self.contents = {path.replace(old, new): text for path, text in self.contents.items()}


class ManualClock:
    """A monotonic clock that the test advances."""

    def __init__(self) -> None:
        self.now_ns = 1_000_000_000

    def __call__(self) -> int:
        return self.now_ns

    def forward(self, seconds: float) -> None:
        self.now_ns += int(seconds * 1e9)


def zones(**temperatures: str | int) -> Files:
    """Make thermal zones; the type is the key with '-' for '_'."""
    files: Files = {}
    for number, (name, temperature) in enumerate(temperatures.items()):
        files[f"{ZONE.format(number)}/type"] = f"{name.replace('_', '-')}\n"
        files[f"{ZONE.format(number)}/temp"] = temperature
    return files


def ina3221(
    hwmon: int = 3, labels: tuple[str, ...] = ("VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC")
) -> Files:
    """Make an INA3221 of JetPack 5: channel N has N x 5 V and N x 0.5 A, plus sums and shunts."""
    folder = INA3221.format(hwmon)
    files: Files = {f"{folder}/name": "ina3221\n"}
    for line, label in enumerate(labels, start=1):
        files[f"{folder}/in{line}_label"] = f"{label}\n"
        files[f"{folder}/in{line}_input"] = f"{line * 5000}\n"
        files[f"{folder}/curr{line}_input"] = f"{line * 500}\n"
        files[f"{folder}/in{line + 3}_input"] = f"{line * 123}\n"
    files[f"{folder}/in7_input"] = "9999\n"
    files[f"{folder}/in7_label"] = "sum of shunt voltages\n"
    files[f"{folder}/curr4_input"] = "99999\n"
    return files


def orin_nx() -> Files:
    """Make an Orin NX as JetPack 6 shows it, idle."""
    gated = errno.EAGAIN
    files = zones(
        cpu_thermal="48500\n",
        gpu_thermal="46000\n",
        cv0_thermal=gated,
        cv1_thermal=gated,
        cv2_thermal=gated,
        soc0_thermal="47000\n",
        soc1_thermal="48000\n",
        soc2_thermal="46500\n",
        tj_thermal="48500\n",
    )
    for trip, (kind, temperature) in enumerate((("passive", 99000), ("critical", 104500))):
        files[f"{ZONE.format(8)}/trip_point_{trip}_type"] = f"{kind}\n"
        files[f"{ZONE.format(8)}/trip_point_{trip}_temp"] = f"{temperature}\n"
    devices = (
        *("pwm-fan", "cpufreq-cpu0", "cpufreq-cpu4", "devfreq-17000000.gpu"),
        *("cpu-throttle-alert", "gpu-throttle-alert", "cv0-throttle-alert", "soc0-throttle-alert"),
        "hot-surface-alert",
    )
    for number, kind in enumerate(devices):
        files[f"sys/class/thermal/cooling_device{number}/type"] = f"{kind}\n"
        files[f"sys/class/thermal/cooling_device{number}/cur_state"] = "0\n"
        files[f"sys/class/thermal/cooling_device{number}/max_state"] = "1\n"
    files |= ina3221()
    files["sys/class/hwmon/hwmon0/name"] = "soctherm_oc\n"
    for counter in (1, 2, 3):
        files[f"sys/class/hwmon/hwmon0/oc{counter}_event_cnt"] = "0\n"
    gpu = "sys/class/devfreq/17000000.gpu"
    files |= {f"{gpu}/cur_freq": "306000000\n", f"{gpu}/device/load": "250\n"}
    files["sys/class/devfreq/15480000.nvdec/cur_freq"] = "1\n"
    for policy in (0, 4):
        stem = f"sys/devices/system/cpu/cpufreq/policy{policy}"
        files |= {f"{stem}/scaling_cur_freq": "1984000\n", f"{stem}/cpuinfo_max_freq": "1984000\n"}
    files["proc/stat"] = "cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 100 0 100 800 0 0 0 0 0 0\n"
    files["proc/meminfo"] = "MemTotal:       8000 kB\nMemFree: 1 kB\nMemAvailable:   6000 kB\n"
    files["proc/device-tree/compatible"] = "nvidia,p3768-0000+p3767-0000\0nvidia,tegra234\0"
    files["var/lib/nvpmodel/status"] = "pmode:0002\n"
    files["etc/nvpmodel.conf"] = (
        "# < POWER_MODEL ID=9 NAME=COMMENT >\n"
        "< POWER_MODEL ID=0 NAME=MAXN >\nCPU_ONLINE CORE_0 1\n"
        "< POWER_MODEL ID=1 NAME=10W >\n< POWER_MODEL ID=2 NAME=15W >\n"
    )
    return files


def write_files(files: Files, root: Path) -> None:
    """Write a machine's files below a folder; those that cannot be read are left out."""
    for path, content in files.items():
        if isinstance(content, str):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(content)


def read_sensors(sensors: list[Sensor]) -> dict[str, Reading]:
    """Read every sensor once; two readings of one name are a fault."""
    readings = [reading for sensor in sensors for reading in sensor.read()]
    names = [reading.name for reading in readings]
    assert names == [name for sensor in sensors for name in sensor.names]
    assert len(set(names)) == len(names)
    return {reading.name: reading for reading in readings}
