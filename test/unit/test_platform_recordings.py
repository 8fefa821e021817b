"""The readings of every shipped recording: control temperature, power, powered-off units."""

from __future__ import annotations

import itertools
import runpy
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edge_inference.core.platform_state import PlatformState
from edge_inference.core.reading import ReadingStatus, Role
from edge_inference.governor.battery_budget import BatteryBudget, BatteryPlan
from edge_inference.platforms.board_files import find_board, load_boards
from edge_inference.platforms.platform import Platform, open_platform
from edge_inference.platforms.recording.recording import read_recording
from edge_inference.platforms.recording.replay import RecordedFiles
from edge_inference.platforms.recording.scope import make_scope
from edge_inference.platforms.system_files import SystemFiles

ROOT = Path(__file__).parents[2]
RECORDINGS = ROOT / "test" / "platform_recordings"
FILES = sorted(RECORDINGS.glob("*.jsonl"))
LARGEST = 60_000
SCOPE = make_scope(find_board("pc", load_boards([ROOT / "config" / "platforms"])))


class Player:
    """A platform that replays a recording with a manual clock."""

    def __init__(self, name: str) -> None:
        self.now_ns = 0
        self.files = RecordedFiles(RECORDINGS / f"{name}.jsonl", clock=lambda: self.now_ns)
        self.platform = self.opened(self.files)

    def opened(self, files: SystemFiles) -> Platform:
        return open_platform([ROOT / "config" / "platforms"], files, clock=lambda: self.now_ns)

    def at(self, seconds: float) -> PlatformState:
        self.now_ns = round(seconds * 1e9)
        self.state = self.platform.sense(self.now_ns)
        return self.state


@pytest.fixture
def player(request: pytest.FixtureRequest) -> Iterator[Player]:
    made = Player(request.param)
    yield made
    made.platform.close()
    made.files.close()


@dataclass(frozen=True)
class Expected:
    """The expected readings at the start of a recording."""

    board: str
    hottest: str = ""
    temperature: float | None = None
    throttle: float | None = None
    mode: str = ""
    power_w: float | None = None
    rails_sum_w: float | None = None
    gated: set[str] = field(default_factory=set)
    invalid: set[str] = field(default_factory=set)
    lacking: set[str] = field(default_factory=set)
    problem: str = ""


CV_UNITS = {f"zone/cv{number}-thermal" for number in range(3)}
JETPACK_5_UNITS = {"zone/GPU-therm", "zone/CV0-therm", "zone/CV1-therm", "zone/CV2-therm"}
PMIC = {"zone/PMIC-Die"}
# Files of a three-channel chip that are not rails, and unconnected inputs.
NO_RAILS = {"rail/NC", "rail/sum of shunt voltages"}

EXPECTED = {
    "jetson_nano": Expected(
        "jetson_nano", "zone/CPU-therm", 36.5, 97, "MAXN", 3.108, invalid=PMIC, lacking=NO_RAILS
    ),
    "agx_xavier": Expected(
        "jetson_xavier",
        "zone/CPU-therm",
        38,
        86,
        "MODE_15W",
        rails_sum_w=1.221 + 1.527 + 2.137 + 0 + 0.610 + 2.419,
        invalid=PMIC,
    ),
    "xavier_nx": Expected(
        "jetson_xavier",
        "zone/CPU-therm",
        43.5,
        90.5,
        "MODE_10W_2CORE",
        4.968 * 1.144,
        invalid=PMIC,
        lacking=NO_RAILS,
    ),
    "orin_nano": Expected(
        "jetson_orin", "zone/tj-thermal", 47, 99, "15W", 5.040 * 1.040, gated=CV_UNITS
    ),
    "orin_nx": Expected(
        "jetson_orin",
        "zone/tj-thermal",
        49.5,
        99,
        "25W",
        5.040 * 1.480,
        gated=CV_UNITS,
        lacking=NO_RAILS,
    ),
    "orin_nx_heats_up": Expected(
        "jetson_orin", "zone/tj-thermal", 45, 99, "25W", 5.040 * 1.440, gated=CV_UNITS
    ),
    "agx_orin": Expected(
        "jetson_orin",
        "zone/tj-therm",
        48.218,
        99,
        "MODE_30W",
        rails_sum_w=19.880 * 0.160 + 19.880 * 0.080 + 5.024 * 0.624,
        gated=JETPACK_5_UNITS,
        lacking=NO_RAILS,
    ),
    "agx_thor": Expected("jetson_thor", "zone/tj-thermal", 52.781, 109, "120W", 42.0274),
    "pc": Expected("pc", "zone/x86_pkg_temp", 46),
    "laptop": Expected(
        "pc",
        "zone/x86_pkg_temp",
        53,
        invalid={"rapl/package-0", "rapl/psys", "power/rails_sum"},
        lacking={"battery/hidpp_battery_0/charge"},
    ),
    "two_batteries": Expected(
        "pc", "zone/x86_pkg_temp", 49, invalid={"rapl/package-0", "power/rails_sum"}
    ),
    "raspberry_pi": Expected("raspberry_pi", "zone/cpu-thermal", 56.1),
    "server": Expected("pc", "temp/k10temp/Tctl", 58.25),
    "bare_machine": Expected("generic", problem="this machine has no control temperature"),
}


