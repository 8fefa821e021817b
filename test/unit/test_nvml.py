"""NVML with a double for the library: quantities, missing ones, and failures."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from edge_inference.core.reading import Quantity, Reading, ReadingStatus, Role
from edge_inference.platforms.sensors import nvml as nvml_probe

CONSTANTS = {
    "NVML_ERROR_UNINITIALIZED": 1,
    "NVML_ERROR_NOT_SUPPORTED": 3,
    "NVML_ERROR_NO_PERMISSION": 4,
    "NVML_ERROR_NOT_FOUND": 6,
    "NVML_ERROR_DRIVER_NOT_LOADED": 9,
    "NVML_ERROR_FUNCTION_NOT_FOUND": 13,
    "NVML_ERROR_GPU_IS_LOST": 15,
    "NVML_TEMPERATURE_GPU": 0,
    "NVML_TEMPERATURE_THRESHOLD_SHUTDOWN": 0,
    "NVML_TEMPERATURE_THRESHOLD_SLOWDOWN": 1,
    "NVML_TEMPERATURE_THRESHOLD_GPU_MAX": 3,
    "NVML_CLOCK_GRAPHICS": 0,
    "NVML_CLOCK_MEM": 2,
    "nvmlClocksThrottleReasonSwPowerCap": 4,
    "nvmlClocksThrottleReasonHwSlowdown": 8,
    "nvmlClocksThrottleReasonSwThermalSlowdown": 32,
    "nvmlClocksThrottleReasonHwThermalSlowdown": 64,
    "nvmlClocksThrottleReasonHwPowerBrakeSlowdown": 128,
}
FUNCTIONS = {
    "nvmlInit": "nvmlInit",
    "nvmlShutdown": "nvmlShutdown",
    "count": "nvmlDeviceGetCount",
    "handle": "nvmlDeviceGetHandleByIndex",
    "place": "nvmlDeviceGetPciInfo",
    "temperature": "nvmlDeviceGetTemperature",
    "threshold": "nvmlDeviceGetTemperatureThreshold",
    "power": "nvmlDeviceGetPowerUsage",
    "utilisation": "nvmlDeviceGetUtilizationRates",
    "memory": "nvmlDeviceGetMemoryInfo",
    "clock": "nvmlDeviceGetClockInfo",
    "reasons": "nvmlDeviceGetCurrentClocksThrottleReasons",
}


class NVMLError(Exception):
    """The error of the library: a number and its text."""

    def __init__(self, value: int) -> None:
        super().__init__(f"error {value}")
        self.value = value


class Library:
    """The module ``pynvml`` with fake GPUs."""

    NVMLError = NVMLError

    def __init__(self, gpus: int = 1) -> None:
        self.gpus = gpus
        self.initialized = 0
        self.errors: dict[str, int] = {}
        self.temperature: Any = 61
        self.thresholds = {3: 88, 1: 93, 0: 98}
        self.milliwatts = 215300
        self.rates = SimpleNamespace(gpu=97, memory=40)
        self.memory = SimpleNamespace(used=2 * 2**30, total=8 * 2**30)
        self.reasons = 0
        for name, value in CONSTANTS.items():
            setattr(self, name, value)
        answers: dict[str, Callable[..., Any]] = {
            "count": lambda: self.gpus,
            "handle": lambda index: index,
            "place": lambda handle: SimpleNamespace(busId=f"0000000{handle}:01:00.0".encode()),
            "temperature": lambda handle, sensor: self.temperature,
            "threshold": lambda handle, kind: self.thresholds[kind],
            "power": lambda handle: self.milliwatts,
            "utilisation": lambda handle: self.rates,
            "memory": lambda handle: self.memory,
            "clock": lambda handle, kind: {0: 1980, 2: 10501}[kind],
            "reasons": lambda handle: self.reasons,
            "nvmlInit": lambda: self._count(+1),
            "nvmlShutdown": lambda: self._count(-1),
        }
        for short, name in FUNCTIONS.items():
            setattr(self, name, self._failing(short, answers[short]))

    def _count(self, step: int) -> None:
        self.initialized += step

    def _failing(self, short: str, answer: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            if short in self.errors:
                raise NVMLError(self.errors[short])
            return answer(*arguments)

        return call


@pytest.fixture
def library() -> Library:
    return Library()


def readings(library: Library) -> dict[str, Reading]:
    (sensor,) = nvml_probe.find(library, clock=lambda: 7)
    found = sensor.read()
    assert [reading.name for reading in found] == list(sensor.names)
    assert sensor.name == found[0].name
    return {reading.name.rpartition("/")[2]: reading for reading in found}


def test_all_quantities_of_a_gpu(library: Library) -> None:
    found = readings(library)
    assert {name: (each.quantity, each.value) for name, each in found.items()} == {
        "temperature": (Quantity.TEMPERATURE, 61),
        "power": (Quantity.POWER, 215.3),
        "load": (Quantity.SHARE, 0.97),
        "memory_load": (Quantity.SHARE, 0.40),
        "memory_used": (Quantity.SHARE, 0.25),
        "clock": (Quantity.FREQUENCY, pytest.approx(1.98e9)),
        "memory_clock": (Quantity.FREQUENCY, pytest.approx(10.501e9)),
        "throttling": (Quantity.STATE, 0),
        "power_cap": (Quantity.STATE, 0),
    }
    assert {each.status for each in found.values()} == {ReadingStatus.OK}
    assert {each.stamp_ns for each in found.values()} == {7}
    assert {each.device for each in found.values()} == {"nvml/0000:01:00.0"}
    temperature = found["temperature"]
    assert temperature.name == "nvml/0000:01:00.0/temperature"
    assert (temperature.role, temperature.throttle, temperature.critical) == (Role.CONTROL, 88, 98)
    assert found["power"].role is Role.NONE  # of one GPU in the machine


@pytest.mark.parametrize(
    ("thresholds", "throttle", "critical"),
    [
        ({3: 0, 1: 93, 0: 98}, 93, 98),
        ({3: 95, 1: 93, 0: 0}, 93, None),
        ({3: 4294967295, 1: 0, 0: 0}, None, None),
    ],
)
def test_impossible_limits_are_none(
    thresholds: dict[int, int], throttle: float | None, critical: float | None, library: Library
) -> None:
    library.thresholds = thresholds
    found = readings(library)["temperature"]
    assert (found.throttle, found.critical) == (throttle, critical)


@pytest.mark.parametrize(
    ("reasons", "throttling", "power_cap"),
    [
        (0, 0, 0),
        (1, 0, 0),
        (2, 0, 0),
        (4, 0, 1),
        (8, 1, 0),
        (32, 1, 0),
        (64, 1, 0),
        (128, 1, 0),
        (4 + 64, 1, 1),
        (16 + 256, 0, 0),
    ],
)
def test_only_thermal_and_brake_reasons_are_throttling(
    reasons: int, throttling: int, power_cap: int, library: Library
) -> None:
    library.reasons = reasons
    found = readings(library)
    assert found["throttling"].value == throttling
    assert found["throttling"].role is Role.THROTTLE
    assert found["power_cap"].value == power_cap
    assert found["power_cap"].role is Role.NONE


def test_unsupported_quantity_is_left_out(library: Library) -> None:
    library.errors = {"temperature": 3, "power": 3, "clock": 3, "reasons": 13, "place": 3}
    assert list(readings(library)) == ["load", "memory_load", "memory_used"]
    (sensor,) = nvml_probe.find(library)
    assert sensor.name == "nvml/0/load"


def test_gpu_without_quantities_has_no_sensor(library: Library) -> None:
    quantities = ["temperature", "power", "utilisation", "memory", "clock", "reasons"]
    library.errors = dict.fromkeys(quantities, 3)
    notes: list[str] = []
    assert nvml_probe.find(library, on_problem=notes.append) == []
    assert notes == ["NVML measures nothing on GPU 0"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ("NVML_ERROR_NOT_SUPPORTED", ReadingStatus.INVALID),
        ("NVML_ERROR_NO_PERMISSION", ReadingStatus.INVALID),
        ("NVML_ERROR_GPU_IS_LOST", ReadingStatus.ABSENT),
        ("NVML_ERROR_UNINITIALIZED", ReadingStatus.ABSENT),
        ("NVML_ERROR_DRIVER_NOT_LOADED", ReadingStatus.ABSENT),
    ],
)
def test_later_failure_is_a_status(error: str, status: ReadingStatus, library: Library) -> None:
    (sensor,) = nvml_probe.find(library)
    library.errors = {"power": CONSTANTS[error]}
    found = {reading.name: reading for reading in sensor.read()}
    power = found["nvml/0000:01:00.0/power"]
    assert (power.status, power.value) == (status, None)
    assert f"error {CONSTANTS[error]}" in power.problem
    assert found["nvml/0000:01:00.0/load"].status is ReadingStatus.OK


def test_missing_permission_is_reported_at_the_first_read(library: Library) -> None:
    library.errors = {"power": CONSTANTS["NVML_ERROR_NO_PERMISSION"]}
    assert readings(library)["power"].status is ReadingStatus.INVALID


@pytest.mark.parametrize("temperature", [-41, 131, 255, 4294967295])
def test_impossible_temperatures(temperature: int, library: Library) -> None:
    library.temperature = temperature
    found = readings(library)["temperature"]
    assert (found.status, found.value) == (ReadingStatus.INVALID, None)
    assert found.problem


def test_impossible_values(library: Library) -> None:
    library.milliwatts = 4294967295
    library.rates = SimpleNamespace(gpu=4294967295, memory=101)
    library.memory = SimpleNamespace(used=0, total=0)
    found = readings(library)
    assert [found[name].status for name in ("power", "load", "memory_load", "memory_used")] == [
        ReadingStatus.INVALID
    ] * 4


def test_gpus_and_one_that_cannot_be_opened() -> None:
    library = Library(gpus=3)
    opened = library.nvmlDeviceGetHandleByIndex  # type: ignore[attr-defined]

    def open_gpu(index: int) -> int:
        if index == 1:
            raise NVMLError(15)
        return int(opened(index))

    library.nvmlDeviceGetHandleByIndex = open_gpu  # type: ignore[attr-defined]
    notes: list[str] = []
    sensors = nvml_probe.find(library, on_problem=notes.append)
    names = [sensor.name for sensor in sensors]
    assert names == ["nvml/0000:01:00.0/temperature", "nvml/0002:01:00.0/temperature"]
    assert notes == ["NVML cannot open GPU 1: error 15"]


@pytest.mark.parametrize("step", ["nvmlInit", "count"])
def test_missing_driver_is_reported(step: str, library: Library) -> None:
    library.errors = {step: 9}
    notes: list[str] = []
    assert nvml_probe.find(library) == []
    assert nvml_probe.find(library, on_problem=notes.append) == []
    assert len(notes) == 1
    assert "error 9" in notes[0]


def test_library_is_shut_down(library: Library) -> None:
    library.gpus = 2
    sensors = nvml_probe.find(library)
    assert library.initialized == 1
    again = nvml_probe.find(library)
    assert library.initialized == 2
    del sensors
    gc.collect()
    assert library.initialized == 1
    assert again[1].read()[0].value == 61


def test_readings_are_announced_before_the_first_read(library: Library) -> None:
    (sensor,) = nvml_probe.find(library)
    found = sensor.announce(5)
    assert [reading.name for reading in found] == list(sensor.names)
    assert {(reading.status, reading.stamp_ns) for reading in found} == {(ReadingStatus.STALE, 5)}


def test_missing_package_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    notes: list[str] = []
    assert nvml_probe.find(on_problem=notes.append) == []
    assert "nvidia-ml-py" in notes[0]


def test_fallback_matches_the_library() -> None:
    pynvml = pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    assert {name: getattr(pynvml, name) for name in CONSTANTS} == CONSTANTS
    assert [name for name in FUNCTIONS.values() if not callable(getattr(pynvml, name, None))] == []
    assert issubclass(pynvml.NVMLError, Exception)
    assert pynvml.NVMLError(3).value == 3


def test_real_library_finds_gpus_or_reports() -> None:
    pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    notes: list[str] = []
    sensors = nvml_probe.find(on_problem=notes.append)
    assert sensors or notes
