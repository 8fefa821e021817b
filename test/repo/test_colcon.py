"""A plain ``colcon build`` in a workspace, as on a robot, and one of a user's package above it."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

import pytest

from tree import ROOT, copy_to, entry_points_of_extension

sys.path.insert(0, str(ROOT / "scripts"))
import package_build

#: The folders of the installations, with the options of `colcon build`.
OPTIONS = {"install_copied": (), "install_linked": ("--symlink-install",)}
PROBE = """
import edge_inference.action, edge_inference.core, edge_inference.msg, edge_inference.errors
message = edge_inference.msg.TensorList(model="nanodet")
edge_inference.action.Listen.Goal(timeout_s=5.0)
print(edge_inference.errors.__file__)
print(edge_inference.msg.__file__)
print(message.model)
"""


def underlay() -> dict[str, str]:
    """Return the environment of a shell that has sourced ROS 2 but not this checkout."""
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


def colcon(workspace: Path, *arguments: str, below: Path | None = None) -> str:
    """Run colcon in a workspace, after sourcing the one below, and return its output."""
    command = ["colcon", "--log-base", "log", *arguments]
    if below is not None:
        command = ["bash", "-c", f'. {below}/setup.bash && "$@"', "bash", *command]
    done = subprocess.run(
        command,
        cwd=workspace,
        env=dict(underlay(), COLCON_HOME=str(workspace / "home")),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


def build_fingerprint() -> str:
    """Digest what compiled messages depend on: their sources, the build files and the tools."""
    build = package_build.PackageBuild(ROOT, Path(sys.prefix), sourced=False, run=print)
    tools = sorted(f"{package.name} {package.version}" for package in distributions())
    parts = (build.fingerprint("generated"), underlay()["AMENT_PREFIX_PATH"], sys.version, *tools)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@pytest.fixture(scope="module")
def source() -> Iterator[Path]:
    """A workspace that contains only a copy of this package.

    The compiled files are kept for the next run, which compiles again only if an input changed.
    """
    pytest.importorskip("colcon_core", reason="colcon is not installed")
    folder = ROOT / ".cache" / "colcon" / Path(sys.prefix).name
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "made_from").open("a+") as stamp:
        fcntl.flock(stamp, fcntl.LOCK_EX)  # one run at a time
        stamp.seek(0)
        fingerprint = build_fingerprint()
        stale = [] if stamp.read() == fingerprint else [folder / "build"]
        for old in (*stale, folder / "src", folder / "log", *folder.glob("install_*")):
            shutil.rmtree(old, ignore_errors=True)
        # The cache still has the option of the last build, which was a linked one.
        (folder / "build" / "edge_inference" / "CMakeCache.txt").unlink(missing_ok=True)
        stamp.truncate(0)
        stamp.write(fingerprint)
        stamp.flush()
        copy_to(folder / "src" / "edge_inference")
        yield folder


@pytest.fixture(scope="module", params=list(OPTIONS), ids=["copied", "linked"])
def install(request: pytest.FixtureRequest, source: Path) -> Path:
    """Build the workspace; the second installation uses the files that the first compiled."""
    base = request.param
    # CMake cannot replace a folder, which the first build has copied, with a link.
    shutil.rmtree(source / "build" / "edge_inference" / "ament_cmake_python", ignore_errors=True)
    colcon(source, "build", "--install-base", base, *OPTIONS[base])
    return source / base


def in_workspace(install: Path, command: str) -> str:
    """Run a shell command after sourcing the workspace, in a folder outside of the source tree."""
    done = subprocess.run(
        ["bash", "-c", f". {install}/setup.bash && {command}"],
        cwd=install.parent / "log",
        env=underlay(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def test_colcon_identifies_the_package_as_ament_cmake(source: Path) -> None:
    assert colcon(source, "list").split() == [
        "edge_inference",
        "src/edge_inference",
        "(ros.ament_cmake)",
    ]


def test_modules_are_linked_only_with_symlink_install(
    install: Path, request: pytest.FixtureRequest
) -> None:
    is_linked = "linked" in request.node.callspec.id
    assert [file.is_symlink() for file in install.rglob("errors.py")] == [is_linked]


def test_messages_and_modules_come_from_the_workspace(install: Path) -> None:
    module, messages, model = in_workspace(install, f"python -c '{PROBE}'").splitlines()
    package = str(install / "edge_inference")
    assert module.startswith(package)
    assert messages.startswith(package)
    assert model == "nanodet"


def test_every_executable_is_in_the_folder_of_ros2_run(install: Path) -> None:
    declared = re.search(r"set\(executables ([\w ]+)\)", (ROOT / "CMakeLists.txt").read_text())
    assert declared is not None
    folder = install / "edge_inference" / "lib" / "edge_inference"
    for name in ["edge-inference", *declared[1].split()]:
        assert os.access(folder / name, os.X_OK), name
        # The Python that was active during the build, not the one that is active later.
        assert (folder / name).read_text().startswith(f"#!{sys.prefix}/bin/python"), name


def test_the_command_runs_in_the_workspace(install: Path) -> None:
    assert "usage" in in_workspace(install, "edge-inference --help").lower()


@pytest.mark.parametrize("folder", ["config", "launch", "models"])
def test_data_is_in_the_share_folder(install: Path, folder: str) -> None:
    share = install / "edge_inference" / "share" / "edge_inference"
    source = ROOT / folder
    for file in source.rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            assert (share / folder / file.relative_to(source)).is_file()


@pytest.fixture(scope="module")
def overlay(install: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the package of test/extension_package in a workspace above, copied or linked too."""
    workspace = tmp_path_factory.mktemp("overlay")
    extension = install.parent / "src" / "edge_inference" / "test" / "extension_package"
    shutil.copytree(extension, workspace / "src" / "my_robot")
    colcon(workspace, "build", *OPTIONS[install.name], below=install)
    return workspace / "install"


def test_what_a_package_of_an_overlay_adds_is_found(overlay: Path) -> None:
    lines = in_workspace(overlay, "edge-inference extensions --json")
    found = {(each["group"], each["name"]) for each in map(json.loads, lines.splitlines())}
    assert found == entry_points_of_extension()


def test_the_backend_of_an_overlay_runs_a_model(overlay: Path) -> None:
    check = "edge-inference models check efficientnet_lite0 --backend opencv"
    assert "self-check: passed" in in_workspace(overlay, check)
