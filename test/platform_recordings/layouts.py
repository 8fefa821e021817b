"""The sysfs layouts of the boards' kernels, by kind of source."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence

from edge_inference.platforms.recording.recording import FileContent, UnreadableFile

Files = dict[str, FileContent]
GATED = UnreadableFile(errno.EAGAIN)
FORBIDDEN = UnreadableFile(errno.EACCES)


def lines(values: Mapping[str, object], folder: str) -> Files:
    """Return files with one line each."""
    return {
        f"{folder}/{name}": value if isinstance(value, UnreadableFile) else f"{value}\n".encode()
        for name, value in values.items()
    }


def device_tree(model: str, *compatible: str) -> Files:
    folder = "proc/device-tree"
    return {
        f"{folder}/model": f"{model}\0".encode(),
        f"{folder}/compatible": "".join(f"{each}\0" for each in compatible).encode(),
    }


def dmi(vendor: str, product: str, board: str, chassis: int) -> Files:
    names = {"sys_vendor": vendor, "product_name": product, "board_name": board}
    return lines({**names, "board_vendor": vendor, "chassis_type": chassis}, "sys/class/dmi/id")


def zones(
    *found: tuple[str, int | UnreadableFile], trips: Sequence[tuple[str, int]] = (), first: int = 0
) -> Files:
    """Return thermal zones by type with millidegrees, all with the same trip points."""
    files: Files = {}
    for number, (kind, temp) in enumerate(found, start=first):
        folder = f"sys/class/thermal/thermal_zone{number}"
        files |= lines({"type": kind, "mode": "enabled", "temp": temp}, folder)
        for index, (trip, limit) in enumerate(trips):
            point = {f"trip_point_{index}_type": trip, f"trip_point_{index}_temp": limit}
            files |= lines(point, folder)
    return files


def cooling(*found: tuple[str, int, int]) -> Files:
    """Return cooling devices: type, present and highest state."""
    files: Files = {}
    for number, (kind, state, highest) in enumerate(found):
        values = {"type": kind, "cur_state": state, "max_state": highest}
        files |= lines(values, f"sys/class/thermal/cooling_device{number}")
    return files


def hwmon(number: int, values: Mapping[str, object], driver: str = "") -> Files:
    """Return a hwmon chip; with ``driver`` it is also listed on the bus."""
    files = lines(values, f"sys/class/hwmon/hwmon{number}")
    if driver:
        files |= lines(values, f"sys/bus/i2c/drivers/{driver}/hwmon/hwmon{number}")
    return files


def ina3221(number: int, address: str, *rails: tuple[str, int, int]) -> Files:
    """Return a chip of three rails: label, mV, mA; with shunt voltages and the sum channels."""
    values: dict[str, object] = {"name": "ina3221"}
    for channel, (label, millivolt, milliampere) in enumerate(rails, start=1):
        values |= {f"in{channel}_label": label, f"in{channel}_input": millivolt}
        values |= {f"in{channel + 3}_input": milliampere * 5, f"curr{channel}_input": milliampere}
    total = sum(milliampere for _, _, milliampere in rails)
    values |= {"in7_label": "sum of shunt voltages", "in7_input": total * 5, "curr4_input": total}
    return hwmon(number, values, f"ina3221/{address}")


def ina3221x(address: str, number: int, *rails: tuple[str, int, int]) -> Files:
    """Return the chip as JetPack 4 shows it: label, mV, mA and, from those, mW."""
    values: dict[str, object] = {"name": "ina3221x"}
    for channel, (label, millivolt, milliampere) in enumerate(rails):
        values |= {
            f"rail_name_{channel}": label,
            f"in_voltage{channel}_input": millivolt,
            f"in_current{channel}_input": milliampere,
            f"in_power{channel}_input": millivolt * milliampere // 1000,
        }
    return lines(values, f"sys/bus/i2c/drivers/ina3221x/{address}/iio:device{number}")


def over_current(number: int, *counts: int) -> Files:
    values: dict[str, object] = {"name": "soctherm_oc"}
    values |= {f"oc{index}_event_cnt": count for index, count in enumerate(counts, start=1)}
    return hwmon(number, values)


def devfreq(name: str, hertz: Sequence[int], current: int, load: int | None = None) -> Files:
    """Return a clock: its steps, the present one, and the load per mille."""
    folder = f"sys/class/devfreq/{name}"
    values = {
        "governor": "nvhost_podgov",
        "cur_freq": current,
        "min_freq": hertz[0],
        "max_freq": hertz[-1],
        "available_frequencies": " ".join(map(str, hertz)),
    }
    return lines(values, folder) | (
        {} if load is None else lines({"load": load}, f"{folder}/device")
    )


def cpu(policies: Mapping[int, Sequence[int]], kilohertz: tuple[int, int, int]) -> Files:
    """Return cpufreq by the first CPU of each policy: lowest, present and highest clock."""
    low, now, high = kilohertz
    files: Files = {}
    for first, cpus in policies.items():
        members = " ".join(map(str, cpus))
        values = {
            "affected_cpus": members,
            "related_cpus": members,
            "cpuinfo_min_freq": low,
            "cpuinfo_max_freq": high,
            "scaling_min_freq": low,
            "scaling_max_freq": high,
            "scaling_cur_freq": now,
            "scaling_governor": "schedutil",
        }
        files |= lines(values, f"sys/devices/system/cpu/cpufreq/policy{first}")
    count = sum(len(cpus) for cpus in policies.values())
    return files | lines({"online": f"0-{count - 1}"}, "sys/devices/system/cpu")


def processor(cpus: int, memory_mb: int, busy: int = 20000, idle: int = 180000) -> Files:
    """Return load and memory; ``busy`` and ``idle`` are the ticks of each CPU."""
    stat = [f"cpu  {busy * cpus} 0 0 {idle * cpus} 0 0 0 0 0 0"]
    stat += [f"cpu{number} {busy} 0 0 {idle} 0 0 0 0 0 0" for number in range(cpus)]
    kilobytes = memory_mb * 1024
    meminfo = f"MemTotal: {kilobytes:15} kB\nMemFree: {kilobytes // 4:16} kB\n"
    meminfo += f"MemAvailable: {kilobytes // 2:11} kB\n"
    return {
        "proc/stat": ("\n".join(stat) + "\n").encode(),
        "proc/meminfo": meminfo.encode(),
    }


def power_mode(number: int, default: int, names: Mapping[int, str]) -> Files:
    """Return nvpmodel's configuration, of a mode's name only, and the mode that is set."""
    text = "".join(
        f"< POWER_MODEL ID={each} NAME={name} >\nCPU_ONLINE CORE_0 1\n\n"
        for each, name in names.items()
    )
    text += f"< PM_CONFIG DEFAULT={default} >\n"
    return {
        "etc/nvpmodel.conf": text.encode(),
        "var/lib/nvpmodel/status": f"pmode:{number:04}\n".encode(),
    }


def rapl(domain: str, name: str, microjoules: int | UnreadableFile, highest: int) -> Files:
    values = {"name": name, "energy_uj": microjoules, "max_energy_range_uj": highest}
    return lines(values, f"sys/class/powercap/{domain}")


def power_supply(name: str, values: Mapping[str, object]) -> Files:
    return lines(values, f"sys/class/power_supply/{name}")
