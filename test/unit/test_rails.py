"""Power rails: chips, channels and units."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import pytest

from edge_inference.core.reading import Quantity, Reading, ReadingStatus, Role
from edge_inference.platforms.board_files import find_board, load_boards
from edge_inference.platforms.sensors.kernel import hwmon_power, iio_power
from edge_inference.platforms.sensors.rails_sum import sum_rails
from machine_files import INA3221, Files, MemoryFiles, ina3221, orin_nx, read_sensors

BOARDS = load_boards([Path(__file__).parents[2] / "config" / "platforms"])
ORIN = find_board("jetson_orin", BOARDS)
NANO = find_board("jetson_nano", BOARDS)
XAVIER = find_board("jetson_xavier", BOARDS)
THOR = find_board("jetson_thor", BOARDS)
CHIP = INA3221.format(3)
IIO = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
INA238 = "sys/bus/i2c/drivers/ina238/2-0044/hwmon/hwmon5"
AGX_ORIN = ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0")


def nano_iio(device: str = IIO) -> Files:
    files: Files = {}
    rails = (("POM_5V_IN", 5000, 600, 3000), ("POM_5V_GPU", 5000, 8, 40), ("NC", 0, 0, 0))
    for line, (label, millivolts, milliamperes, milliwatts) in enumerate(rails):
        files[f"{device}/rail_name_{line}"] = f"{label}\n"
        files[f"{device}/in_voltage{line}_input"] = f"{millivolts}\n"
        files[f"{device}/in_current{line}_input"] = f"{milliamperes}\n"
        files[f"{device}/in_power{line}_input"] = f"{milliwatts}\n"
    return files


def ina238() -> Files:
    return {
        f"{INA238}/name": "ina238\n",
        f"{INA238}/in0_input": "3\n",
        f"{INA238}/in1_input": "19000\n",
        f"{INA238}/curr1_input": "2000\n",
        f"{INA238}/power1_input": "38000000\n",
        f"{INA238}/temp1_input": "40000\n",
    }


def hwmon(files: Files) -> dict[str, Reading]:
    return read_sensors(hwmon_power.find(MemoryFiles(files), ORIN))


def test_a_machine_without_chips_has_no_rails() -> None:
    assert hwmon({}) == {}
    assert iio_power.find(MemoryFiles({}), NANO) == []


def test_an_ina3221_gives_watts_volts_and_amperes() -> None:
    readings = hwmon(ina3221())
    # Line 2: 10000 mV and 1000 mA.
    assert {name: (each.value, each.quantity.unit) for name, each in readings.items()} == {
        "rail/VDD_IN": (2.5, "W"),
        "rail/VDD_IN/voltage": (5.0, "V"),
        "rail/VDD_IN/current": (0.5, "A"),
        "rail/VDD_CPU_GPU_CV": (10.0, "W"),
        "rail/VDD_CPU_GPU_CV/voltage": (10.0, "V"),
        "rail/VDD_CPU_GPU_CV/current": (1.0, "A"),
        "rail/VDD_SOC": (22.5, "W"),
        "rail/VDD_SOC/voltage": (15.0, "V"),
        "rail/VDD_SOC/current": (1.5, "A"),
    }


def test_a_rail_is_a_device() -> None:
    devices = {each.device for each in hwmon(ina3221()).values()}
    assert devices == {"rail/VDD_IN", "rail/VDD_CPU_GPU_CV", "rail/VDD_SOC"}


def test_the_input_rail_is_the_total_and_no_other() -> None:
    roles = {name: each.role for name, each in hwmon(ina3221()).items()}
    assert [name for name, role in roles.items() if role is not Role.NONE] == ["rail/VDD_IN"]
    assert roles["rail/VDD_IN"] is Role.TOTAL_POWER


def test_shunt_voltages_and_sums_are_not_read() -> None:
    files = MemoryFiles(ina3221())
    read_sensors(hwmon_power.find(files, ORIN))
    for file in ("in4_input", "in5_input", "in6_input", "in7_input", "in7_label", "curr4_input"):
        assert f"{CHIP}/{file}" not in files.reads


@pytest.mark.parametrize("label", ["NC", "nc", "N/C", "", " \n"])
def test_unconnected_input_is_skipped(label: str) -> None:
    assert "rail/VDD_SOC" in hwmon(ina3221(labels=(label, "VDD_CPU", "VDD_SOC")))
    assert len(hwmon(ina3221(labels=(label, "VDD_CPU", "VDD_SOC")))) == 6


def test_equal_labels_of_two_chips_get_unique_names() -> None:
    files = ina3221(labels=("VDD", "NC", "NC"))
    files |= {path.replace("1-0040", "1-0041"): text for path, text in files.items()}
    assert {"rail/VDD", "rail/VDD#2"} <= set(hwmon(files))


@pytest.mark.parametrize("number", [0, 3, 12])
def test_hwmon_number_does_not_matter(number: int) -> None:
    assert hwmon(ina3221(number))["rail/VDD_IN"].value == 2.5


def test_chip_is_found_by_name_without_the_bus() -> None:
    files = {path.replace(CHIP, "sys/class/hwmon/hwmon7"): t for path, t in ina3221().items()}
    files["sys/class/hwmon/hwmon2/name"] = "nvme\n"
    files["sys/class/hwmon/hwmon2/in1_label"] = "NVME\n"
    readings = hwmon(files)
    assert readings["rail/VDD_IN"].value == 2.5
    assert "rail/NVME" not in readings


def test_chip_that_is_listed_twice_is_read_once() -> None:
    files = ina3221()
    files |= {path.replace(CHIP, "sys/class/hwmon/hwmon3"): t for path, t in ina3221().items()}
    assert len(hwmon(files)) == 9


@pytest.mark.parametrize(
    ("file", "content", "status"),
    [
        ("curr1_input", "-16\n", ReadingStatus.INVALID),
        ("in1_input", "-8\n", ReadingStatus.INVALID),
        ("curr1_input", "much\n", ReadingStatus.INVALID),
        ("in1_input", "", ReadingStatus.INVALID),
        ("curr1_input", errno.EAGAIN, ReadingStatus.GATED),
        ("in1_input", errno.ENODATA, ReadingStatus.GATED),
        ("in1_input", errno.ENODEV, ReadingStatus.ABSENT),
    ],
)
def test_rail_power_needs_voltage_and_current(
    file: str, content: str | int, status: ReadingStatus
) -> None:
    readings = hwmon({**ina3221(), f"{CHIP}/{file}": content})
    power = readings["rail/VDD_IN"]
    assert (power.value, power.status) == (None, status)
    assert power.problem
    assert readings["rail/VDD_SOC"].value == 22.5


def test_negative_rail_is_invalid() -> None:
    reading = hwmon({**ina3221(), f"{CHIP}/curr1_input": "-16\n"})["rail/VDD_IN"]
    assert reading.problem == "expected at least 0, got -0.016 A"


@pytest.mark.parametrize(("file", "what"), [("in1", "voltage"), ("curr1", "current")])
def test_neither_voltage_nor_current_is_negative(file: str, what: str) -> None:
    readings = hwmon({**ina3221(), f"{CHIP}/{file}_input": "-8\n"})
    assert readings[f"rail/VDD_IN/{what}"].status is ReadingStatus.INVALID


def test_jetpack_4_driver_reports_milliwatts() -> None:
    readings = read_sensors(iio_power.find(MemoryFiles(nano_iio()), NANO))
    assert {name: (each.value, each.quantity.unit) for name, each in readings.items()} == {
        "rail/POM_5V_IN": (3.0, "W"),
        "rail/POM_5V_IN/voltage": (5.0, "V"),
        "rail/POM_5V_IN/current": (0.6, "A"),
        "rail/POM_5V_GPU": (0.04, "W"),
        "rail/POM_5V_GPU/voltage": (5.0, "V"),
        "rail/POM_5V_GPU/current": (0.008, "A"),
    }
    assert readings["rail/POM_5V_IN"].role is Role.TOTAL_POWER


def test_negative_value_of_the_jetpack_4_driver() -> None:
    files = {**nano_iio(), f"{IIO}/in_power1_input": "-40\n"}
    readings = read_sensors(iio_power.find(MemoryFiles(files), NANO))
    assert readings["rail/POM_5V_GPU"].status is ReadingStatus.INVALID
    assert readings["rail/POM_5V_IN"].status is ReadingStatus.OK


@pytest.mark.parametrize("file", ["in1_label", "label", None])
def test_an_ina238_gives_microwatts(file: str | None) -> None:
    label = {f"{INA238}/{file}": "VIN\n"} if file else {}
    name = "rail/VIN" if file else "rail/ina238"
    readings = read_sensors(hwmon_power.find(MemoryFiles({**ina238(), **label}), THOR))
    assert [(each.name, each.value) for each in readings.values()] == [
        (name, 38.0),
        (f"{name}/voltage", 19.0),
        (f"{name}/current", 2.0),
    ]
    assert readings[name].role is Role.TOTAL_POWER


def powers(labels: tuple[str, ...]) -> list[Reading]:
    return list(hwmon(ina3221(labels=labels)).values())


def test_agx_orin_has_a_sum_and_never_a_total() -> None:
    readings = powers(AGX_ORIN)
    total = sum_rails(readings, ORIN)
    assert total is not None
    assert (total.name, total.value, total.role) == ("power/rails_sum", 35.0, Role.RAILS_SUM)
    assert (total.quantity, total.status) == (Quantity.POWER, ReadingStatus.OK)
    assert Role.TOTAL_POWER not in {each.role for each in (*readings, total)}


def test_no_sum_if_the_input_is_measured() -> None:
    assert sum_rails(powers(("VDD_IN", "VDD_GPU_SOC", "VDD_CPU_CV")), ORIN) is None


def test_the_sum_of_no_rails_is_none() -> None:
    assert sum_rails([], ORIN) is None
    assert sum_rails(powers(("A", "B", "C")), ORIN) is None


def test_agx_xavier_sums_all_six() -> None:
    files = ina3221(labels=("GPU", "CPU", "SOC"))
    second = ina3221(labels=("CV", "VDDRQ", "SYS5V"))
    files |= {path.replace("1-0040", "1-0041"): text for path, text in second.items()}
    total = sum_rails(list(hwmon(files).values()), XAVIER)
    assert total is not None
    assert total.value == 70.0


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (ReadingStatus.STALE, ReadingStatus.STALE),
        (ReadingStatus.INVALID, ReadingStatus.INVALID),
        (ReadingStatus.ABSENT, ReadingStatus.INVALID),
        (ReadingStatus.GATED, ReadingStatus.INVALID),
    ],
)
def test_sum_is_unknown_if_one_rail_is(status: ReadingStatus, expected: ReadingStatus) -> None:
    readings = [
        replace(each, value=None, status=status, problem="lost")
        if each.name == "rail/VDD_CPU_CV"
        else each
        for each in powers(AGX_ORIN)
    ]
    total = sum_rails(readings, ORIN)
    assert total is not None
    assert (total.value, total.status) == (None, expected)
    assert total.problem == "rail/VDD_CPU_CV has no value: lost"


def test_all_rails_of_an_orin_nx() -> None:
    assert len(hwmon(orin_nx())) == 9
