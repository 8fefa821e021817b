"""Thermal zones: valid values and the control temperature."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge_inference.core.platform_state import PlatformState
from edge_inference.core.reading import Reading, ReadingStatus, Role
from edge_inference.platforms.board_files import Board, find_board, load_boards
from edge_inference.platforms.sensors.kernel import thermal_zones
from edge_inference.platforms.sensors.sensor import Sensor
from machine_files import ZONE, ManualClock, MemoryFiles, orin_nx, read_sensors, zones

BOARDS = load_boards([Path(__file__).parents[2] / "config" / "platforms"])
ORIN = find_board("jetson_orin", BOARDS)
NANO = find_board("jetson_nano", BOARDS)


class OneZone:
    """A machine with one zone, ``tj-thermal``, that is sampled repeatedly."""

    def __init__(self, temperature: str | int = "45000\n", board: Board = ORIN) -> None:
        self.files = MemoryFiles(zones(tj_thermal=temperature))
        self.clock = ManualClock()
        self.sensor: Sensor = thermal_zones.find(self.files, board, self.clock)[0]

    def says(self, temperature: str | int, after_s: float = 0.5) -> Reading:
        self.files.contents[f"{ZONE.format(0)}/temp"] = temperature
        self.clock.forward(after_s)
        return self.sensor.read()[0]


def test_a_machine_without_zones_has_no_sensors() -> None:
    assert thermal_zones.find(MemoryFiles({}), ORIN) == []


def test_a_zone_has_its_type_as_name_and_its_own_trip_points() -> None:
    readings = read_sensors(thermal_zones.find(MemoryFiles(orin_nx()), ORIN))
    tj = readings["zone/tj-thermal"]
    assert (tj.value, tj.throttle, tj.critical) == (48.5, 99.0, 104.5)
    assert tj.source == f"{ZONE.format(8)}/temp"
    assert readings["zone/cpu-thermal"].throttle is None


def test_tj_is_the_only_control_temperature_of_an_orin() -> None:
    readings = read_sensors(thermal_zones.find(MemoryFiles(orin_nx()), ORIN))
    assert [name for name, each in readings.items() if each.role is Role.CONTROL] == [
        "zone/tj-thermal"
    ]


@pytest.mark.parametrize("off", [errno.EAGAIN, errno.ENODATA, "-256000\n"])
def test_zone_of_a_powered_off_unit_is_gated(off: str | int) -> None:
    reading = OneZone().says(off)
    assert (reading.value, reading.status) == (None, ReadingStatus.GATED)
    assert "off" in reading.problem


def test_gated_zones_leave_tj_valid() -> None:
    readings = read_sensors(thermal_zones.find(MemoryFiles(orin_nx()), ORIN))
    assert readings["zone/cv0-thermal"].status is ReadingStatus.GATED
    assert readings["zone/tj-thermal"].status is ReadingStatus.OK


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "empty"),
        ("\n", "empty"),
        ("warm\n", "expected a number, got 'warm'"),
        ("45000 46000\n", "expected a number"),
        ("45_000\n", "expected a number"),
        ("4.5e4\n", "expected a number"),
        ("nan\n", "expected a number"),
        ("9" * 400, "expected a number, got '999"),
        ("9" * 5000, "expected a number, got '999"),
        ("\x00\x01\x02\udcff", "expected a number"),
        ("-40001\n", "expected -40 to 130"),
        ("130001\n", "expected -40 to 130"),
        ("2147483647\n", "expected -40 to 130"),
        (errno.EIO, "EIO"),
        (errno.ETIMEDOUT, "ETIMEDOUT"),
        (errno.EACCES, "may not read it"),
    ],
)
def test_invalid_temperature_gives_the_reason(content: str | int, words: str) -> None:
    reading = OneZone().says(content)
    assert (reading.value, reading.status) == (None, ReadingStatus.INVALID)
    assert words in reading.problem


@pytest.mark.parametrize("gone", [errno.ENOENT, errno.ENODEV, errno.ENXIO])
def test_removed_zone_is_absent(gone: int) -> None:
    assert OneZone().says(gone).status is ReadingStatus.ABSENT


@pytest.mark.parametrize("content", ["-40000\n", "130000\n", "45000", " 45000\n", "-1001\n"])
def test_whole_range_is_valid(content: str) -> None:
    assert OneZone().says(content).value == int(content) / 1000


@given(st.binary(max_size=40))
def test_random_contents_give_valid_temperatures_only(content: bytes) -> None:
    zone = OneZone()
    reading = zone.says(content.decode("utf-8", "surrogateescape"))
    assert reading.value is None or -40 <= reading.value <= 130
    assert bool(reading.problem) == (reading.value is None)


# Defects of other programs: an offline sensor that counts as 0 or as -256 degrees.


def test_zero_at_the_start_is_invalid() -> None:
    zone = OneZone()
    assert [zone.says("0\n").status for _ in range(5)] == [ReadingStatus.INVALID] * 5


def test_whole_degrees_are_rejected() -> None:
    zone = OneZone()
    said = [zone.says(each) for each in ("88\n", "90\n", "-1000\n", "1000\n")]
    assert [each.status for each in said] == [ReadingStatus.INVALID] * 4
    assert (
        "got 88, which has always been within ±1000, and no other sensor confirms it"
        in said[0].problem
    )


@pytest.mark.parametrize(("other", "is_believed"), [(2000, True), (-9000, True), (15000, False)])
def test_value_near_zero_is_confirmed_by_a_cold_zone(other: int, is_believed: bool) -> None:
    files = MemoryFiles(zones(cpu_thermal=f"{other}\n", tj_thermal="-500\n"))
    readings = read_sensors(thermal_zones.find(files, ORIN))
    assert readings["zone/tj-thermal"].value == (-0.5 if is_believed else None)


def test_old_value_of_another_zone_confirms_nothing() -> None:
    files, clock = MemoryFiles(zones(cpu_thermal="2000\n", tj_thermal="88\n")), ManualClock()
    other, zone = thermal_zones.find(files, ORIN, clock)
    other.read()
    clock.forward(11)
    assert zone.read()[0].status is ReadingStatus.INVALID


def bind(contents: dict, zone: int, *devices: tuple[str, str]) -> dict:
    """Bind cooling devices, each by its type, to a trip point of a zone."""
    for number, (kind, trip) in enumerate(devices):
        contents[f"{ZONE.format(zone)}/cdev{number}/type"] = f"{kind}\n"
        contents[f"{ZONE.format(zone)}/cdev{number}_trip_point"] = trip
    return contents


def orin_with_a_notice(*devices: tuple[str, str]) -> Reading:
    """Read the tj of an Orin that also has a passive trip at 70 °C, number 2."""
    contents = orin_nx()
    contents[f"{ZONE.format(8)}/trip_point_2_type"] = "passive\n"
    contents[f"{ZONE.format(8)}/trip_point_2_temp"] = "70000\n"
    files = MemoryFiles(bind(contents, 8, *devices))
    return read_sensors(thermal_zones.find(files, ORIN))["zone/tj-thermal"]


@pytest.mark.parametrize(
    ("devices", "throttle"),
    [
        ([("hot-surface-alert", "2\n"), ("cpufreq-cpu0", "0\n")], 99.0),
        ([("pwm-fan", "2\n"), ("devfreq-17000000.gpu", "0\n")], 99.0),
        ([("hot-surface-alert", "2\n"), ("cpufreq-cpu0", "2\n")], 70.0),
        ([("hot-surface-alert", "2\n")], None),
        ([("hot-surface-alert", "2\n"), ("cpu-throttle-alert", "-1\n")], 70.0),
        ([("hot-surface-alert", "0\n"), ("", "2\n")], 70.0),
        ([], 70.0),
    ],
)
def test_passive_trip_counts_if_bound_to_a_throttling_device(
    devices: list[tuple[str, str]], throttle: float | None
) -> None:
    reading = orin_with_a_notice(*devices)
    assert (reading.throttle, reading.critical) == (throttle, 104.5)


def test_zero_after_a_temperature_stays_invalid() -> None:
    zone = OneZone()
    zone.says("25000\n")
    assert [zone.says("0\n").status for _ in range(5)] == [ReadingStatus.INVALID] * 5
    assert zone.says("25500\n").value == 25.5


def test_zero_near_zero_is_valid() -> None:
    zone = OneZone()
    assert [zone.says(each).value for each in ("1500\n", "0\n", "-500\n", "0\n")] == [
        1.5,
        0.0,
        -0.5,
        0.0,
    ]


def test_zero_after_a_low_temperature_is_invalid() -> None:
    zone = OneZone()
    zone.says("-20000\n")
    assert [zone.says("0\n").status for _ in range(3)] == [ReadingStatus.INVALID] * 3


def test_jump_must_be_confirmed() -> None:
    zone = OneZone()
    assert zone.says("45000\n").value == 45
    leap = zone.says("85000\n")
    assert leap.status is ReadingStatus.INVALID
    assert "jumped from 45 to 85" in leap.problem
    assert zone.says("86000\n").value == 86


@pytest.mark.parametrize("between", ["0\n", "140000\n", "?", errno.EAGAIN, errno.EIO])
def test_only_the_next_sample_confirms_a_jump(between: str | int) -> None:
    zone = OneZone()
    zone.says("45000\n")
    zone.says("85000\n")
    zone.says(between)
    assert zone.says("85000\n").status is ReadingStatus.INVALID
    assert zone.says("85000\n").value == 85


def test_single_outlier_is_dropped() -> None:
    zone = OneZone()
    values = [zone.says(each).value for each in ("45000\n", "127000\n", "46000\n", "47000\n")]
    assert values == [45, None, 46, 47]


def test_alternating_jumps_stay_invalid() -> None:
    zone = OneZone()
    zone.says("45000\n")
    for _ in range(3):
        assert zone.says("120000\n").value is None
        assert zone.says("-10000\n").value is None


def test_fast_rise_in_steps_is_valid() -> None:
    zone = OneZone()
    assert [zone.says(f"{each}000\n").value for each in (45, 70, 95)] == [45, 70, 95]


@given(st.lists(st.integers(-45, 135), max_size=40))
@example([-6, 25, 0, 31])
def test_valid_value_is_near_the_last_or_confirmed(degrees: list[int]) -> None:
    zone = OneZone()
    believed: float | None = None
    for before, said in zip([None, *degrees], degrees, strict=False):
        value = zone.says(f"{said}000\n").value
        if value is None:
            continue
        assert value == said
        near = [each for each in (believed, before) if each is not None]
        assert believed is None or min(abs(value - each) for each in near) <= 30
        believed = value


def test_any_change_is_valid_after_a_long_pause() -> None:
    zone = OneZone()
    zone.says("45000\n")
    assert zone.says("90000\n", after_s=60).value == 90


def test_gated_zone_is_read_again_when_powered() -> None:
    zone = OneZone(errno.EAGAIN)
    assert zone.says(errno.EAGAIN).status is ReadingStatus.GATED
    assert zone.says("40000\n").value == 40


def test_pmic_die_is_a_placeholder() -> None:
    files = MemoryFiles(zones(CPU_therm="50000\n", GPU_therm="48000\n", PMIC_Die="100000\n"))
    readings = read_sensors(thermal_zones.find(files, NANO))
    pmic = readings["zone/PMIC-Die"]
    assert (pmic.value, pmic.status, pmic.role) == (None, ReadingStatus.INVALID, Role.NONE)
    assert "measures nothing" in pmic.problem
    state = PlatformState("jetson_nano", tuple(readings.values()), 0)
    assert state.hottest is not None
    assert state.hottest.name == "zone/CPU-therm"


@pytest.mark.parametrize("order", [("tj_thermal", "cpu_thermal"), ("cpu_thermal", "tj_thermal")])
def test_zone_order_does_not_select_the_control_temperature(order: tuple[str, str]) -> None:
    temperatures = {"tj_thermal": "80000\n", "cpu_thermal": "30000\n"}
    files = MemoryFiles(zones(**{name: temperatures[name] for name in order}))
    readings = read_sensors(thermal_zones.find(files, ORIN))
    state = PlatformState("jetson_orin", tuple(readings.values()), 0)
    assert state.hottest is not None
    assert state.hottest.value == 80
    assert readings["zone/cpu-thermal"].value == 30


def test_zones_are_identified_by_type() -> None:
    before = read_sensors(
        thermal_zones.find(MemoryFiles(zones(tj_thermal="10000", a="20000")), ORIN)
    )
    after = read_sensors(
        thermal_zones.find(MemoryFiles(zones(a="20000", tj_thermal="10000")), ORIN)
    )
    assert {name: each.value for name, each in before.items()} == {
        name: each.value for name, each in after.items()
    }


def test_zones_of_equal_type_get_unique_names() -> None:
    contents = zones(a="30000\n", b="40000\n", c="50000\n")
    for number in range(3):
        contents[f"{ZONE.format(number)}/type"] = "acpitz\n"
    readings = read_sensors(thermal_zones.find(MemoryFiles(contents), ORIN))
    assert {name: each.value for name, each in readings.items()} == {
        "zone/acpitz": 30,
        "zone/acpitz#2": 40,
        "zone/acpitz#3": 50,
    }


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("", "zone/thermal_zone0"),
        (errno.EIO, "zone/thermal_zone0"),
        ("TCPU PCI\n", "zone/TCPU PCI"),
        ("a\x07b\udcff\n", "zone/a?b\N{REPLACEMENT CHARACTER}"),
        ("x" * 9999, "zone/" + "x" * 80),
    ],
)
def test_unprintable_type_gives_a_printable_name(kind: str | int, name: str) -> None:
    contents = {**zones(a="30000\n"), f"{ZONE.format(0)}/type": kind}
    assert [sensor.name for sensor in thermal_zones.find(MemoryFiles(contents), ORIN)] == [name]


def test_the_tenth_zone_comes_after_the_second() -> None:
    contents = zones(**{f"z{number}": "30000\n" for number in range(12)})
    names = [sensor.name for sensor in thermal_zones.find(MemoryFiles(contents), ORIN)]
    assert names == [f"zone/z{number}" for number in range(12)]


@pytest.mark.parametrize(
    ("trips", "throttle", "critical"),
    [
        ([], None, None),
        ([("passive", "0"), ("critical", "-256000")], None, None),
        ([("passive", "2147483647")], None, None),
        ([("active", "50000"), ("passive", "97000"), ("passive", "90000")], 90.0, None),
        ([("critical", "110000"), ("hot", "105000"), ("critical", "104500")], None, 104.5),
        ([("passive", "ninety"), ("passive", "99000")], 99.0, None),
        ([("passive", errno.EIO)], None, None),
    ],
)
def test_trip_points(
    trips: list[tuple[str, str | int]], throttle: float | None, critical: float | None
) -> None:
    contents = zones(tj_thermal="45000\n")
    for number, (kind, temperature) in enumerate(trips):
        contents[f"{ZONE.format(0)}/trip_point_{number}_type"] = kind
        contents[f"{ZONE.format(0)}/trip_point_{number}_temp"] = temperature
    reading = read_sensors(thermal_zones.find(MemoryFiles(contents), ORIN))["zone/tj-thermal"]
    assert (reading.throttle, reading.critical) == (throttle, critical)


def test_sampling_reads_only_temperature_files() -> None:
    files = MemoryFiles(orin_nx())
    sensors = thermal_zones.find(files, ORIN)
    assert not [path for path in files.reads if path.endswith("/temp")]
    files.reads.clear()
    read_sensors(sensors)
    assert files.reads == [f"{ZONE.format(number)}/temp" for number in range(9)]
