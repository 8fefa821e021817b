"""The files in a recording: those that report temperature, power, clocks and load.

Only the files that are listed here are read, so no file with serial numbers, addresses or
user names is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase

from edge_inference.platforms.system_files import SystemFiles

_HWMON = (
    "name",
    "label",
    "in[0-9]*_label",
    "in[0-9]*_input",
    "curr[0-9]*_label",
    "curr[0-9]*_input",
    "power[0-9]*_label",
    "power[0-9]*_input",
    "power[0-9]*_average",
    "temp[0-9]*_label",
    "temp[0-9]*_input",
    "temp[0-9]*_max",
    "temp[0-9]*_crit",
    "oc[0-9]*_event_cnt",
    "oc[0-9]*_throt_en",
)
_IIO = ("name", "rail_name_[0-9]*", "in_power*_input", "in_voltage*_input", "in_current*_input")
_CPUFREQ = (
    "affected_cpus",
    "related_cpus",
    "cpuinfo_min_freq",
    "cpuinfo_max_freq",
    "scaling_min_freq",
    "scaling_max_freq",
    "scaling_cur_freq",
    "scaling_governor",
    "scaling_available_frequencies",
    "scaling_available_governors",
)
_BATTERY = (
    "type",
    "scope",
    "status",
    "present",
    "online",
    "technology",
    "capacity",
    "temp",
    "voltage_now",
    "voltage_min_design",
    "current_now",
    "power_now",
    "charge_now",
    "charge_full",
    "charge_full_design",
    "energy_now",
    "energy_full",
    "energy_full_design",
)
_DEVFREQ = (
    "name",
    "governor",
    "cur_freq",
    "min_freq",
    "max_freq",
    "available_frequencies",
    "available_governors",
)
_DMI = (
    "sys_vendor",
    "product_name",
    "product_family",
    "board_vendor",
    "board_name",
    "chassis_type",
)
_DEVICE_TREE = ("model", "compatible")

#: Patterns of file names by patterns of folders.
FILE_PATTERNS: Mapping[str, tuple[str, ...]] = {
    "proc": ("stat", "meminfo"),
    "proc/device-tree": _DEVICE_TREE,
    "sys/firmware/devicetree/base": _DEVICE_TREE,
    "sys/class/dmi/id": _DMI,
    "sys/class/thermal/thermal_zone*": (
        "type",
        "mode",
        "temp",
        "trip_point_*",
        "cdev[0-9]*_trip_point",
    ),
    "sys/class/thermal/thermal_zone*/cdev[0-9]*": ("type",),
    "sys/class/thermal/cooling_device*": ("type", "cur_state", "max_state"),
    "sys/class/hwmon/hwmon*": _HWMON,
    "sys/bus/i2c/drivers/ina*/*/hwmon/hwmon*": _HWMON,
    "sys/bus/i2c/drivers/ina*/*/iio:device*": _IIO,
    "sys/bus/iio/devices/iio:device*": _IIO,
    "sys/class/devfreq/*": _DEVFREQ,
    "sys/class/devfreq/*/device": ("load",),
    "sys/devices/*gpu*": ("load",),
    "sys/devices/platform/*gpu*": ("load",),
    "sys/devices/system/cpu": ("online", "present", "possible"),
    "sys/devices/system/cpu/cpu[0-9]*": ("online",),
    "sys/devices/system/cpu/cpufreq/policy*": _CPUFREQ,
    "sys/class/powercap/intel-rapl*": ("name", "energy_uj", "max_energy_range_uj"),
    "sys/class/power_supply/*": _BATTERY,
    "etc": ("nvpmodel.conf",),
    "var/lib/nvpmodel": ("status",),
}

# The other lines of these files are long, change in every sample and are not needed.
_KEPT_LINES = {"proc/stat": (b"cpu",), "proc/meminfo": (b"Mem", b"Swap")}


def find_recorded_paths(
    files: SystemFiles, file_patterns: Mapping[str, tuple[str, ...]] = FILE_PATTERNS
) -> Iterator[str]:
    """Yield the files of a machine that match; some of them may not be readable."""
    for folder_pattern, patterns in file_patterns.items():
        for folder in _find_folders(files, folder_pattern.split("/")):
            for name in _list_names(files, folder):
                if any(fnmatchcase(name, pattern) for pattern in patterns):
                    yield f"{folder}/{name}"


def is_recorded(path: str, file_patterns: Mapping[str, tuple[str, ...]] = FILE_PATTERNS) -> bool:
    """Tell whether a file would be recorded if it existed."""
    folder, _, name = path.rpartition("/")
    parts = folder.split("/")
    for folder_pattern, patterns in file_patterns.items():
        folder_parts = folder_pattern.split("/")
        if len(folder_parts) == len(parts) and all(map(fnmatchcase, parts, folder_parts)):
            return any(fnmatchcase(name, pattern) for pattern in patterns)
    return False


def keep_needed_lines(path: str, content: bytes) -> bytes:
    """Return the part of a file's content that a recording holds."""
    starts = _KEPT_LINES.get(path)
    if starts is None:
        return content
    lines = content.splitlines(keepends=True)
    return b"".join(line for line in lines if line.startswith(starts))


def _find_folders(files: SystemFiles, parts: list[str], above: str = "") -> Iterator[str]:
    if not parts:
        yield above
        return
    first, *rest = parts
    names = _list_names(files, above) if "*" in first else [first]
    for name in names:
        if fnmatchcase(name, first):
            yield from _find_folders(files, rest, f"{above}/{name}" if above else name)


def _list_names(files: SystemFiles, folder: str) -> list[str]:
    """Return the names in a folder; none if it cannot be listed, as for a probe."""
    try:
        return files.list(folder)
    except OSError:
        return []