def test_every_recording_has_expected_readings() -> None:
    assert [file.stem for file in FILES] == sorted(EXPECTED)


@pytest.mark.parametrize(
    ("player", "expected"), list(EXPECTED.items()), ids=list(EXPECTED), indirect=["player"]
)
def test_recorded_board_gives_expected_readings(player: Player, expected: Expected) -> None:
    state = player.at(0)
    assert state.board == expected.board
    assert state.mode == expected.mode
    assert state.problem.startswith(expected.problem)
    assert bool(state.problem) is bool(expected.problem)
    hottest = state.hottest
    assert (hottest.name if hottest else "") == expected.hottest
    if hottest is not None:
        assert (hottest.value, hottest.throttle) == (expected.temperature, expected.throttle)
    assert state.power_w == pytest.approx(expected.power_w)
    sums = [each.value for each in state.by_role(Role.RAILS_SUM) if each.status is ReadingStatus.OK]
    assert sums == ([] if expected.rails_sum_w is None else [pytest.approx(expected.rails_sum_w)])
    found = {status: _names(state, status) for status in ReadingStatus}
    assert found[ReadingStatus.GATED] == expected.gated
    assert found[ReadingStatus.INVALID] == expected.invalid
    assert found[ReadingStatus.ABSENT] == set()
    assert expected.lacking & {each.name for each in state.readings} == set()


@pytest.mark.parametrize("player", sorted(EXPECTED), indirect=True)
def test_idle_devices_are_not_throttling(player: Player) -> None:
    assert [each.name for each in player.at(0).by_role(Role.THROTTLE) if each.value] == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_shipped_recording_is_small_and_synthetic(file: Path) -> None:
    recording = read_recording(file)
    assert recording.header.synthetic
    assert "values are examples" in recording.header.note
    assert file.stat().st_size < LARGEST


def test_recordings_match_the_build_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(RECORDINGS)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    written = dict(runpy.run_path(str(RECORDINGS / "build.py"))["recordings"]())
    assert sorted(written) == sorted(EXPECTED)
    assert [file.stem for file in FILES if file.read_text() != written[file.stem]] == []


class Witness:
    """Files that record which paths are read."""

    def __init__(self, files: SystemFiles) -> None:
        self._files = files
        self.read_paths: set[str] = set()

    def read(self, path: str) -> bytes:
        self.read_paths.add(path)
        return self._files.read(path)

    def list(self, path: str) -> list[str]:
        return self._files.list(path)

    def modified_ns(self, path: str) -> int:
        return self._files.modified_ns(path)


@pytest.mark.parametrize("player", sorted(EXPECTED), indirect=True)
def test_every_file_that_sensors_read_is_recorded(player: Player) -> None:
    witness = Witness(player.files)
    with player.opened(witness) as platform:
        platform.sense(0)
    assert len(witness.read_paths) > 3
    assert {path for path in witness.read_paths if not SCOPE.includes(path)} == set()


@pytest.mark.parametrize("player", sorted(EXPECTED), indirect=True)
def test_every_recorded_file_matches_the_patterns(player: Player) -> None:
    (first, *_) = read_recording(RECORDINGS / f"{_name(player)}.jsonl").samples
    assert {path for path in first.files if not SCOPE.includes(path)} == set()


