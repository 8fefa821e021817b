"""The platform: real files, a pipe that blocks, chips that are renumbered."""

from __future__ import annotations

import ast
import errno
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import edge_inference.platforms
from edge_inference.core.platform_state import PlatformState
from edge_inference.core.reading import ReadingStatus, Role
from edge_inference.errors import ConfigError
from edge_inference.platforms.board_files import find_board, load_boards
from edge_inference.platforms.platform import Platform, open_platform
from edge_inference.platforms.recording.recording import UnreadableFile
from edge_inference.platforms.recording.replay import RecordedFiles
from edge_inference.platforms.sampler import Sampler
from edge_inference.platforms.sensors import nvml
from edge_inference.platforms.sensors.power_mode import PowerModeSensor
from edge_inference.platforms.sensors.probes import make_probes
from edge_inference.platforms.system_files import HostFiles
from machine_files import (
    INA3221,
    ZONE,
    ManualClock,
    MemoryFiles,
    ina3221,
    orin_nx,
    read_sensors,
    write_files,
    zones,
)
from recording_bench import write_recording

FOLDER = Path(__file__).parents[2] / "config" / "platforms"
ORIN = find_board("jetson_orin", load_boards([FOLDER]))


class Machine:
    """A platform with files in memory and a manual clock."""

    def __init__(self, files: dict[str, str | int], board: str = "") -> None:
        self.files = MemoryFiles(files)
        self.clock = ManualClock()
        self.platform = open_platform([FOLDER], self.files, board, clock=self.clock)

    def sense(self, after_s: float = 0.5) -> PlatformState:
        self.clock.forward(after_s)
        return self.platform.sense(self.clock())


@pytest.fixture
def orin() -> Iterator[Machine]:
    machine = Machine(orin_nx())
    yield machine
    machine.platform.close()


def test_all_readings_of_an_orin_nx(orin: Machine) -> None:
    orin.sense()
    state = orin.sense()
    assert (state.board, state.mode, state.problem) == ("jetson_orin", "15W", "")
    assert state.stamp_ns == orin.clock.now_ns
    assert state.power_w == 2.5
    assert state.hottest is not None
    assert (state.hottest.name, state.hottest.value) == ("zone/tj-thermal", 48.5)
    worth = {reading.name: reading.status for reading in state.readings}
    gated = {name for name, status in worth.items() if status is ReadingStatus.GATED}
    assert gated == {"zone/cv0-thermal", "zone/cv1-thermal", "zone/cv2-thermal"}
    stale = {name for name, status in worth.items() if status is ReadingStatus.STALE}
    assert stale == {"cpu/load"}  # nothing has run between the two samples
    assert len(worth) == 36


def test_readings_have_their_own_stamps(orin: Machine) -> None:
    orin.sense()
    assert {each.stamp_ns for each in orin.sense().readings} == {orin.clock.now_ns}


def test_machine_without_control_temperature_has_a_problem() -> None:
    machine = Machine({}, board="generic")
    state = machine.sense()
    machine.platform.close()
    assert state.readings == ()
    assert state.hottest is None
    assert "this machine has no control temperature (board generic)" in state.problem


def test_loss_of_all_control_temperatures_gives_the_reason(orin: Machine) -> None:
    orin.sense()
    orin.files.contents[f"{ZONE.format(8)}/temp"] = errno.EIO
    state = orin.sense()
    assert state.hottest is None
    assert state.problem.startswith("no control temperature has a value; zone/tj-thermal: ")


def test_agx_orin_publishes_a_sum_and_no_total() -> None:
    labels = ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0")
    machine = Machine(zones(tj_thermal="40000") | ina3221(labels=labels), "jetson_orin")
    state = machine.sense()
    machine.platform.close()
    assert state.power_w is None
    (total,) = state.by_role(Role.RAILS_SUM)
    assert total.value == 35.0


def test_hwmon_that_returns_with_another_number(orin: Machine) -> None:
    old, new = INA3221.format(3), INA3221.format(11)
    assert orin.sense().power_w == 2.5
    orin.files.move(old, "gone")
    lost = orin.sense()
    assert lost.power_w is None
    reading = lost.named("rail/VDD_IN")
    assert reading is not None and reading.status is ReadingStatus.ABSENT
    orin.sense(after_s=2)  # no longer found, so it stays absent
    again = orin.sense().named("rail/VDD_IN")
    assert again is not None and again.status is ReadingStatus.ABSENT
    orin.files.move("gone", new)
    orin.sense(after_s=60)
    state = orin.sense()
    found = state.named("rail/VDD_IN")
    assert found is not None and found.source.startswith(new)
    assert state.power_w == 2.5


