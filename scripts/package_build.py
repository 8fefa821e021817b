"""Build this package with CMake into a virtual environment, linked so that edits show at once."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

LAUNCHER = """#!/bin/sh
# The sourced ROS 2 finds the messages through these paths, so they are set before Python starts.
. {environment}
exec {executable} "$@"
"""


class Build:
    """Two steps: "generated" makes the messages, "installed" links the modules and data files."""

    def __init__(self, root: Path, venv: Path, *, sourced: bool, run: Callable[..., None]) -> None:
        self._root = root
        self._venv = venv
        self._sourced = sourced
        self._run = run
        self._folder = venv / "build"

    def fingerprint(self, step: str) -> str:
        """Digest what a step depends on: contents for messages, names for what is linked."""
        digest = hashlib.sha256()
        generated = step == "generated"
        names = ("CMakeLists.txt", "package.xml", "action", "msg", "resource")
        linked = ("edge_inference", "config", "launch", "models")
        for name in names if generated else (*names, *linked):
            for file in _files(self._root / name):
                digest.update(f"{file.relative_to(self._root)}\0".encode())
                if generated or name in names:
                    digest.update(file.read_bytes())
        return digest.hexdigest()

    def perform(self, step: str) -> None:
        """Run one step."""
        if step == "generated":
            self._generate()
        else:
            self._install()

    def _generate(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        options = {
            "AMENT_CMAKE_SYMLINK_INSTALL": "ON",
            "BUILD_TESTING": "OFF",
            "CMAKE_BUILD_TYPE": "Release",
            "CMAKE_INSTALL_PREFIX": self._venv,
            "Python3_EXECUTABLE": self._venv / "bin" / "python",
            "Python3_FIND_VIRTUALENV": "ONLY",
        }
        self._cmake(
            *("-S", str(self._root), "-B", str(self._folder)),
            *(f"-D{name}={value}" for name, value in options.items()),
        )
        self._cmake("--build", str(self._folder), "--parallel", str(os.cpu_count() or 1))

    def _install(self) -> None:
        self._cmake("--install", str(self._folder))
        self._remove_dead_links()
        if self._sourced:
            self._write_launcher()

    def _remove_dead_links(self) -> None:
        """Forget modules and data files that were renamed or deleted in the source tree."""
        folders = [*self._venv.glob("lib/python3*/site-packages/edge_inference")]
        for folder in [*folders, self._venv / "share" / "edge_inference"]:
            for path in folder.rglob("*"):
                if path.is_symlink() and not path.exists():
                    path.unlink()

    def _write_launcher(self) -> None:
        launcher = self._venv / "bin" / "edge-inference"
        launcher.unlink(missing_ok=True)
        executable = self._venv / "lib" / "edge_inference" / "edge-inference"
        launcher.write_text(
            LAUNCHER.format(environment=self._venv / "env.sh", executable=executable)
        )
        launcher.chmod(0o755)

    def _cmake(self, *arguments: str) -> None:
        environment = dict(os.environ, PATH=f"{self._venv / 'bin'}{os.pathsep}{os.environ['PATH']}")
        prefixes = [str(self._venv)]
        if self._sourced:
            prefixes += filter(None, [environment.get("AMENT_PREFIX_PATH")])
        for name in ("AMENT_PREFIX_PATH", "CMAKE_PREFIX_PATH"):
            environment[name] = os.pathsep.join(prefixes)
        # The manifest of links is written where CMake runs.
        self._folder.mkdir(exist_ok=True)
        self._run(["cmake", *arguments], env=environment, cwd=self._folder)


def _files(path: Path) -> list[Path]:
    """Return a file, or every file below a folder that a build would install, in a stable order."""
    if path.is_file():
        return [path]
    found = (file for file in path.rglob("*") if "__pycache__" not in file.parts)
    return sorted(file for file in found if file.is_file())
