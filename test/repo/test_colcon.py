"""Plain ``colcon build`` in a workspace, as on a robot, and what it installs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tree import ROOT, copy_to

PROBE = """
import edge_inference.action, edge_inference.core, edge_inference.msg, edge_inference.errors
message = edge_inference.msg.TensorList(model="nanodet")
edge_inference.action.Listen.Goal(timeout_s=5.0)
print(edge_inference.errors.__file__)
print(edge_inference.msg.__file__)
print(message.model)
"""


def underlay() -> dict[str, str]:
    """Return the environment of a shell that has sourced ROS 2 and nothing of this checkout."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    outside = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p != str(ROOT)]
    if any(outside):
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, outside))
    prefixes = [sys.prefix, *environment.get("AMENT_PREFIX_PATH", "").split(os.pathsep)]
    prefixes = list(dict.fromkeys(filter(None, prefixes)))
    environment["AMENT_PREFIX_PATH"] = os.pathsep.join(prefixes)
    environment["CMAKE_PREFIX_PATH"] = environment["AMENT_PREFIX_PATH"]
    environment["PATH"] = f"{sys.prefix}/bin{os.pathsep}{os.environ['PATH']}"
    environment["VIRTUAL_ENV"] = sys.prefix
    return environment


def colcon(workspace: Path, *arguments: str) -> str:
    """Run colcon in a workspace and return what it printed."""
    done = subprocess.run(
        ["colcon", "--log-base", "log", *arguments],
        cwd=workspace,
        env=dict(underlay(), COLCON_HOME=str(workspace / "home")),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


@pytest.fixture(scope="module", params=[(), ("--symlink-install",)], ids=["copied", "linked"])
def workspace(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a copy of this package in an empty workspace."""
    pytest.importorskip("colcon_core", reason="colcon is not installed")
    folder = tmp_path_factory.mktemp("workspace")
    copy_to(folder / "src" / "edge_inference")
    colcon(folder, "build", *request.param)
    return folder


def in_workspace(workspace: Path, command: str) -> str:
    """Run a shell command after sourcing the workspace, outside of any source tree."""
    done = subprocess.run(
        ["bash", "-c", f". ../install/setup.bash && {command}"],
        cwd=workspace / "log",
        env=underlay(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def test_colcon_takes_the_package_for_ament_cmake(workspace: Path) -> None:
    assert colcon(workspace, "list").split() == [
        "edge_inference",
        "src/edge_inference",
        "(ros.ament_cmake)",
    ]


def test_messages_and_modules_come_from_the_workspace(workspace: Path) -> None:
    module, messages, model = in_workspace(workspace, f"python -c '{PROBE}'").splitlines()
    install = str(workspace / "install" / "edge_inference")
    assert module.startswith(install)
    assert messages.startswith(install)
    assert model == "nanodet"


def test_every_executable_is_where_ros2_run_looks(workspace: Path) -> None:
    declared = re.search(r"set\(executables ([\w ]+)\)", (ROOT / "CMakeLists.txt").read_text())
    assert declared is not None
    folder = workspace / "install" / "edge_inference" / "lib" / "edge_inference"
    for name in ["edge-inference", *declared[1].split()]:
        assert os.access(folder / name, os.X_OK), name


def test_the_command_answers_in_the_workspace(workspace: Path) -> None:
    assert "usage" in in_workspace(workspace, "edge-inference --help").lower()


@pytest.mark.parametrize("folder", ["config", "launch", "models"])
def test_data_is_in_the_share_folder(workspace: Path, folder: str) -> None:
    share = workspace / "install" / "edge_inference" / "share" / "edge_inference"
    source = ROOT / folder
    for file in source.rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            assert (share / folder / file.relative_to(source)).is_file()
