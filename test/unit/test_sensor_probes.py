"""Kinds of sensors of installed packages: shown, recorded and replayed; and broken ones."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_inference.cli.command_line import run
from edge_inference.core.platform_state import PlatformState
from edge_inference.core.reading import Quantity, Reading, ReadingStatus, Role
from edge_inference.errors import InputError, PluginError
from edge_inference.platforms.board_files import Board, BoardSettings, find_board, load_boards
from edge_inference.platforms.platform import Platform, open_platform
from edge_inference.platforms.recording.replay import RecordedFiles
from edge_inference.platforms.recording.scope import make_scope
from edge_inference.platforms.sampler import Sampler
from edge_inference.platforms.sensors.channel import Channel, FileSensor
from edge_inference.platforms.sensors.checked_sensor import CheckedSensor
from edge_inference.platforms.sensors.probe import SensorProbe, describe_probe_error
from edge_inference.platforms.sensors.probes import SENSOR_PROBES
from installed_extension import installed, write_metadata
from machine_files import ManualClock, MemoryFiles, orin_nx, write_files
from recording_bench import ManualTime, record_files

FOLDER = Path(__file__).parents[2] / "config" / "platforms"
ORIN = find_board("jetson_orin", load_boards([FOLDER]))
PACK = "run/bms/front"
CELLS = f"{PACK}/temperature", f"{PACK}/voltage"
SHOW = ["platform", "show", "--once", "--period", "0.05"]


def robot() -> MemoryFiles:
    """Make an Orin NX with a battery pack at 30 °C and 25.2 V."""
    return MemoryFiles({**orin_nx(), CELLS[0]: "3031.5\n", CELLS[1]: "25200\n"})


def sense(platform: Platform, clock: ManualClock, after_s: float = 0.5) -> PlatformState:
    clock.forward(after_s)
    return platform.sense(clock())


@pytest.mark.usefixtures("extension_package")
def test_readings_of_a_package(clock: ManualClock) -> None:
    files = robot()
    with open_platform([FOLDER], files, clock=clock) as platform:
        first = sense(platform, clock).named("bms/front/temperature")
        assert first is not None
        assert (first.status, first.role) == (ReadingStatus.STALE, Role.CONTROL)
        for path in CELLS:
            files.write(path, files.contents[path])  # the daemon writes the same again
        state = sense(platform, clock)
        values = {each.name: each.value for each in state.readings if each.name.startswith("bms")}
        assert values == {
            "bms/front/temperature": pytest.approx(30.0),
            "bms/front/voltage": pytest.approx(25.2),
        }
        assert state.problem == ""
        state = sense(platform, clock, 6.0)  # the daemon has ended
        assert "bms/front/temperature has no value: run/bms/front/temperature was" in state.problem
        assert state.hottest is not None and state.hottest.name == "zone/tj-thermal"


@pytest.mark.usefixtures("extension_package")
def test_a_package_in_show_and_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, file = tmp_path / "root", tmp_path / "r.jsonl"
    write_files({**robot().contents}, root)  # type: ignore[arg-type]
    assert run([*SHOW, "--root", str(root)]) == 0
    output = capsys.readouterr().out
    (row,) = [each for each in output.splitlines() if each.strip().startswith("bms/front")]
    assert "stale" in row
    assert "control temperature; run/bms/front/temperature has not been written" in row
    assert "control temperature bms/front/temperature has no value: " in output
    command = ["platform", "record", "--root", str(root), "-o", str(file), "--duration", "0"]
    assert run(command) == 0
    capsys.readouterr()
    recorded = RecordedFiles(file)
    assert [recorded.read(path) for path in CELLS] == [b"3031.5\n", b"25200\n"]
    assert run([*SHOW, "--recording", str(file), "--json"]) == 0
    readings = json.loads(capsys.readouterr().out)["readings"]
    found = {each["name"]: each for each in readings if each["name"].startswith("bms/")}
    assert {name: each["status"] for name, each in found.items()} == {
        "bms/front/temperature": "stale",
        "bms/front/voltage": "stale",
    }


@pytest.mark.usefixtures("extension_package")
def test_a_recording_replays_each_write(tmp_path: Path) -> None:
    """A file that is written with the same content is as fresh in the replay."""
    files, time, clock = robot(), ManualTime(), ManualClock()
    time.events = {moment: lambda: files.write(CELLS[0], "3031.5\n") for moment in (0.5, 1.0)}
    file = tmp_path / "r.jsonl"
    record_files(files, file, time, 10.0, scope=make_scope(ORIN))
    lines = file.read_text().splitlines()
    changes = [list(json.loads(line)["files"]) for line in lines[2:]]
    assert changes == [[CELLS[0]], [CELLS[0]], *[[]] * 18]
    replay = RecordedFiles(file, clock)
    with open_platform([FOLDER], replay, clock=clock) as platform:
        statuses = [_status(sense(platform, clock, 0.5)) for _ in range(16)]
    good, stale = ReadingStatus.OK, ReadingStatus.STALE
    # The write at 1 s is the first that the replay sees; it is too old 5 s later.
    assert statuses == [stale, *[good] * 11, *[stale] * 4]


def _status(state: PlatformState) -> ReadingStatus | None:
    reading = state.named("bms/front/temperature")
    return None if reading is None else reading.status


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def packages(tmp_path: Path) -> Iterator[Path]:
    """A folder for the modules and metadata of packages."""
    with installed(tmp_path):
        yield tmp_path


HEAD = """\
from edge_inference.core.reading import Quantity, Reading, Role
from edge_inference.platforms.sensors.channel import Channel, FileSensor
from edge_inference.platforms.sensors.probe import SensorProbe

