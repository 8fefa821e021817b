"""The packages of an environment: lists of ``requirements/``, grouped into sets.

With ROS 2 from wheels, all packages are installed in the versions of ``locked/``. With a sourced
ROS 2, the packages of its distribution are used, and only missing ones are installed, within the
bounds of the lists.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from command_runner import CommandRunner
from installer import Installer

# The lists of each set.
SETS = {
    "run": ("run", "samples"),
    "voice": ("voice", "voice_models"),
    "engines": ("engines",),
    "tests": ("test", "language", "images"),
}
# Only data in these packages is used, or they only read files here: their own dependencies are
# not installed.
WITHOUT_DEPENDENCIES = ("samples", "voice_models", "language", "images")


def resolve_sets(requested: Iterable[str]) -> list[str]:
    """Return the sets that an environment needs: always "run"; tests need all others."""
    names = {"run", *requested}
    return [name for name in SETS if name in names or "tests" in names]


class Packages:
    """The packages of one environment; ``distro`` is empty with a sourced ROS 2."""

    def __init__(
        self,
        requirements: Path,
        venv: Path,
        distro: str,
        sets: list[str],
        tools: list[str],
        runner: CommandRunner,
        installer: Installer,
    ) -> None:
        """``tools`` are the requirements of the build programs that the machine lacks."""
        self._folder = requirements
        self._venv = venv
        self._distro = distro
        self._sets = sets
        self._tools = tools
        self._runner = runner
        self._installer = installer

    def fingerprint(self) -> str:
        """Digest everything that must be installed."""
        return self.ros_fingerprint() + _digest_files(self._files(), "\n".join(self._tools))

    def ros_fingerprint(self) -> str:
        """Digest the list that the messages are built with; a sourced ROS 2 has none."""
        return _digest_files([self._ros_file] if self._distro else [])

    @property
    def _ros_file(self) -> Path:
        return self._folder / "locked" / f"ros-{self._distro}.txt"

    def _files(self) -> list[Path]:
        if self._distro:
            return [self._folder / "locked" / f"{name}.txt" for name in self._sets]
        return [self._folder / f"{name}.txt" for part in self._sets for name in SETS[part]]

    def install_first(self, step: str) -> None:
        """Install what the messages are built with; with a sourced ROS 2, install everything."""
        if self._distro:
            arguments = ["--no-deps", *self._tools, "-r", str(self._ros_file)]
            self._installer.install(arguments, step=step)
            return
        files = self._files()
        shared = [file for file in files if file.stem not in WITHOUT_DEPENDENCIES]
        if self._runner.query_python("import cv2; print(cv2.__version__)"):
            shared = [self._without_opencv(file) for file in shared]
        # With pip, because uv does not see the distribution's packages through the environment.
        options = [*_requirement_options(shared), *self._numpy_constraint()]
        self._runner.pip_install([*self._tools, *options], step=step)
        alone = [file for file in files if file.stem in WITHOUT_DEPENDENCIES]
        self._runner.pip_install(["--no-deps", *_requirement_options(alone)], step=step)

    def install_rest(self, step: str) -> None:
        """Install the packages that the build of the messages does not need."""
        if self._distro:
            self._installer.install(["--no-deps", *_requirement_options(self._files())], step=step)

    def _without_opencv(self, file: Path) -> Path:
        """Copy a list without OpenCV: pip does not recognize the distribution's OpenCV package."""
        copy = self._venv / file.name
        lines = file.read_text().splitlines(keepends=True)
        copy.write_text("".join(line for line in lines if not line.startswith("opencv-python")))
        return copy

    def _numpy_constraint(self) -> list[str]:
        """Keep the major version of NumPy that the sourced ROS 2 was compiled with."""
        major = self._runner.query_python("import numpy; print(numpy.__version__.split('.')[0])")
        if not major:
            return []
        constraints = self._venv / "constraints.txt"
        constraints.write_text(f"numpy<{int(major) + 1}\n")
        return ["-c", str(constraints)]


def _requirement_options(files: list[Path]) -> list[str]:
    return [word for file in files for word in ("-r", str(file))]


def _digest_files(files: list[Path], text: str = "") -> str:
    digest = hashlib.sha256(text.encode())
    for file in files:
        digest.update(f"{file.name}\0".encode() + file.read_bytes())
    return digest.hexdigest()
