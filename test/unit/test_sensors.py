"""Cooling devices, over-current, clocks, load, memory, power modes, hwmon temperatures."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from edge_inference.core.reading import Quantity, Reading, ReadingStatus, Role
from edge_inference.platforms.board_files import find_board, load_boards
from edge_inference.platforms.sensors import power_mode
from edge_inference.platforms.sensors.kernel import (
    cooling_devices,
    cpu_clock,
    devfreq,
    hwmon_temperature,
    over_current,
    system_load,
)
from edge_inference.platforms.sensors.probe import SensorProbe
from edge_inference.platforms.sensors.probes import SENSOR_PROBES
from machine_files import Files, ManualClock, MemoryFiles, orin_nx, read_sensors

BOARDS = load_boards([Path(__file__).parents[2] / "config" / "platforms"])
ORIN, NANO, PC, THOR = (
    find_board(name, BOARDS) for name in ("jetson_orin", "jetson_nano", "pc", "jetson_thor")
)
COOLING = "sys/class/thermal/cooling_device{}"


def cooling(*devices: tuple[str, str | int]) -> Files:
    files: Files = {}
    for number, (kind, state) in enumerate(devices):
        files[f"{COOLING.format(number)}/type"] = f"{kind}\n"
        files[f"{COOLING.format(number)}/cur_state"] = state
    return files


@pytest.mark.parametrize("probe", SENSOR_PROBES.own.values(), ids=lambda probe: probe.name)
def test_an_empty_machine_has_no_sensors(probe: SensorProbe) -> None:
    assert probe.find(MemoryFiles({}), ORIN, ManualClock()) == []


@pytest.mark.parametrize(
    ("kind", "throttles"),
    [
        ("cpu-throttle-alert", True),
        ("gpu-throttle-alert", True),
        ("cv0-throttle-alert", True),
        ("hot-surface-alert", False),
        ("cpufreq-cpu0", True),
        ("devfreq-17000000.gpu", True),
        ("pwm-fan", False),
        ("Fan", False),
        ("nvme", False),
    ],
)
def test_throttling_devices_of_an_orin(kind: str, throttles: bool) -> None:
    (reading,) = read_sensors(
        cooling_devices.find(MemoryFiles(cooling((kind, "1\n"))), ORIN)
    ).values()
    assert reading.name == f"cooling/{kind}"
    assert (reading.value, reading.quantity) == (1, Quantity.STATE)
    assert (reading.role is Role.THROTTLE) == throttles


def test_throttling_devices_of_other_boards() -> None:
    files = cooling(("cpu-balanced", "1"), ("thermal-cpufreq-0", "0"), ("pwm-fan", "3"))
    roles = [
        each.role for each in read_sensors(cooling_devices.find(MemoryFiles(files), NANO)).values()
    ]
    assert roles == [Role.THROTTLE, Role.THROTTLE, Role.NONE]
    files = cooling(("Processor", "0"), ("Processor", "2"), ("TCC Offset", "5"), ("LCD", "1"))
    readings = read_sensors(cooling_devices.find(MemoryFiles(files), PC))
    assert [name for name, each in readings.items() if each.role is Role.THROTTLE] == [
        "cooling/Processor",
        "cooling/Processor#2",
    ]


def test_idle_powerclamp_is_zero() -> None:
    files = MemoryFiles(cooling(("intel_powerclamp", "-1\n")))
    (reading,) = read_sensors(cooling_devices.find(files, PC)).values()
    assert (reading.value, reading.role) == (0, Role.THROTTLE)


@pytest.mark.parametrize(
    ("content", "status"),
    [
        ("-2\n", ReadingStatus.INVALID),
        ("on\n", ReadingStatus.INVALID),
        (errno.EAGAIN, ReadingStatus.GATED),
        (errno.ENODEV, ReadingStatus.ABSENT),
    ],
)
def test_unreadable_alert_is_not_zero(content: str | int, status: ReadingStatus) -> None:
    files = MemoryFiles(cooling(("cpu-throttle-alert", content)))
    (reading,) = read_sensors(cooling_devices.find(files, ORIN)).values()
    assert (reading.value, reading.status) == (None, status)


def test_over_current_counts() -> None:
    files = {**orin_nx(), "sys/class/hwmon/hwmon0/oc2_event_cnt": "7\n"}
    files["sys/class/hwmon/hwmon0/oc1_throt_en"] = "1\n"
    readings = read_sensors(over_current.find(MemoryFiles(files), ORIN))
    assert {name: each.value for name, each in readings.items()} == {
        "over_current/oc1": 0,
        "over_current/oc2": 7,
        "over_current/oc3": 0,
    }
    assert {each.role for each in readings.values()} == {Role.THROTTLE}
    assert {each.quantity for each in readings.values()} == {Quantity.COUNT}


def test_a_gpu_has_a_clock_and_a_load() -> None:
    readings = read_sensors(devfreq.find(MemoryFiles(orin_nx()), ORIN))
    assert {name: (each.value, each.quantity) for name, each in readings.items()} == {
        "gpu/17000000.gpu/clock": (306e6, Quantity.FREQUENCY),
        "gpu/17000000.gpu/load": (0.25, Quantity.SHARE),
    }
    assert {each.device for each in readings.values()} == {"gpu/17000000.gpu"}


def test_a_gpu_without_a_load() -> None:
    files = MemoryFiles({"sys/class/devfreq/gpu-gpc-0/cur_freq": "1575000000\n"})
    assert [each.name for each in devfreq.find(files, THOR)] == ["gpu/gpu-gpc-0/clock"]


def test_load_above_one_is_invalid() -> None:
    files = {**orin_nx(), "sys/class/devfreq/17000000.gpu/device/load": "1001\n"}
    reading = read_sensors(devfreq.find(MemoryFiles(files), ORIN))["gpu/17000000.gpu/load"]
    assert reading.status is ReadingStatus.INVALID


def test_clusters_have_clocks_in_hertz() -> None:
    readings = read_sensors(cpu_clock.find(MemoryFiles(orin_nx()), ORIN))
    assert {name: each.value for name, each in readings.items()} == {
        "cpu_clock/policy0": 1984000000,
        "cpu_clock/policy4": 1984000000,
    }


def test_one_core_of_each_kind_is_read() -> None:
    files: Files = {}
    for number in range(64):
        stem = f"sys/devices/system/cpu/cpufreq/policy{number}"
        files[f"{stem}/scaling_cur_freq"] = "800000\n"
        files[f"{stem}/cpuinfo_max_freq"] = "5000000\n" if number < 16 else "3800000\n"
    names = [sensor.name for sensor in cpu_clock.find(MemoryFiles(files), PC)]
    assert names == ["cpu_clock/policy0", "cpu_clock/policy16"]


class Load:
    def __init__(self) -> None:
        self.files = MemoryFiles({"proc/stat": ""})
        (self.sensor,) = system_load.find(self.files, PC, ManualClock())

    def at(self, line: str) -> Reading:
        self.files.contents["proc/stat"] = line
        return self.sensor.read()[0]


def test_load_between_two_samples() -> None:
    load = Load()
    first = load.at("cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 2 3 4\n")
    assert (first.value, first.status) == (None, ReadingStatus.STALE)
    assert load.at("cpu  150 0 110 720 120 0 0 0 50 0\n").value == pytest.approx(0.6)
    assert load.at("cpu  150 0 110 820 120 0 0 0 50 0\n").value == 0.0
    assert load.at("cpu  250 0 110 820 120 0 0 0 150 0\n").value == 1.0


def test_idle_time_that_goes_back_is_full_load() -> None:
    load = Load()
    load.at("cpu  100 0 100 700 100 0 0 0 0 0\n")
    assert load.at("cpu  110 0 100 700 99 0 0 0 0 0\n").value == 1.0


def test_two_samples_at_the_same_time_give_no_load() -> None:
    load = Load()
    for _ in range(2):
        assert load.at("cpu  100 0 100 700 100 0 0 0 0 0\n").status is ReadingStatus.STALE


@pytest.mark.parametrize("line", ["", "cpu\n", "cpu  1 2\n", "cpu  a b c d e\n", "intr 5\n"])
def test_invalid_stat_gives_no_load(line: str) -> None:
    assert Load().at(line).status is ReadingStatus.INVALID


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("MemTotal:       8000 kB\nMemFree: 1 kB\nMemAvailable:   6000 kB\n", 0.25),
        ("MemTotal:       8000 kB\n", None),
        ("MemTotal:       0 kB\nMemAvailable:   0 kB\n", None),
        ("MemTotal:       1 kB\nMemAvailable:   6 kB\n", None),
        ("", None),
    ],
)
def test_memory(text: str, value: float | None) -> None:
    (reading,) = read_sensors(system_load.find(MemoryFiles({"proc/meminfo": text}), PC)).values()
    assert reading.value == value
    assert (reading.status is ReadingStatus.OK) == (value is not None)


def test_modes_are_identified_by_number() -> None:
    files = MemoryFiles(orin_nx())
    assert power_mode.read_modes(files) == {0: "MAXN", 1: "10W", 2: "15W"}
    assert power_mode.read_current_mode(files) == 2
    assert power_mode.read_modes(MemoryFiles({})) == {}
    assert power_mode.read_current_mode(MemoryFiles({})) is None


@pytest.mark.parametrize(
    ("name", "watts"),
    [
        ("15W", 15),
        ("MODE_30W_ALL", 30),
        ("MODE_10W_DESKTOP", 10),
        ("25w", 25),
        ("MAXN", None),
        ("MAXN_SUPER", None),
        ("", None),
        ("8CORE", None),
    ],
)
def test_mode_name_may_contain_watts(name: str, watts: float | None) -> None:
    assert power_mode.parse_watts(name) == watts


def test_processor_temperatures_without_a_zone() -> None:
    chip = "sys/class/hwmon/hwmon2"
    files: Files = {f"{chip}/name": "k10temp\n"}
    for number, label in ((1, "Tctl"), (3, "Tccd1")):
        files[f"{chip}/temp{number}_label"] = f"{label}\n"
        files[f"{chip}/temp{number}_input"] = "61250\n"
    files |= {"sys/class/hwmon/hwmon1/name": "nvme\n", "sys/class/hwmon/hwmon1/temp1_input": "1"}
    (reading,) = read_sensors(hwmon_temperature.find(MemoryFiles(files), PC)).values()
    assert (reading.name, reading.value, reading.role) == ("temp/k10temp/Tctl", 61.25, Role.CONTROL)
    assert (reading.throttle, reading.critical) == (None, None)


def test_a_package_has_its_own_limits() -> None:
    chip = "sys/class/hwmon/hwmon2"
    files: Files = {f"{chip}/name": "coretemp\n"}
    for number, label in ((1, "Package id 0"), (2, "Core 0")):
        files[f"{chip}/temp{number}_label"] = f"{label}\n"
        files[f"{chip}/temp{number}_input"] = "50000\n"
        files[f"{chip}/temp{number}_max"] = "80000\n"
        files[f"{chip}/temp{number}_crit"] = "100000\n"
    (reading,) = read_sensors(hwmon_temperature.find(MemoryFiles(files), PC)).values()
    assert reading.name == "temp/coretemp/Package id 0"
    assert (reading.role, reading.throttle, reading.critical) == (Role.CONTROL, 80, 100)