@pytest.mark.parametrize("player", ["orin_nx_heats_up"], indirect=True)
def test_warming_recording_warms_up_and_cools_down(player: Player) -> None:
    course = {}
    for sample in range(121):
        state = player.at(sample / 2)
        assert state.problem == ""
        hottest, power = state.hottest, state.power_w
        assert hottest is not None and hottest.name == "zone/tj-thermal"
        assert power is not None
        course[sample / 2] = (hottest.value, power)
    temperatures = [value for value, _ in course.values()]
    assert max(temperatures) == 84
    assert [course[moment][0] for moment in (0, 2, 34)] == [45, 45, 84]
    assert 49 < temperatures[-1] < 51
    # It rises, then falls, without a step that is impossible for a real die.
    highest = temperatures.index(84)
    assert temperatures[: highest + 1] == sorted(temperatures[: highest + 1])
    assert temperatures[highest:] == sorted(temperatures[highest:], reverse=True)
    assert all(abs(b - a) < 2 for a, b in itertools.pairwise(temperatures))
    assert course[1][1] < 8 < 17 < course[3][1] < course[33][1]
    assert course[35][1] < 9
    assert player.files.has_ended


@pytest.mark.parametrize("player", ["pc"], indirect=True)
def test_energy_counter_gives_power_over_a_wrap(player: Player) -> None:
    assert player.at(0).named("rapl/package-0").status is ReadingStatus.STALE  # type: ignore[union-attr]
    for moment in (0.5, 1.0, 1.5, 2.0):
        state = player.at(moment)
        found = {name: state.named(name) for name in ("rapl/package-0", "cpu/load")}
        values = [each.value if each else None for each in found.values()]
        assert values == [pytest.approx(20, rel=1e-3), pytest.approx(0.5)]
        (total,) = state.by_role(Role.RAILS_SUM)
        assert total.value == pytest.approx(20, rel=1e-3)  # the cores are part of the package


@pytest.mark.parametrize("player", ["laptop"], indirect=True)
def test_laptop_battery_is_distinguished_from_the_mouse(player: Player) -> None:
    state = player.at(0)
    found = {each.role: each.value for each in state.readings if each.name.startswith("battery/")}
    assert found == {
        Role.BATTERY_CHARGE: 0.58,
        Role.BATTERY_VOLTAGE: 15.512,
        Role.BATTERY_CURRENT: pytest.approx(14.25 / 15.512),
        Role.BATTERY_POWER: 14.25,
        Role.BATTERY_ENERGY: pytest.approx(31.4 * 3600),
        Role.BATTERY_FULL_ENERGY: pytest.approx(54.01 * 3600),
        Role.BATTERY_REMAINING_CHARGE: pytest.approx(31.4 / 15.44 * 3600),
        Role.BATTERY_FULL_CHARGE: pytest.approx(54.01 / 15.44 * 3600),
        Role.BATTERY_DESIGN_VOLTAGE: 15.44,
        Role.BATTERY_STATUS: 2.0,
    }
    assert player.at(2).named("battery/BAT0/energy").value == pytest.approx(31.392 * 3600)  # type: ignore[union-attr]


@pytest.mark.parametrize("player", ["two_batteries"], indirect=True)
def test_two_batteries_are_two_devices(player: Player) -> None:
    def values(role: Role) -> dict[str, float | None]:
        return {each.name: each.value(role) for each in player.state.batteries}

    player.at(0)
    assert values(Role.BATTERY_CHARGE) == {"battery/BAT0": 0.1, "battery/BAT1": 0.9}
    assert values(Role.BATTERY_POWER) == {"battery/BAT0": 0.0, "battery/BAT1": 12.1}
    plan = BatteryBudget().plan(player.state, 0, 60.0, 0.0)
    assert plan.budget_w == pytest.approx(2.4 + 5.8 * 11.1)
    player.at(1.0)  # with a charger
    assert values(Role.BATTERY_POWER) == {"battery/BAT0": -20.0, "battery/BAT1": 0.0}
    assert values(Role.BATTERY_STATUS) == {"battery/BAT0": 1.0, "battery/BAT1": 3.0}
    assert BatteryBudget().plan(player.state, 0, 60.0, 0.0) == BatteryPlan(None, 60.0)
    player.at(2.0)  # the second one is taken out
    assert [each.is_absent for each in player.state.batteries] == [False, True]
    assert values(Role.BATTERY_POWER) == {"battery/BAT0": -20.0, "battery/BAT1": None}


def _names(state: PlatformState, status: ReadingStatus) -> set[str]:
    return {each.name for each in state.readings if each.status is status}


def _name(player: Player) -> str:
    heads = {read_recording(file).header: file.stem for file in FILES}
    return heads[player.files.header]
