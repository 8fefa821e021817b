"""Decisions of the governor when sensors report wrong values, fail or vanish."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_inference.core.directives.directive import DirectiveLevel
from edge_inference.core.platform_state import PlatformState
from edge_inference.core.reading import ReadingStatus, Role
from edge_inference.governor.governor import Governor
from edge_inference.governor.settings import GovernorSettings
from edge_inference.governor.state import GovernorDecision
from edge_inference.platforms.platform import open_platform
from edge_inference.platforms.recording.recording import UnreadableFile, read_recording
from fake_system_files import FakeSystemFiles
from governor_cases import node

ROOT = Path(__file__).parents[2]
RECORDINGS = ROOT / "test" / "platform_recordings"
PERIOD_NS = 500_000_000
START_NS = 1_000_000_000_000

Files = dict[str, bytes | int]


class Robot:
    """A recorded machine with changeable files, its sensors and its governor."""

    def __init__(self, name: str, preset: str = "ramp") -> None:
        content = read_recording(RECORDINGS / f"{name}.jsonl").samples[0].files
        self.files: Files = {
            path: each.errno if isinstance(each, UnreadableFile) else each
            for path, each in content.items()
        }
        self.now_ns = START_NS
        self.platform = open_platform(
            [ROOT / "config" / "platforms"], FakeSystemFiles(self.files), clock=lambda: self.now_ns
        )
        self.governor = Governor(GovernorSettings(preset=preset))

    def sample(self, seconds: float = 0.5) -> tuple[PlatformState, GovernorDecision]:
        """Sample and decide twice a second for some seconds; return the last of both."""
        for _ in range(round(seconds * 1e9 / PERIOD_NS)):
            self.now_ns += PERIOD_NS
            state = self.platform.sense(self.now_ns)
            decision = self.governor.decide(state, [node()], self.now_ns)
        return state, decision

    def folders(self, name: str) -> list[str]:
        """Return the folders of a zone of this type or a chip; some are listed twice."""
        return [
            path.rpartition("/")[0]
            for path, content in self.files.items()
            if path.endswith(("/type", "/name")) and content == f"{name}\n".encode()
        ]

    def write(self, file: str, content: bytes | int, name: str) -> None:
        for folder in self.folders(name):
            self.files[f"{folder}/{file}"] = content

    def remove(self, name: str) -> None:
        for folder in self.folders(name):
            for path in [each for each in self.files if each.startswith(f"{folder}/")]:
                del self.files[path]


def statuses(state: PlatformState) -> dict[str, ReadingStatus]:
    return {each.name: each.status for each in state.readings}


@pytest.mark.parametrize("preset", ["ramp", "predictive"])
@pytest.mark.parametrize(
    ("name", "tamper", "reading", "status"),
    [
        (
            "orin_nx",
            lambda robot: robot.write("temp", errno.EAGAIN, "gpu-thermal"),
            "zone/gpu-thermal",
            ReadingStatus.GATED,
        ),
        (
            "orin_nx",
            lambda robot: robot.write("temp", b"-256000\n", "gpu-thermal"),
            "zone/gpu-thermal",
            ReadingStatus.GATED,
        ),
        ("jetson_nano", lambda robot: None, "zone/PMIC-Die", ReadingStatus.INVALID),
        (
            "orin_nx",
            lambda robot: robot.write("temp", b"hot\n", "gpu-thermal"),
            "zone/gpu-thermal",
            ReadingStatus.INVALID,
        ),
        (
            "orin_nx",
            lambda robot: robot.write("temp", b"", "soc0-thermal"),
            "zone/soc0-thermal",
            ReadingStatus.INVALID,
        ),
        (
            "orin_nx",
            lambda robot: robot.write("curr1_input", b"-90000\n", "ina3221"),
            "rail/VDD_IN",
            ReadingStatus.INVALID,
        ),
        (
            "orin_nx",
            lambda robot: robot.remove("ina3221"),
            "rail/VDD_IN",
            ReadingStatus.ABSENT,
        ),
    ],
    ids=["gated", "minus 256", "PMIC at 100", "garbage", "empty", "negative rail", "hwmon gone"],
)
def test_fault_of_another_sensor_keeps_the_level(
    name: str, tamper: Callable[[Robot], None], reading: str, status: ReadingStatus, preset: str
) -> None:
    robot = Robot(name, preset)
    robot.sample(5)
    tamper(robot)
    state, decision = robot.sample(40)
    assert statuses(state)[reading] is status
    assert decision.level is DirectiveLevel.FULL
    assert decision.severity != "error"


@pytest.mark.parametrize("preset", ["ramp", "predictive"])
@pytest.mark.parametrize("content", [b"hot\n", b"", b"-256000\n", b"500000\n", errno.EIO])
def test_loss_of_control_temperatures_gives_the_safe_level_in_five_seconds(
    preset: str, content: bytes | int
) -> None:
    robot = Robot("orin_nx", preset)
    _, decision = robot.sample(5)
    assert decision.level is DirectiveLevel.FULL
    for path in list(robot.files):
        if "/thermal_zone" in path and path.endswith("/temp"):
            robot.files[path] = content
    state, decision = robot.sample(5)
    assert [each.value for each in state.by_role(Role.CONTROL) if each.value is not None] == []
    assert decision.level is DirectiveLevel.FAILSAFE
    assert decision.severity == "error"


def test_renumbered_chip_is_the_same_sensor() -> None:
    robot = Robot("orin_nx")
    before, _ = robot.sample(5)
    (number,) = {each.rpartition("hwmon")[2] for each in robot.folders("ina3221")}
    for path in list(robot.files):
        if f"hwmon{number}/" in path:
            robot.files[path.replace(f"hwmon{number}/", "hwmon77/")] = robot.files.pop(path)
    after, decision = robot.sample(40)
    assert after.power_w == before.power_w
    assert statuses(after)["rail/VDD_IN"] is ReadingStatus.OK
    assert decision.level is DirectiveLevel.FULL


def test_jump_of_one_sample_is_ignored() -> None:
    robot = Robot("orin_nx")
    robot.sample(5)
    before = robot.files[f"{robot.folders('tj-thermal')[0]}/temp"]
    robot.write("temp", b"99000\n", "tj-thermal")
    state, decision = robot.sample()
    assert statuses(state)["zone/tj-thermal"] is ReadingStatus.INVALID
    assert decision.level is DirectiveLevel.FULL
    robot.write("temp", before, "tj-thermal")
    assert robot.sample()[1].level is DirectiveLevel.FULL


def test_heat_throttles_despite_faults() -> None:
    robot = Robot("orin_nx")
    robot.sample(5)
    for degrees in (60, 70, 78):
        robot.write("temp", f"{degrees}000\n".encode(), "tj-thermal")
        _, decision = robot.sample(2)
    assert decision.level is DirectiveLevel.REDUCED
