"""``edge-inference platform show`` and ``record``: sensors on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_inference.cli.command_line import run
from edge_inference.cli.platform.sensor_format import format_headline, make_rows, state_as_json
from edge_inference.cli.platform.show import ShowOptions, show
from edge_inference.core.platform_state import PlatformState
from edge_inference.core.reading import Quantity, Reading, ReadingStatus, Role
from edge_inference.platforms.recording.recording import read_recording

RECORDINGS = Path(__file__).parents[1] / "platform_recordings"
SHOW = ["platform", "show", "--once", "--period", "0.05"]


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """Return a folder with the files of a small machine."""
    files = {
        "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
        "sys/class/thermal/thermal_zone0/temp": "51500\n",
        "proc/device-tree/model": "A Board\0",
        "proc/device-tree/serial-number": "142472005\0",
    }
    for name, text in files.items():
        file = tmp_path / "machine" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path / "machine"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["platform"], 2, "action"),
        (["platform", "shwo"], 2, "'shwo'"),
        (["platform", "show", "--loop"], 2, "--recording"),
        (["platform", "show", "--speed", "2"], 2, "--recording"),
        (["platform", "show", "--speed", "0"], 2, "from 0.01"),
        (["platform", "show", "--recording", "a", "--root", "b"], 2, "--root"),
        (["platform", "show", "--root", "nowhere"], 2, "--root nowhere: expected a folder"),
        (["platform", "record", "-o", "x", "--root", "nowhere"], 2, "--root nowhere"),
        (["platform", "show", "--period", "0"], 2, "from 0.05"),
        (["platform", "show", "--recording", "none.jsonl"], 1, "none.jsonl: cannot be read"),
        (["platform", "show", "--once", "--board", "jetson_orni"], 1, "'jetson_orin'"),
        (["platform", "tune", "--apply", "--undo"], 2, "not allowed with"),
        (["platform", "tune", "--root", "nowhere"], 2, "--root nowhere: expected a folder"),
        (["platform", "record"], 2, "-o/--output"),
        (["platform", "record", "-o", ""], 2, "empty"),
        (["platform", "record", "-o", "x", "--duration", "-1"], 2, "from 0"),
        (["platform", "record", "-o", "no/folder/x", "--duration", "0"], 1, "no/folder/x"),
    ],
)
def test_usage_error_is_one_line(
    arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == code
    errors = capsys.readouterr().err
    assert errors.startswith("edge-inference: ")
    assert errors.count("\n") == 1
    assert words in errors


@pytest.mark.parametrize("action", [[], ["show"], ["record"], ["tune"]])
def test_help_has_an_example(action: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["platform", *action, "--help"]) == 0
    example = capsys.readouterr().out.partition("example")[2]
    assert " ".join(["edge-inference platform", *action]) in example


def test_a_recording_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*SHOW, "--recording", str(RECORDINGS / "orin_nx.jsonl")]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header == "jetson_orin, mode 25W, 49.5 °C (zone/tj-thermal), 7.46 W, not throttled"
    found = {line.split()[0]: line for line in lines if line.strip()}
    assert "7.46 W  5.04 V  1.48 A   total power" in found["rail/VDD_IN"]
    assert "gated" in found["zone/cv0-thermal"]
    assert "control temperature; throttles at 99, critical at 104.5" in found["zone/tj-thermal"]
    assert "612 MHz  45%" in found["gpu/17000000.gpu"]
    assert not any(name.startswith("over_current") for name in found)


def test_a_recording_is_shown_as_json_until_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    file = str(RECORDINGS / "pc.jsonl")
    command = ["platform", "show", "--recording", file, "--json", "--speed", "20"]
    assert run([*command, *SHOW[3:]]) == 0
    times = [json.loads(line)["t"] for line in capsys.readouterr().out.splitlines()]
    # Even if the first sample is late on a busy machine, the end is shown.
    assert times[-1] >= 2
    assert times == sorted(times)


def test_samples_have_recorded_times(capsys: pytest.CaptureFixture[str]) -> None:
    now_ns = 5_000_000_000

    def wait(seconds: float) -> bool:
        nonlocal now_ns
        now_ns += round(seconds * 1e9)
        return False

    options = ShowOptions(str(RECORDINGS / "pc.jsonl"), period_s=0.25, speed=4.0)
    assert show(options, as_json=True, clock=lambda: now_ns, wait=wait) == 0
    samples = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [sample["t"] for sample in samples] == [0.0, 1.0, 2.0]
    powers = [
        {each["name"]: each for each in sample["readings"]}["rapl/package-0"] for sample in samples
    ]
    # The power from an energy counter needs two samples.
    assert [power["status"] for power in powers[1:]] == ["ok", "ok"]
    assert (powers[-1]["unit"], powers[-1]["quantity"]) == ("W", "power")


def test_a_machine_is_recorded_and_shown(
    machine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "r.jsonl.gz"
    assert run(["platform", "show", "--root", str(machine), *SHOW[2:], "--json"]) == 0
    seen = json.loads(capsys.readouterr().out)
    command = ["platform", "record", "--root", str(machine), "-o", str(file), "--note", "a test"]
    assert run([*command, "--duration", "0.1", "--period", "0.05"]) == 0
    output = capsys.readouterr().out
    assert "r.jsonl.gz: A Board, " in output
    assert "3 files" in output
    recording = read_recording(file)
    assert (recording.header.board, recording.header.note) == ("A Board", "a test")
    assert not recording.header.synthetic
    assert run([*SHOW, "--recording", str(file), "--json"]) == 0
    replayed = json.loads(capsys.readouterr().out)
    assert replayed["readings"] == seen["readings"]
    assert seen["hottest"] == "zone/cpu-thermal"


def test_recording_result_as_json(
    machine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "r.jsonl"
    command = ["platform", "record", "--root", str(machine), "-o", str(file)]
    assert run([*command, "--duration", "0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "recording": str(file),
        "board": "A Board",
        "samples": 1,
        "files": 3,
        "failing": 0,
        "duration_s": 0.0,
        "is_full": False,
        "bytes": file.stat().st_size,
    }


def test_tune_without_options_changes_nothing(
    machine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {file: file.read_bytes() for file in machine.rglob("*") if file.is_file()}
    assert run(["platform", "tune", "--root", str(machine), "--json"]) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] != []
    assert {file: file.read_bytes() for file in machine.rglob("*") if file.is_file()} == before


def a_reading(name: str, quantity: Quantity, value: float | None, **others: object) -> Reading:
    return Reading(name, quantity, value, "file", 0, **others)  # type: ignore[arg-type]


def test_a_state_without_readings() -> None:
    state = PlatformState("generic", (), 0)
    assert make_rows(state) == []
    assert format_headline(state) == "generic"
    assert state_as_json(state, 1.23456)["t"] == 1.235


@pytest.mark.parametrize(
    ("readings", "words"),
    [
        ([("cooling/alert", Quantity.STATE, 0)], "b, not throttled"),
        ([("cooling/alert", Quantity.STATE, 1)], "b, THROTTLED by cooling/alert"),
        (
            [("over_current/oc1", Quantity.COUNT, 3), ("cooling/alert", Quantity.STATE, 0)],
            "b, not throttled now (over_current/oc1 3 since the start)",
        ),
        ([("cooling/alert", Quantity.STATE, None)], "b"),
    ],
)
def test_format_throttling(readings: list[tuple[str, Quantity, float | None]], words: str) -> None:
    state = PlatformState(
        "b",
        tuple(
            a_reading(
                *each,
                role=Role.THROTTLE,
                status=ReadingStatus.OK if each[2] is not None else ReadingStatus.STALE,
            )
            for each in readings
        ),
        0,
    )
    assert format_headline(state) == words


@pytest.mark.parametrize(
    ("quantity", "value", "words"),
    [
        (Quantity.TEMPERATURE, -3.25, "-3.2 °C"),
        (Quantity.POWER, 0, "0.00 W"),
        (Quantity.ENERGY, 7200, "2.0 Wh"),
        (Quantity.ELECTRIC_CHARGE, 7200, "2.00 Ah"),
        (Quantity.FREQUENCY, 1.4208e9, "1421 MHz"),
        (Quantity.SHARE, 1, "100%"),
        (Quantity.COUNT, 3, "3"),
    ],
)
def test_format_values(quantity: Quantity, value: float, words: str) -> None:
    (row,) = make_rows(PlatformState("b", (a_reading("x/y", quantity, value),), 0))
    assert (row.name, row.values, row.is_ok) == ("x/y", words, True)


@pytest.mark.parametrize(
    ("reading", "is_ok"),
    [
        (a_reading("a/b", Quantity.TEMPERATURE, 98.9, throttle=99.0), True),
        (a_reading("a/b", Quantity.TEMPERATURE, 99.0, throttle=99.0), False),
        (
            a_reading("a/b", Quantity.POWER, None, status=ReadingStatus.INVALID, problem="bad"),
            False,
        ),
        (
            a_reading("a/b", Quantity.TEMPERATURE, None, status=ReadingStatus.GATED, problem="off"),
            None,
        ),
        (a_reading("a/b", Quantity.STATE, 2, role=Role.THROTTLE), False),
        (a_reading("a/b", Quantity.STATE, 2), True),
    ],
)
def test_row_status(reading: Reading, is_ok: bool | None) -> None:
    (row,) = make_rows(PlatformState("b", (reading,), 0))
    assert row.is_ok is is_ok
    assert reading.problem in row.remark


def test_a_device_has_one_row() -> None:
    state = PlatformState(
        "b",
        (
            a_reading("rapl/package-0", Quantity.POWER, 20),
            a_reading("rapl/package-0/core", Quantity.POWER, 12),
            a_reading("battery/0/voltage", Quantity.VOLTAGE, 15, device="battery/0"),
            a_reading("battery/1/voltage", Quantity.VOLTAGE, 12, device="battery/1"),
            a_reading("battery/1/energy", Quantity.ENERGY, 36000, device="battery/1"),
            a_reading("battery/1/other_energy", Quantity.ENERGY, 72000, device="battery/1"),
            a_reading(
                "battery/1/full_energy",
                Quantity.ENERGY,
                72000,
                role=Role.BATTERY_FULL_ENERGY,
                device="battery/1",
            ),
            a_reading(
                "battery/0/current",
                Quantity.CURRENT,
                None,
                status=ReadingStatus.STALE,
                problem="?",
                device="battery/0",
            ),
            a_reading("gpu/x/load", Quantity.SHARE, 0.5, device="gpu/x"),
        ),
        0,
    )
    assert [(row.name, row.values, row.remark) for row in make_rows(state)] == [
        ("rapl/package-0", "20.00 W", ""),
        ("rapl/package-0/core", "12.00 W", ""),
        ("battery/0", "15.00 V", "?"),
        ("battery/1", "12.00 V  10.0 Wh", ""),
        ("battery/1/other_energy", "20.0 Wh", ""),
        ("gpu/x/load", "50%", ""),
    ]
    assert state_as_json(state, 0.0)["readings"][2]["device"] == "battery/0"


@pytest.mark.parametrize(
    ("value", "words"),
    [(1, "charging"), (2, "discharging"), (3, "not charging"), (4, "full"), (9, "status 9")],
)
def test_a_battery_status_is_a_word(value: float, words: str) -> None:
    reading = a_reading("battery/0/status", Quantity.STATE, value, role=Role.BATTERY_STATUS)
    (row,) = make_rows(PlatformState("b", (reading,), 0))
    assert row.values == words


def test_a_state_without_a_role_has_a_row_of_its_own() -> None:
    gpu = [
        Reading("gpu/0/power", Quantity.POWER, 300.0, "nvml", 0, device="gpu/0"),
        Reading("gpu/0/power_cap", Quantity.STATE, 1.0, "nvml", 0, device="gpu/0"),
    ]
    rows = make_rows(PlatformState("b", tuple(gpu), 0))
    assert [(row.name, row.values) for row in rows] == [
        ("gpu/0/power", "300.00 W"),
        ("gpu/0/power_cap", "1"),
    ]