def make(name, **options):
    return Channel(name, "run/x", Quantity.TEMPERATURE, **options)

"""
BROKEN = {
    "raises on import": ("raise RuntimeError('no bus')", "importing failed: RuntimeError: no bus"),
    "no row": ("ROW = 1", "expected a SensorProbe, got int"),
    "other name": ("ROW = SensorProbe('other', lambda *_: [])", "give both the same name"),
    "no function": ("ROW = SensorProbe('mine', None)", "expected find to be a function"),
    "absolute": ("ROW = SensorProbe('mine', list, ('/run/x',))", "without a leading '/'"),
    "outside": ("ROW = SensorProbe('mine', list, ('../run/x',))", "'..'"),
    "one text": ("ROW = SensorProbe('mine', list, 'run/x')", "a tuple of patterns, got 'run/x'"),
    "no text": (
        "import pathlib\nROW = SensorProbe('mine', list, (pathlib.Path('run/x'),))",
        "expected files to be a tuple of patterns, got",
    ),
    "lines that are no bytes": (
        "ROW = SensorProbe('mine', list, ('run/x',), {'run/x': 'MemTotal'})",
        "expected lines to be a tuple of bytes for a file, got run/x: 'MemTotal'",
    ),
    "lines of another file": (
        "ROW = SensorProbe('mine', list, ('run/x',), {'proc/stat': (b'x',)})",
        "expected lines to be a tuple of bytes for a file, got proc/stat",
    ),
    "raises on find": (
        "def find(*_): raise OSError('no bus')\nROW = SensorProbe('mine', find, ('run/x',))",
        "sensor kind mine: the probe failed: OSError: no bus",
    ),
    "exits on find": (
        "def find(*_): raise SystemExit\nROW = SensorProbe('mine', find, ('run/x',))",
        "sensor kind mine: the probe failed: SystemExit",
    ),
    "no list": (
        "ROW = SensorProbe('mine', lambda *_: None, ('run/x',))",
        "sensor kind mine: the probe failed: TypeError",
    ),
    "no sensors": (
        "ROW = SensorProbe('mine', lambda *_: ['hot'], ('run/x',))",
        "sensor kind mine: the probe failed: AttributeError",
    ),
    "undeclared file": (
        "def find(files, *_): return files.read('etc/shadow')\n"
        "ROW = SensorProbe('mine', find, ('run/x',))",
        "reads etc/shadow, which is not among the files",
    ),
    "undeclared in a sensor": (
        "def find(files, board, clock):\n"
        "    return [FileSensor((Channel('a', 'run/y', Quantity.TEMPERATURE, role=Role.CONTROL),),"
        " files, clock)]\n"
        "ROW = SensorProbe('mine', find, ('run/x',))",
        "control temperature a has no value: reading failed: edge_inference.errors.PluginError: "
        "sensor kind mine: reads run/y",
    ),
    "taken name": (
        "def find(files, board, clock):\n"
        "    return [FileSensor((make('mine'), make('zone/tj-thermal')), files, clock)]\n"
        "ROW = SensorProbe('mine', find, ('run/x',))",
        "two sensors have the name zone/tj-thermal; the second (mine) is not read",
    ),
    "taken name of a second reading": (
        "def find(files, board, clock):\n"
        "    return [FileSensor((make('rail/VDD_IN/voltage'),), files, clock)]\n"
        "ROW = SensorProbe('mine', find, ('run/x',))",
        "two sensors have the name rail/VDD_IN/voltage; the second (mine) is not read",
    ),
    "the same twice": (
        "def find(files, board, clock): return [FileSensor((make('a'),), files, clock)] * 2\n"
        "ROW = SensorProbe('mine', find, ('run/x',))",
        "two sensors have the name a; the second (mine) is not read",
    ),
    "other readings": (
        "class Liar(FileSensor):\n"
        "    def read(self):\n"
        "        return [make('zone/tj-thermal').make_reading(20.0, self.clock())]\n"
        "def find(files, board, clock):\n"
        "    return [Liar((make('mine', role=Role.CONTROL),), files, clock)]\n"
        "ROW = SensorProbe('mine', find, ('run/x',))",
        "control temperature mine has no value: reading failed",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_kind_is_told_and_harms_no_other(
    name: str, packages: Path, clock: ManualClock
) -> None:
    code, problem = BROKEN[name]
    (packages / "broken.py").write_text(HEAD + code)
    write_metadata(packages, "broken", "[edge_inference.sensors]\nmine = broken:ROW\n")
    with open_platform([FOLDER], MemoryFiles(orin_nx()), clock=clock) as platform:
        sense(platform, clock)
        state = sense(platform, clock)
    assert problem in state.problem
    assert state.hottest is not None
    assert (state.hottest.name, state.hottest.value) == ("zone/tj-thermal", 48.5)
    assert state.power_w == 2.5


def test_a_broken_kind_is_told_by_record(
    packages: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (packages / "broken.py").write_text("raise RuntimeError('no bus')")
    write_metadata(packages, "broken", "[edge_inference.sensors]\nmine = broken:ROW\n")
    (tmp_path / "root").mkdir()
    file = tmp_path / "r.jsonl"
    command = ["platform", "record", "--root", str(tmp_path / "root"), "-o", str(file)]
    assert run([*command, "--duration", "0"]) == 0
    assert "without these sensors" in (errors := capsys.readouterr().err) and "no bus" in errors


def test_a_kind_without_files_is_not_asked_about_recordings() -> None:
    assert "nvml" in SENSOR_PROBES.rows()
    with open_platform([FOLDER], MemoryFiles({}), "pc") as platform:
        platform.sense(0)
        assert "nvml" not in platform._sampler._probes


def test_a_probe_that_hangs_delays_no_other_kind(clock: ManualClock) -> None:
    free = threading.Event()
    files = MemoryFiles({"a": "1\n", "b": "2\n"})

    def sensor(name: str) -> FileSensor:
        return FileSensor((Channel(name, name, Quantity.TEMPERATURE),), files, clock)

    def find() -> list[FileSensor]:
        free.wait()
        return [sensor("b")]

    probes = {"hangs": find, "works": lambda: [sensor("a")]}
    sampler = Sampler(probes, read_timeout_s=0.3, clock=clock)
    try:
        # On a busy machine a read may time out, and be tried again.
        assert any([each.value for each in sampler.read(20.0)] == [1] for _ in range(1000))
        assert sampler.problem.startswith("sensor kind hangs: the probe has not returned")
        free.set()
        expected = [("a", 1), ("b", 2)]
        assert any(
            sorted((each.name, each.value) for each in sampler.read(20.0)) == expected
            for _ in range(1000)
        )
        assert sampler.problem == ""
    finally:
        free.set()
        sampler.close()


BOARD = Board("mine", BoardSettings("it", fallback=True, max_c=110.0))
GOOD = Reading("bms", Quantity.TEMPERATURE, 30.0, "a bus", 5, role=Role.CONTROL)
EMPTY = replace(GOOD, value=None, status=ReadingStatus.STALE, problem="not yet")


class Fake:
    """A sensor of another package."""

    name: Any = "bms"
    names: Any = ("bms",)

    def __init__(self, *readings: Any, announced: Any = (EMPTY,)) -> None:
        self.readings = readings
        self.announced = announced

    def announce(self, stamp_ns: int) -> Any:
        return self.announced

    def read(self) -> Any:
        return self.readings


def checked(*readings: Any, **options: Any) -> CheckedSensor:
    return CheckedSensor(Fake(*readings, **options), BOARD, lambda: 10)


def test_readings_of_an_honest_sensor_pass() -> None:
    assert checked(GOOD).read() == [GOOD]
    assert checked(EMPTY).read() == [EMPTY]
    assert checked().read() == []
    assert checked().announce(7) == [replace(EMPTY, stamp_ns=7)]


@pytest.mark.parametrize(
    ("reading", "problem"),
    [
        (30.0, "expected a Reading, got 30.0"),
        (None, "expected a Reading, got None"),
        (replace(GOOD, name="zone/tj-thermal"), "expected readings of bms"),
        (replace(GOOD, value=float("nan")), "expected value to be a number"),
        (replace(GOOD, value="30"), "expected value to be a number"),
        (replace(GOOD, value=True), "expected value to be a number"),
        (replace(GOOD, limit=float("inf")), "expected limit to be a number"),
        (replace(GOOD, throttle="hot"), "expected throttle to be a number"),
        (replace(GOOD, role=Role.NONE), "expected the announced role"),
        (replace(GOOD, device="battery/BAT0"), "expected the announced device bms, got"),
        (replace(GOOD, device=1), "expected device to be a str"),
        (replace(GOOD, role="control"), "expected role to be a Role"),
        (replace(GOOD, quantity=Quantity.POWER), "expected quantity temperature for role control"),
        # Neither a message nor JSON can hold these.
        (replace(GOOD, source=Path("/dev/i2c-1")), "expected source to be a str"),
        (replace(GOOD, source="\udcff"), "expected source to be a short text"),
        (replace(GOOD, source="x" * 5000), "expected source to be a short text"),
        (replace(EMPTY, problem=OSError("no bus")), "expected problem to be a str"),
        # What a chip that is off answers is no cold processor.
        (replace(GOOD, value=-256.0), "expected value from -40 to 110, got -256"),
        (replace(GOOD, value=110.5), "expected value from -40 to 110, got 110.5"),
        (replace(GOOD, critical=1e30), "expected critical from -273.15 to 10000, got 1e"),
        (replace(GOOD, stamp_ns=11), "expected a time up to now"),
        (replace(GOOD, stamp_ns=None), "expected a time up to now"),
    ],
)
def test_reading_that_breaks_the_contract(reading: Any, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        checked(reading).read()


@pytest.mark.parametrize(
    ("attribute", "value", "problem"),
    [
        ("name", None, "expected the name of a sensor"),
        ("name", "", "expected the name of a sensor"),
        ("name", "a\nb", "expected the name of a sensor"),
        ("names", ("other",), "expected it to announce other"),
        ("names", (), "expected it to announce nothing"),
        ("names", (1,), "expected the name of a sensor"),
    ],
)
def test_sensor_that_breaks_the_contract(attribute: str, value: Any, problem: str) -> None:
    fake = Fake(GOOD)
    setattr(fake, attribute, value)
    with pytest.raises(InputError, match=problem):
        CheckedSensor(fake, BOARD, lambda: 10)


def test_an_unchanged_sensor_is_equal() -> None:
    files = MemoryFiles({})
    one, same, other = (
        CheckedSensor(FileSensor((Channel("a", path, Quantity.POWER),), files), BOARD, lambda: 10)
        for path in ("x", "x", "y")
    )
    assert one == same
    assert one != other
    throttled = replace(EMPTY, throttle=90.0)
    fake = type("Alike", (Fake,), {"__eq__": lambda *_: True})
    assert CheckedSensor(fake(), BOARD, lambda: 10) == CheckedSensor(fake(), BOARD, lambda: 10)
    changed = CheckedSensor(fake(announced=(throttled,)), BOARD, lambda: 10)
    assert CheckedSensor(fake(), BOARD, lambda: 10) != changed

    class Incomparable(Fake):
        def __eq__(self, _: object) -> bool:
            raise ZeroDivisionError

    mine = CheckedSensor(Incomparable(), BOARD, lambda: 10)
    assert mine != CheckedSensor(Fake(), BOARD, lambda: 10)


def test_rows_of_this_package_are_valid() -> None:
    for probe in SENSOR_PROBES.own.values():
        assert describe_probe_error(probe, {}) is None


def test_unknown_kind() -> None:
    with pytest.raises(PluginError, match="unknown sensor kind 'thermal_zone'; did you mean"):
        SENSOR_PROBES.get("thermal_zone")
    assert SensorProbe("mine", lambda *_: []).files == ()