def test_exchanged_hwmon_numbers_keep_names(orin: Machine) -> None:
    orin.files.contents["sys/class/hwmon/hwmon1/name"] = "nvme\n"
    orin.sense()
    orin.files.move("sys/class/hwmon/hwmon0/", "aside/")
    orin.files.move("sys/class/hwmon/hwmon1/", "sys/class/hwmon/hwmon0/")
    orin.files.move("aside/", "sys/class/hwmon/hwmon1/")
    orin.sense()
    orin.sense(after_s=2)
    reading = orin.sense().named("over_current/oc1")
    assert reading is not None
    assert (reading.value, reading.source) == (0, "sys/class/hwmon/hwmon1/oc1_event_cnt")


def test_probe_keeps_the_state_of_known_sensors(orin: Machine) -> None:
    orin.sense()
    orin.sense(after_s=29)
    orin.files.contents[f"{ZONE.format(8)}/temp"] = "120000\n"
    orin.files.reads.clear()
    reading = orin.sense(after_s=2).named("zone/tj-thermal")
    assert f"{ZONE.format(8)}/type" in orin.files.reads  # there was a probe
    assert reading is not None and "jumped" in reading.problem


def test_mode_change_is_read_and_comments_are_skipped(orin: Machine) -> None:
    assert orin.sense().mode == "15W"
    orin.files.contents["var/lib/nvpmodel/status"] = "pmode:0000\n"
    assert orin.sense().mode == "MAXN"
    orin.files.contents["var/lib/nvpmodel/status"] = "pmode:0009\n"
    assert orin.sense().mode == "mode 9"
    orin.files.contents["var/lib/nvpmodel/status"] = "?\n"
    assert orin.sense().mode == ""


def test_old_mode_is_unknown(orin: Machine) -> None:
    mode = PowerModeSensor(orin.files, orin.clock)
    assert mode.mode_name == ""
    assert (list(mode.read()), mode.mode_name) == ([], "15W")
    orin.clock.forward(60)
    assert mode.mode_name == ""


def test_nvml_is_used_only_for_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(nvml, "find", lambda **_: asked.append("nvml") or [])
    for files, board, times in (
        (MemoryFiles({}), "pc", 0),
        (None, "jetson_orin", 0),
        (None, "pc", 1),
    ):
        with open_platform([FOLDER], files, board) as platform:
            platform.sense(0)
        assert len(asked) == times


def test_an_unknown_board_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown board 'moon'"):
        open_platform([FOLDER], MemoryFiles({}), "moon")


def test_probe_reads_no_file_that_may_block() -> None:
    files = MemoryFiles(orin_nx())
    sensors = [each for probe in make_probes(files, ORIN).values() for each in probe()]
    static = ("/type", "/name", "_label", "_type", "_temp")
    assert [path for path in files.reads if not path.endswith(static)] == []
    assert read_sensors(sensors)


@pytest.mark.parametrize("content", ["", "garbage\n", "\x00" * 64, "-1\n", "9" * 400])
def test_random_contents_give_no_invalid_value(content: str) -> None:
    files = orin_nx()
    static = ("type", "name", "label", "compatible")
    for path in files:
        if not path.endswith(static):
            files[path] = content
    machine = Machine(files)
    machine.sense()
    state = machine.sense()
    machine.platform.close()
    assert state.power_w is None
    for reading in state.readings:
        if content != "-1\n":
            assert reading.value is None, reading
            assert reading.problem


@pytest.mark.parametrize(
    "error", [errno.EAGAIN, errno.EIO, errno.EACCES, errno.ENODEV, errno.EINVAL, errno.ENOMEM]
)
def test_read_errors_give_no_value(error: int) -> None:
    machine = Machine(orin_nx())
    machine.sense()
    for path in machine.files.contents:
        machine.files.contents[path] = error
    state = machine.sense()
    machine.platform.close()
    assert {reading.value for reading in state.readings} == {None}
    assert state.problem
    assert state.mode == ""


