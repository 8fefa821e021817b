"""Plain ``colcon build`` in a workspace, as on a robot, and what it installs."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

import pytest

from tree import ROOT, copy_to

sys.path.insert(0, str(ROOT / "scripts"))
import package_build

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


def made_from() -> str:
    """Digest what compiled messages depend on: their sources, how they are built, and the tools."""
    build = package_build.PackageBuild(ROOT, Path(sys.prefix), sourced=False, run=print)
    tools = sorted(f"{found.name} {found.version}" for found in distributions())
    parts = (build.fingerprint("generated"), underlay()["AMENT_PREFIX_PATH"], sys.version, *tools)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@pytest.fixture(scope="module")
def source() -> Iterator[Path]:
    """A workspace with nothing but a copy of this package in it.

    What it has compiled is kept for the next run, which compiles again only where that changed.
    """
    pytest.importorskip("colcon_core", reason="colcon is not installed")
    folder = ROOT / ".cache" / "colcon" / Path(sys.prefix).name
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "made_from").open("a+") as mark:
        fcntl.flock(mark, fcntl.LOCK_EX)  # one run at a time
        mark.seek(0)
        digest = made_from()
        stale = [] if mark.read() == digest else [folder / "build"]
        for made in (*stale, folder / "src", folder / "log", *folder.glob("install_*")):
            shutil.rmtree(made, ignore_errors=True)
        # It says that the last build was a linked one.
        (folder / "build" / "edge_inference" / "CMakeCache.txt").unlink(missing_ok=True)
        mark.truncate(0)
        mark.write(digest)
        mark.flush()
        copy_to(folder / "src" / "edge_inference")
        yield folder


@pytest.fixture(scope="module", params=[(), ("--symlink-install",)], ids=["copied", "linked"])
def install(request: pytest.FixtureRequest, source: Path) -> Path:
    """Build the workspace; the second way of installing takes what the first has compiled."""
    base = f"install_{request.param_index}"
    # CMake cannot put a link where the first build has copied a folder to.
    shutil.rmtree(source / "build" / "edge_inference" / "ament_cmake_python", ignore_errors=True)
    colcon(source, "build", "--install-base", base, *request.param)
    return source / base


def in_workspace(install: Path, command: str) -> str:
    """Run a shell command after sourcing the workspace, outside of any source tree."""
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


def test_colcon_takes_the_package_for_ament_cmake(source: Path) -> None:
    assert colcon(source, "list").split() == [
        "edge_inference",
        "src/edge_inference",
        "(ros.ament_cmake)",
    ]


def test_modules_are_linked_where_that_was_asked_for(
    install: Path, request: pytest.FixtureRequest
) -> None:
    wants_links = "linked" in request.node.callspec.id
    assert [file.is_symlink() for file in install.rglob("errors.py")] == [wants_links]


def test_messages_and_modules_come_from_the_workspace(install: Path) -> None:
    module, messages, model = in_workspace(install, f"python -c '{PROBE}'").splitlines()
    package = str(install / "edge_inference")
    assert module.startswith(package)
    assert messages.startswith(package)
    assert model == "nanodet"


def test_every_executable_is_where_ros2_run_looks(install: Path) -> None:
    declared = re.search(r"set\(executables ([\w ]+)\)", (ROOT / "CMakeLists.txt").read_text())
    assert declared is not None
    folder = install / "edge_inference" / "lib" / "edge_inference"
    for name in ["edge-inference", *declared[1].split()]:
        assert os.access(folder / name, os.X_OK), name
        # The environment that was active when colcon built, whichever is active later.
        assert (folder / name).read_text().startswith(f"#!{sys.prefix}/bin/python"), name


def test_the_command_answers_in_the_workspace(install: Path) -> None:
    assert "usage" in in_workspace(install, "edge-inference --help").lower()


@pytest.mark.parametrize("folder", ["config", "launch", "models"])
def test_data_is_in_the_share_folder(install: Path, folder: str) -> None:
    share = install / "edge_inference" / "share" / "edge_inference"
    source = ROOT / folder
    for file in source.rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            assert (share / folder / file.relative_to(source)).is_file()
