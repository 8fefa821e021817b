"""The set-up scripts: choice of Python and ROS 2, repeated builds, counts of test results."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tree import ROOT

sys.path.insert(0, str(ROOT / "scripts"))
import package_build
import set_up
import tiers
import workspace


@pytest.mark.parametrize(
    ("version", "sourced", "suitable"),
    [
        ((3, 9), False, False),
        ((3, 10), False, True),
        ((3, 12), False, True),
        ((3, 13), False, False),
        ((3, 13), True, True),
        ((3, 9), True, False),
    ],
)
def test_suitable_pythons(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, int], sourced: bool, suitable: bool
) -> None:
    monkeypatch.setattr(set_up, "ros_is_sourced", lambda: sourced)
    assert set_up.is_suitable(version) is suitable


def test_an_interpreter_that_does_not_start_has_no_version() -> None:
    assert set_up.python_version("/nowhere/python3.12") is None
    assert set_up.python_version(sys.executable) == sys.version_info[:2]


@pytest.mark.parametrize(
    ("requested", "sourced", "expected"),
    [
        (None, False, ("kilted", False)),
        ("jazzy", False, ("jazzy", False)),
        (None, True, ("humble", True)),
        ("humble", True, ("humble", True)),
        ("jazzy", True, ("jazzy", False)),
    ],
)
def test_choice_of_ros(
    monkeypatch: pytest.MonkeyPatch,
    requested: str | None,
    sourced: bool,
    expected: tuple[str, bool],
) -> None:
    monkeypatch.setattr(workspace.platform, "machine", lambda: "x86_64")
    monkeypatch.setenv("ROS_DISTRO", "humble" if sourced else "")
    ros = workspace.choose_ros(requested, sourced=sourced)
    assert (ros.distro, ros.sourced) == expected


def test_a_distribution_without_wheels_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(workspace.SetUpError, match=r"ROS=foxy: .*jazzy, kilted"):
        workspace.choose_ros("foxy", sourced=False)
    monkeypatch.setattr(workspace.platform, "machine", lambda: "aarch64")
    with pytest.raises(workspace.SetUpError, match=r"aarch64.*source your distribution"):
        workspace.choose_ros(None, sourced=False)


@pytest.mark.parametrize(
    ("command", "environment"),
    [
        ("test", ".venv"),
        ("test TIER=unit", ".venv"),
        ("test ROS=jazzy", ".venv-jazzy"),
        ("check", ".venv"),
        ("demo", ".venv"),
        ("set-up", ".venv"),
        ("benchmark NAME=precision", ".venv"),
        ("benchmark NAME=optimize", ".venv-optimize"),
        ("benchmark NAME=optimize_pruning", ".venv-optimize"),
        ("test TIER=optimize", ".venv-optimize"),
        ("test TIER=optimize ROS=kilted", ".venv-optimize"),
        ("test TIER=optimize ROS=jazzy", ".venv-optimize-jazzy"),
        ("set-up-optimize", ".venv-optimize"),
    ],
)
def test_only_the_environment_for_optimizing_has_torch(command: str, environment: str) -> None:
    done = subprocess.run(
        ["make", "--dry-run", *command.split()],
        cwd=ROOT,
        # Not the variables of the make that runs these tests.
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    (line,) = [line for line in done.stdout.splitlines() if "set_up.py" in line]
    words = line.partition("set_up.py")[2].split()
    assert words[0] == environment
    assert ("optimize" in words) == environment.startswith(".venv-optimize")


@pytest.fixture
def source_tree(tmp_path: Path) -> Path:
    for name in ("CMakeLists.txt", "msg/A.msg", "edge_inference/a.py", "models/m/model.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("one")
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "text", "steps"),
    [
        ("msg/A.msg", "two", {"generated", "linked"}),
        ("msg/B.msg", "one", {"generated", "linked"}),
        ("action/A.action", "one", {"generated", "linked"}),
        ("CMakeLists.txt", "two", {"generated", "linked"}),
        ("edge_inference/a.py", "two", set()),
        ("edge_inference/b.py", "one", {"linked"}),
        ("models/m/weights.onnx", "one", {"linked"}),
        ("edge_inference/__pycache__/a.pyc", "one", set()),
        ("README.md", "one", set()),
    ],
)
def test_steps_that_a_change_repeats(
    source_tree: Path, changed: str, text: str, steps: set[str]
) -> None:
    build = package_build.PackageBuild(source_tree, source_tree / ".venv", sourced=False, run=print)
    before = {step: build.fingerprint(step) for step in ("generated", "linked")}
    (source_tree / changed).parent.mkdir(exist_ok=True)
    (source_tree / changed).write_text(text)
    assert {step for step in before if build.fingerprint(step) != before[step]} == steps


def test_links_follow_the_source_tree(source_tree: Path) -> None:
    """A new file is linked, a generated one is replaced, and the link of a removed one is gone."""
    venv = source_tree / ".venv"
    package = venv / "lib" / "python3.11" / "site-packages" / "edge_inference"
    (package / "msg").mkdir(parents=True)
    (package / "a.py").write_text("generated")
    (package / "msg" / "_a.py").write_text("generated")
    build = package_build.PackageBuild(source_tree, venv, sourced=False, run=print)
    build.link()
    assert (package / "a.py").resolve() == source_tree / "edge_inference" / "a.py"
    assert (package / "msg" / "_a.py").read_text() == "generated"
    model = venv / "share" / "edge_inference" / "models" / "m" / "model.yaml"
    assert model.resolve() == source_tree / "models" / "m" / "model.yaml"
    (source_tree / "edge_inference" / "a.py").rename(source_tree / "edge_inference" / "b.py")
    build.link()
    assert sorted(file.name for file in package.iterdir()) == ["b.py", "msg"]


def test_messages_are_never_copied_over_a_link(source_tree: Path) -> None:
    venv = source_tree / ".venv"
    package = venv / "lib" / "python3.11" / "site-packages" / "edge_inference"
    package.mkdir(parents=True)
    commands: list[list[str]] = []

    def cmake(command: list[str], **options: object) -> None:
        assert not package.exists()
        commands.append(command)
        (venv / "build").mkdir(exist_ok=True)
        if "--install" in command:
            package.mkdir()

    build = package_build.PackageBuild(source_tree, venv, sourced=False, run=cmake)
    build.link()
    build.generate("messages")
    assert [command[1] for command in commands] == ["-G", "--build", "--install"]
    assert (source_tree / "edge_inference" / "a.py").read_text() == "one"


def test_outcomes_in_a_report_are_counted(tmp_path: Path) -> None:
    report = tmp_path / "unit.xml"
    report.write_text(
        '<testsuites><testsuite tests="6" failures="1" errors="1" skipped="2">'
        '<testcase><skipped message="no camera"/></testcase>'
        '<testcase><skipped message="no camera"/></testcase></testsuite></testsuites>'
    )
    result = tiers.read_report("unit", report)
    assert (result.passed, result.failed, result.skipped) == (2, 2, 2)
    assert result.reasons == ["no camera"]
    assert "2 passed, 2 failed, 2 skipped" in result.format_line()


def test_an_absent_report_has_no_outcomes(tmp_path: Path) -> None:
    result = tiers.read_report("unit", tmp_path / "absent.xml")
    assert (result.passed, result.failed, result.skipped) == (0, 0, 0)
