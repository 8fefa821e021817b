"""Build this package into a virtual environment, with links so that edits take effect at once."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

# The files of this repository that the messages depend on.
MESSAGE_SOURCES = ("CMakeLists.txt", "package.xml", "action", "msg", "resource")
# Folders that are linked, file by file: the modules into site-packages, the data into share.
MODULE_FOLDER = "edge_inference"
DATA_FOLDERS = ("config", "launch", "models")
LAUNCHER = """#!/bin/sh
# The sourced ROS 2 finds the messages by these paths, so they must be set before Python starts.
. {environment}
exec {executable} "$@"
"""


class PackageBuild:
    """Two steps: "generated" builds the messages, "linked" links the modules and data files."""

    def __init__(self, root: Path, venv: Path, *, sourced: bool, run: Callable[..., None]) -> None:
        self._root = root
        self._venv = venv
        self._sourced = sourced
        self._run = run
        self._folder = venv / "build"

    def fingerprint(self, step: str) -> str:
        """Digest what a step depends on: contents of message sources, names of linked files."""
        digest = hashlib.sha256()
        for name in MESSAGE_SOURCES:
            for file in _list_files(self._root / name):
                digest.update(f"{file.relative_to(self._root)}\0".encode() + file.read_bytes())
        if step == "linked":
            for name in (MODULE_FOLDER, *DATA_FOLDERS):
                for file in _list_files(self._root / name):
                    digest.update(f"{file.relative_to(self._root)}\0".encode())
        return digest.hexdigest()

    def generate(self, step: str) -> None:
        """Generate, compile and install the messages; ``step`` is the name of the progress step."""
        shutil.rmtree(self._folder, ignore_errors=True)
        # A copy onto a link would overwrite a file of the source tree.
        for folder in (self._site_packages() / MODULE_FOLDER, self._share()):
            shutil.rmtree(folder, ignore_errors=True)
        options = {
            "BUILD_TESTING": "OFF",
            "CMAKE_BUILD_TYPE": "Release",
            "CMAKE_INSTALL_PREFIX": self._venv,
            "FOR_SET_UP": "ON",
            "Python3_EXECUTABLE": self._venv / "bin" / "python",
            "Python3_FIND_VIRTUALENV": "ONLY",
        }
        self._cmake(
            *("-G", "Ninja", "-S", str(self._root), "-B", str(self._folder)),
            *(f"-D{name}={value}" for name, value in options.items()),
            step=step,
        )
        jobs = str(os.cpu_count() or 1)
        self._cmake("--build", str(self._folder), "--parallel", jobs, step=step)
        self._cmake("--install", str(self._folder), step=step)
        if self._sourced:
            self._write_launcher()
        shutil.rmtree(self._folder)

    def link(self) -> None:
        """Link modules and data files; remove links whose source file no longer exists."""
        places = {MODULE_FOLDER: self._site_packages() / MODULE_FOLDER}
        places |= {name: self._share() / name for name in DATA_FOLDERS}
        for name, place in places.items():
            for file in _list_files(self._root / name):
                link = place / file.relative_to(self._root / name)
                link.parent.mkdir(parents=True, exist_ok=True)
                if not (link.is_symlink() and link.readlink() == file):
                    link.unlink(missing_ok=True)
                    link.symlink_to(file)
            for path in place.rglob("*"):
                if path.is_symlink() and not path.exists():
                    path.unlink()

    def _site_packages(self) -> Path:
        return next(self._venv.glob("lib/python3*/site-packages"))

    def _share(self) -> Path:
        return self._venv / "share" / "edge_inference"

    def _write_launcher(self) -> None:
        launcher = self._venv / "bin" / "edge-inference"
        launcher.unlink(missing_ok=True)
        executable = self._venv / "lib" / "edge_inference" / "edge-inference"
        launcher.write_text(
            LAUNCHER.format(environment=self._venv / "env.sh", executable=executable)
        )
        launcher.chmod(0o755)

    def _cmake(self, *arguments: str, step: str) -> None:
        environment = dict(os.environ, PATH=f"{self._venv / 'bin'}{os.pathsep}{os.environ['PATH']}")
        prefixes = [str(self._venv)]
        if self._sourced:
            prefixes += filter(None, [environment.get("AMENT_PREFIX_PATH")])
        for name in ("AMENT_PREFIX_PATH", "CMAKE_PREFIX_PATH"):
            environment[name] = os.pathsep.join(prefixes)
        self._run(["cmake", *arguments], env=environment, step=step)


def _list_files(path: Path) -> list[Path]:
    """Return a file, or the sorted files below a folder that a build would install."""
    if path.is_file():
        return [path]
    files = (file for file in path.rglob("*") if "__pycache__" not in file.parts)
    return sorted(file for file in files if file.is_file())
