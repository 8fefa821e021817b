"""Sensors that a board file declares: their keys, their readings, and their recordings."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from edge_inference.cli.command_line import run
from edge_inference.core.reading import Quantity, Reading, ReadingStatus, Role
from edge_inference.errors import ConfigError
from edge_inference.governor.failsafe import TemperatureBounds, temperature_bounds
from edge_inference.governor.settings import GovernorSettings
from edge_inference.platforms.attributes import is_decimal
from edge_inference.platforms.board_files import list_board_folders, load_boards
from edge_inference.platforms.platform import Platform, open_platform
from edge_inference.platforms.recording.replay import RecordedFiles
from edge_inference.platforms.recording.scope import make_scope
from machine_files import ManualClock, MemoryFiles
from recording_bench import ManualTime, record_files

FILE = "run/bms/temperature"
SENSOR: dict[str, Any] = {
    "name": "battery_pack/temperature",
    "file": FILE,
    "quantity": "temperature",
    "scale": 0.1,
    "offset": -273.15,
    "role": "control",
    "max_age_s": 5,
    "limit": 55,
}


BATTERY: dict[str, Any] = {"quantity": "power", "role": "battery_power", "limit": None}


def write_board(folder: Path, *sensors: Any, **settings: Any) -> Path:
    """Write the board file of a robot; return its folder."""
    folder.mkdir(exist_ok=True)
    content = {"description": "my robot", "fallback": True, **settings, "sensors": list(sensors)}
    (folder / "my_robot.yaml").write_text(yaml.safe_dump(content))
    return folder


class Robot:
    """A machine whose only sensor is declared, and a manual clock."""

    def __init__(self, folder: Path, content: str | int = "3031.5\n", **changes: Any) -> None:
        keys = {**SENSOR, **changes}
        sensor = {name: value for name, value in keys.items() if value is not None}
        self.file = str(sensor["file"])
        self.files = MemoryFiles({self.file: content})
        self.clock = ManualClock()
        write_board(folder, sensor)
        self.platform: Platform = open_platform([folder], self.files, clock=self.clock)

    def read(self, content: str | int | None = None, after_s: float = 0.5) -> Reading:
        """Write the file, unless ``content`` is None, and read the sensor."""
        if content is not None:
            self.files.write(self.file, content)
        self.clock.forward(after_s)
        state = self.platform.sense(self.clock())
        (reading,) = state.readings
        return reading


def value_of(folder: Path, content: str | int, **changes: Any) -> Reading:
    robot = Robot(folder, content, **changes)
    robot.read()
    reading = robot.read(content)
    robot.platform.close()
    return reading


def test_reading_of_a_declared_sensor(tmp_path: Path) -> None:
    reading = value_of(tmp_path, "3031.5\n", throttle=60, critical=70)
    assert (reading.name, reading.role) == ("battery_pack/temperature", Role.CONTROL)
    assert reading.value == pytest.approx(30.0)
    assert (reading.throttle, reading.critical, reading.limit) == (60, 70, 55)
    assert reading.source == FILE


@pytest.mark.parametrize(
    ("content", "value"),
    [
        ("12", 12),
        ("-12.5\n", -12.5),
        (" +.5 \n", 0.5),
        ("1e1\n", 10),
        ("5.\n", 5),
        ("0\n", 0),
        ("", None),
        ("\n", None),
        ("nan\n", None),
        ("inf\n", None),
        ("1_0\n", None),
        ("0x10\n", None),
        ("1,5\n", None),
        ("12 C\n", None),
        ("12\n13\n", None),
        ("\x00", None),
        ("1e999\n", None),
        ("9" * 400, None),
        (" " * 70_000, None),
        ("131\n", None),
        ("-41\n", None),
        (errno.EACCES, None),
        (errno.ENOENT, None),
    ],
)
def test_content_of_the_file(tmp_path: Path, content: str | int, value: float | None) -> None:
    reading = value_of(tmp_path, content, scale=None, offset=None)
    assert reading.value == value
    assert bool(reading.problem) is (value is None)
    assert reading.role is Role.CONTROL


@given(st.binary(max_size=40))
def test_only_numbers_are_decimal(content: bytes) -> None:
    if is_decimal(content):
        assert abs(float(content)) < 1e200


@pytest.mark.parametrize(
    ("number", "bounds", "is_valid"),
    [
        ("10", {"min_value": 5, "max_value": 20}, True),
        ("4.9", {"min_value": 5}, False),
        ("20.1", {"max_value": 20}, False),
        # The bounds of the board hold all the same.
        ("140", {"max_value": 200, "limit": None}, False),
    ],
)
def test_bounds(tmp_path: Path, number: str, bounds: dict[str, Any], is_valid: bool) -> None:
    reading = value_of(tmp_path, number, scale=None, offset=None, **bounds)
    assert (reading.status is ReadingStatus.OK) is is_valid


def test_declared_readings_of_a_battery_are_one_device(tmp_path: Path) -> None:
    head = {"file": "sys/bms/x", "device": "pack", "min_value": 0}
    sensors = [
        {**head, "name": "pack/power", "quantity": "power", "role": "battery_power"},
        {**head, "name": "pack/energy", "quantity": "energy", "role": "battery_energy"},
    ]
    files = MemoryFiles({"sys/bms/x": "12\n"})
    with open_platform([write_board(tmp_path, *sensors)], files, clock=ManualClock()) as platform:
        (battery,) = platform.sense(0).batteries
    assert battery.name == "pack"
    assert (battery.value(Role.BATTERY_POWER), battery.value(Role.BATTERY_ENERGY)) == (12, 12)


@pytest.mark.parametrize(
    ("quantity", "number"),
    [
        ("share", "90"),
        ("share", "-0.1"),
        ("count", "-1"),
        ("frequency", "-1"),
        ("energy", "-5"),
        ("electric_charge", "-5"),
        ("power", "1e99"),
    ],
)
def test_value_that_its_quantity_cannot_have(tmp_path: Path, quantity: str, number: str) -> None:
    """Such as a percentage where a share is expected: 'scale' is missing."""
    changes = {"quantity": quantity, "role": None, "limit": None, "scale": None, "offset": None}
    reading = value_of(tmp_path, number, **changes)
    assert (reading.status, reading.value) == (ReadingStatus.INVALID, None)
    assert value_of(tmp_path, "0.5", **changes).value == 0.5


def test_value_of_a_huge_scale_is_invalid(tmp_path: Path) -> None:
    changes = {"quantity": "energy", "role": None, "scale": 1e300, "limit": None, "offset": None}
    reading = value_of(tmp_path, "1e20\n", **changes)
    assert (reading.status, reading.value) == (ReadingStatus.INVALID, None)


def test_file_that_is_not_written_is_stale(tmp_path: Path) -> None:
    robot = Robot(tmp_path)
    assert "has not been written since the first read" in robot.read().problem
    assert robot.read(after_s=1).status is ReadingStatus.STALE
    assert robot.read("3031.5\n").value == pytest.approx(30)
    assert robot.read(after_s=5.0).value == pytest.approx(30)
    late = robot.read(after_s=0.1)
    assert (late.status, late.value) == (ReadingStatus.STALE, None)
    assert "was last written 5.1 s ago; expected 5 s" in late.problem
    assert robot.read("3031.5\n").value == pytest.approx(30)
    robot.platform.close()


@pytest.mark.parametrize("error", [errno.ENOENT, errno.ENOTDIR, errno.ENODEV, errno.ENXIO])
def test_file_that_appears_later(tmp_path: Path, error: int) -> None:
    robot = Robot(tmp_path, error)
    reading = robot.read()
    assert (reading.status, reading.role) == (ReadingStatus.STALE, Role.CONTROL)
    assert reading.problem.startswith("run/bms/temperature does not exist")
    # A missing file does not make all kinds search for sensors.
    assert not robot.platform._sampler._probe_requested
    assert robot.read("3031.5\n", 40).status is ReadingStatus.STALE
    assert robot.read("3031.5\n").value == pytest.approx(30)
    state = robot.platform.sense(robot.clock())
    assert state.problem == ""
    robot.platform.close()


def test_state_of_an_old_file_survives_a_probe(tmp_path: Path) -> None:
    robot = Robot(tmp_path)
    robot.read()
    for _ in range(30):
        assert robot.read("3031.5\n", after_s=4).status is ReadingStatus.OK
    assert robot.read("3031.5\n").value == pytest.approx(30)
    robot.platform.close()


def test_lost_control_temperature_is_a_problem(tmp_path: Path) -> None:
    robot = Robot(tmp_path, "hot\n")
    robot.read()
    state = robot.platform.sense(robot.clock())
    robot.platform.close()
    assert state.problem.startswith(
        "no control temperature has a value; battery_pack/temperature: expected a number, got 'hot'"
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"file": "/run/bms"}, "file: expected a path from the root without a leading '/'"),
        ({"file": "../run/bms"}, "'..'"),
        ({"file": "run/../etc/x"}, "'..'"),
        ({"file": "run//x"}, "expected a path"),
        ({"file": ""}, "expected a path"),
        ({"file": "run/b\nms"}, "expected a path"),
        ({"file": "run/bms*/x"}, "expected the path of one file, got the pattern"),
        ({"file": None}, "file: missing"),
        ({"name": ""}, "name: expected a name"),
        ({"name": " /"}, "name: expected a name"),
        ({"name": "a\tb"}, "name: expected a name"),
        ({"name": "x" * 81}, "at most 80 characters"),
        ({"quantity": "heat"}, "quantity: expected one of temperature"),
        ({"role": "boss"}, "role: expected one of none"),
        ({"quantity": "power"}, "expected quantity temperature for role control, got power"),
        ({"scale": 0}, "scale: expected another number than 0"),
        ({"min_value": 5, "max_value": 5}, "min_value (5) must be below max_value (5)"),
        ({"max_age_s": None}, "max_age_s: missing; role control needs it"),
        ({"max_age_s": 0}, "max_age_s: expected a number of at least 0.1"),
        ({"file": "sys/class/x/temp"}, "leave max_age_s out"),
        ({"throttle": 45}, "throttle: expected 50 to 125 °C, got 45; the governor keeps"),
        ({"critical": 200}, "critical: expected 50 to 125 °C"),
        ({"role": "none"}, "limit: only for role control"),
        ({"min_value": 60}, "limit (55) must be above min_value (60)"),
        ({"limit": ".inf"}, "limit: expected a number"),
        ({"color": "red"}, "unknown key"),
        ({"device": "a\tb"}, "device: expected a name"),
        (BATTERY, "device: missing; role battery_power needs the name of its battery"),
    ],
)
def test_invalid_keys_are_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    keys = {**SENSOR, **changes}
    write_board(tmp_path, {name: value for name, value in keys.items() if value is not None})
    with pytest.raises(ConfigError) as caught:
        load_boards([tmp_path])
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path}/my_robot.yaml, line ")


@pytest.mark.parametrize("sensors", ["hot", ["hot"], {"a": 1}, [None], 5])
def test_sensors_must_be_a_list_of_mappings(tmp_path: Path, sensors: Any) -> None:
    text = yaml.safe_dump({"description": "it", "fallback": True, "sensors": sensors})
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError, match="sensors: expected a list of mappings"):
        load_boards([tmp_path])


def test_two_sensors_of_one_name_are_refused(tmp_path: Path) -> None:
    write_board(tmp_path, SENSOR, {**SENSOR, "file": "run/other"})
    with pytest.raises(ConfigError, match=r"two sensors are called battery_pack/temperature"):
        load_boards([tmp_path])


def test_sensor_with_the_name_of_a_zone_is_not_read(tmp_path: Path) -> None:
    write_board(tmp_path, {**SENSOR, "name": "zone/cpu-thermal"}, control=["zone/cpu*"])
    zone = "sys/class/thermal/thermal_zone0"
    files = MemoryFiles({f"{zone}/type": "cpu-thermal\n", f"{zone}/temp": "45000\n", FILE: "1\n"})
    with open_platform([tmp_path], files, clock=ManualClock()) as platform:
        state = platform.sense(0)
    assert state.hottest is not None and state.hottest.value == 45
    assert "two sensors have the name zone/cpu-thermal; the second (my_robot.yaml)" in state.problem


@pytest.mark.parametrize(
    ("limit", "limits_from", "trip", "bounds"),
    [
        (None, "absolute", 99.0, (70, 80)),
        (55.0, "absolute", None, (45, 55)),
        (85.0, "absolute", None, (70, 80)),
        (55.0, "board", 99.0, (45, 55)),
        (97.0, "board", 99.0, (85, 95)),
    ],
)
def test_limit_lowers_the_bounds_of_the_governor(
    limit: float | None, limits_from: str, trip: float | None, bounds: tuple[float, float]
) -> None:
    reading = Reading(
        *("a", Quantity.TEMPERATURE, 30.0, "file", 0), role=Role.CONTROL, throttle=trip, limit=limit
    )
    settings = GovernorSettings(limits_from=limits_from)
    assert temperature_bounds(reading, settings) == TemperatureBounds(*bounds)


def test_a_declared_file_is_recorded_and_replayed(tmp_path: Path) -> None:
    folder = write_board(tmp_path / "boards", SENSOR, {**SENSOR, "name": "b", "file": "run/key"})
    (board,) = load_boards([folder])
    files = MemoryFiles({FILE: "3031.5\n", "run/key": "a secret\n", "run/other": "1\n"})
    time = ManualTime()
    time.events = {0.5: lambda: files.write(FILE, "3041.5\n")}
    record_files(files, tmp_path / "r.jsonl", time, 1.0, scope=make_scope(board))
    text = (tmp_path / "r.jsonl").read_text()
    assert "secret" not in text
    assert "run/other" not in text
    clock = ManualClock()
    replay = RecordedFiles(tmp_path / "r.jsonl", clock)
    with open_platform([folder], replay, clock=clock) as platform:
        platform.sense(clock())
        clock.forward(0.6)
        readings = {each.name: each for each in platform.sense(clock()).readings}
    assert readings["battery_pack/temperature"].value == pytest.approx(31.0)
    assert readings["b"].status is ReadingStatus.INVALID


def test_a_recording_keeps_the_name_of_a_declared_file(tmp_path: Path) -> None:
    """Others lose the addresses in their names, but the board file asks for this one."""
    file = "run/bms/aa:bb:cc:dd:ee:ff/power"
    sensor = {"name": "pack/power", "file": file, "quantity": "power"}
    folder = write_board(tmp_path / "boards", sensor)
    (board,) = load_boards([folder])
    files = MemoryFiles({file: "12\n"})
    record_files(files, tmp_path / "r.jsonl", ManualTime(), 0.0, scope=make_scope(board))
    with open_platform([folder], RecordedFiles(tmp_path / "r.jsonl")) as platform:
        (reading,) = platform.sense(0).readings
    assert reading.value == 12


def test_board_files_of_the_user_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sensor = {key: SENSOR[key] for key in ("name", "file", "quantity", "scale", "offset")}
    folder = write_board(tmp_path / "boards", sensor)
    root, file = tmp_path / "root", tmp_path / "r.jsonl"
    (root / "run" / "bms").mkdir(parents=True)
    (root / FILE).write_text("3031.5\n")
    options = ["--platform-path", str(folder), "--board", "my_robot"]
    show = ["platform", "show", "--once", "--period", "0.05", "--json", *options]
    assert run([*show, "--root", str(root)]) == 0
    seen = json.loads(capsys.readouterr().out)
    assert [(each["name"], each["value"]) for each in seen["readings"]] == [
        ("battery_pack/temperature", pytest.approx(30.0))
    ]
    record = ["platform", "record", "--root", str(root), "-o", str(file), "--duration", "0"]
    assert run([*record, *options]) == 0
    capsys.readouterr()
    assert run([*show, "--recording", str(file)]) == 0
    assert json.loads(capsys.readouterr().out)["readings"] == seen["readings"]
    assert run(["platform", "show", "--once", "--platform-path", "nowhere"]) == 1
    assert "board files: expected a folder, got nowhere" in capsys.readouterr().err


def test_folders_of_board_files(tmp_path: Path) -> None:
    shipped = tmp_path / "shipped"
    assert list_board_folders("", shipped) == [shipped]
    assert list_board_folders(f"{tmp_path}:", shipped) == [tmp_path, shipped]
    with pytest.raises(ConfigError, match="this user does not exist"):
        list_board_folders("~nobody_at_all/boards", shipped)