def test_wall_clock_is_never_used() -> None:
    walls = {"time.time", "time.time_ns", "datetime.now", "datetime.today"}
    files = sorted(Path(edge_inference.platforms.__path__[0]).rglob("*.py"))
    asked = [
        f"{file.name} asks {ast.unparse(node)}"
        for file in files
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in walls
    ]
    assert files
    assert asked == []


class RealMachine:
    """Files below a folder; two of them are pipes without a writer."""

    def __init__(self, root: Path, *pipes: str) -> None:
        self.pipes = [root / pipe for pipe in pipes]
        files = orin_nx()
        for number in (2, 3, 4):
            files[f"{ZONE.format(number)}/temp"] = "45000\n"
        write_files(files, root)
        for pipe in self.pipes:
            pipe.unlink()
            os.mkfifo(pipe)
        self.files = HostFiles(root)
        self.sampler = Sampler(make_probes(self.files, ORIN), read_timeout_s=0.4, probe_period_s=60)
        self.platform = Platform(self.files, ORIN, self.sampler, wait_s=20)

    def sense(self) -> PlatformState:
        return self.platform.sense(time.monotonic_ns())

    def let_go(self) -> None:
        """Open the other ends of the pipes, which unblocks the readers."""
        for pipe in self.pipes:
            if pipe.exists():
                try:
                    os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
                except OSError as error:
                    assert error.errno == errno.ENXIO, "nobody waits"

    def until_nothing_hangs(self) -> None:
        end = time.monotonic() + 20
        while self.sampler.blocked_sensors:
            assert time.monotonic() < end, "the reads never came back"
            self.let_go()
            threading.Event().wait(0.002)


def test_blocked_pipes_do_not_stop_other_sensors(tmp_path: Path) -> None:
    blocking = f"{ZONE.format(0)}/temp", f"{INA3221.format(3)}/curr1_input"
    before = set(threading.enumerate())
    machine = RealMachine(tmp_path, *blocking)
    machine.sense()
    state = machine.sense()
    stale = {each.name for each in state.readings if each.status is ReadingStatus.STALE}
    assert stale == {
        "zone/cpu-thermal",
        *("rail/VDD_IN", "rail/VDD_IN/voltage", "rail/VDD_IN/current"),
        "cpu/load",
    }
    assert all(each.value is None for each in state.readings if each.name in stale)
    assert state.power_w is None
    assert state.hottest is not None and state.hottest.value == 48.5
    threads = [each for each in threading.enumerate() if each.name == "sensors"]
    assert len(set(threads) - before) <= 3

    for pipe, text in zip(blocking, ("51000\n", "600\n"), strict=True):
        real = tmp_path / f"{pipe}.new"
        real.write_text(text)
        machine.let_go()
        real.replace(tmp_path / pipe)
    machine.pipes = []
    machine.until_nothing_hangs()
    state = machine.sense()
    zone = state.named("zone/cpu-thermal")
    assert zone is not None and zone.value == 51
    assert state.power_w == 3.0
    machine.platform.close()


def test_blocked_control_temperature_is_unknown(tmp_path: Path) -> None:
    machine = RealMachine(tmp_path, f"{ZONE.format(8)}/temp")
    state = machine.sense()
    assert state.hottest is None
    (deciding,) = state.by_role(Role.CONTROL)
    assert (deciding.name, deciding.status) == ("zone/tj-thermal", ReadingStatus.STALE)
    assert "zone/tj-thermal" in state.problem
    machine.platform.close()  # does not wait for the pipe
    machine.until_nothing_hangs()


def test_an_empty_file_of_a_real_machine(tmp_path: Path) -> None:
    machine = RealMachine(tmp_path)
    (tmp_path / ZONE.format(8) / "temp").write_bytes(b"")
    with machine.platform as platform:
        reading = platform.sense(time.monotonic_ns()).named("zone/tj-thermal")
    assert reading is not None
    assert (reading.status, reading.problem) == (
        ReadingStatus.INVALID,
        "expected a number, got an empty file",
    )


def test_closing_the_platform_releases_a_blocked_recorded_file(tmp_path: Path) -> None:
    file = write_recording(tmp_path / "r.jsonl", (0, {"a": UnreadableFile(None)}))
    platform = open_platform([FOLDER], RecordedFiles(file), "generic")
    platform.close()
    with pytest.raises(OSError) as caught:
        platform.files.read("a")
    assert caught.value.errno == errno.ECANCELED
