"""What is installed into an environment: lists of ``requirements/``, in sets that commands ask for.

ROS 2 from wheels comes with all that it and we depend on in the versions of ``locked/``. Beside a
sourced ROS 2 the distribution's own packages count, so only what is missing is installed, within
the bounds of the lists.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from commands import Commands
from installer import Installer

# What is asked for by name, and its lists.
SETS = {
    "run": ("run", "samples"),
    "voice": ("voice", "voice_models"),
    "engines": ("engines",),
    "tests": ("test", "language", "images"),
}
# Only data is read from what these name, or only files with it: it comes without its own needs.
ALONE = ("samples", "voice_models", "language", "images")


def complete(wanted: Iterable[str]) -> list[str]:
    """Return the sets that an environment needs: always "run"; tests need all others."""
    names = {"run", *wanted}
    return [name for name in SETS if name in names or "tests" in names]


class Packages:
    """The packages of one environment; ``distro`` is empty beside a sourced ROS 2."""

    def __init__(
        self,
        requirements: Path,
        venv: Path,
        distro: str,
        sets: list[str],
        tools: list[str],
        commands: Commands,
        installer: Installer,
    ) -> None:
        """``tools`` are requirements for the build's programs that the machine lacks."""
        self._folder = requirements
        self._venv = venv
        self._distro = distro
        self._sets = sets
        self._tools = tools
        self._commands = commands
        self._installer = installer

    def fingerprint(self) -> str:
        """Digest what is to be installed."""
        return self.ros_fingerprint() + _digest(self._files(), "\n".join(self._tools))

    def ros_fingerprint(self) -> str:
        """Digest what the messages are built with; a sourced ROS 2 has no list."""
        return _digest([self._ros_file] if self._distro else [])

    @property
    def _ros_file(self) -> Path:
        return self._folder / "locked" / f"ros-{self._distro}.txt"

    def _files(self) -> list[Path]:
        if self._distro:
            return [self._folder / "locked" / f"{name}.txt" for name in self._sets]
        return [self._folder / f"{name}.txt" for part in self._sets for name in SETS[part]]

    def install_first(self, step: str) -> None:
        """Install what the messages are built with; beside a sourced ROS 2 everything."""
        if self._distro:
            arguments = ["--no-deps", *self._tools, "-r", str(self._ros_file)]
            self._installer.install(arguments, step=step)
            return
        files = self._files()
        shared = [file for file in files if file.stem not in ALONE]
        if self._commands.ask("import cv2; print(cv2.__version__)"):
            shared = [self._without_opencv(file) for file in shared]
        # By pip: uv does not see the distribution's packages through the environment.
        self._commands.pip([*self._tools, *_lists(shared), *self._limits()], step=step)
        alone = [file for file in files if file.stem in ALONE]
        self._commands.pip(["--no-deps", *_lists(alone)], step=step)

    def install_rest(self, step: str) -> None:
        """Install what the messages are not built with."""
        if self._distro:
            self._installer.install(["--no-deps", *_lists(self._files())], step=step)

    def _without_opencv(self, file: Path) -> Path:
        """Copy a list without OpenCV: a distribution's package is not known to pip by its name."""
        copy = self._venv / file.name
        lines = file.read_text().splitlines(keepends=True)
        copy.write_text("".join(line for line in lines if not line.startswith("opencv-python")))
        return copy

    def _limits(self) -> list[str]:
        """Keep what a sourced ROS 2 was compiled against: its NumPy's major version."""
        seen = self._commands.ask("import numpy; print(numpy.__version__.split('.')[0])")
        if not seen:
            return []
        limits = self._venv / "limits.txt"
        limits.write_text(f"numpy<{int(seen) + 1}\n")
        return ["-c", str(limits)]


def _lists(files: list[Path]) -> list[str]:
    return [word for file in files for word in ("-r", str(file))]


def _digest(files: list[Path], text: str = "") -> str:
    digest = hashlib.sha256(text.encode())
    for file in files:
        digest.update(f"{file.name}\0".encode() + file.read_bytes())
    return digest.hexdigest()
