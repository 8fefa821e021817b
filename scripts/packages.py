"""The packages of an environment: lists of ``requirements/``, grouped into sets.

With ROS 2 from wheels, all packages are installed in the versions of ``locked/``. With a sourced
ROS 2, the packages of its distribution are used, and only missing ones are installed, within the
bounds of the lists. The set ``optimize`` is large, so only the environments that are asked for it
have it.
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
    "optimize": ("optimize", "optimize_data", "optimize_benchmarks"),
}
# These sets are not among those of the tests, and pip installs them, bound by the locked versions:
# uv would install the CUDA libraries that the locked list names, and that a CPU build of torch does
# not need.
SEPARATE_SETS = ("optimize",)
# Only data in these packages is used, or they only read files here: their own dependencies are
# not installed.
WITHOUT_DEPENDENCIES = (
    "samples",
    "voice_models",
    "language",
    "images",
    "optimize_data",
    "optimize_benchmarks",
)


def resolve_sets(requested: Iterable[str]) -> list[str]:
    """Return the sets that an environment needs: always "run"; tests need all but separate ones."""
    names = {"run", *requested}
    if "tests" in names:
        names |= SETS.keys() - set(SEPARATE_SETS)
    return [name for name in SETS if name in names]


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
        return self._locked_file(f"ros-{self._distro}")

    def _files(self) -> list[Path]:
        """Return everything that says what is installed, besides ROS 2."""
        if self._distro:
            return [*map(self._locked_file, self._sets), *self._lists(self._separate_sets)]
        return self._lists(self._sets)

    def _locked_file(self, name: str) -> Path:
        return self._folder / "locked" / f"{name}.txt"

    def _lists(self, sets: list[str]) -> list[Path]:
        return [self._folder / f"{part}.txt" for name in sets for part in SETS[name]]

    @property
    def _separate_sets(self) -> list[str]:
        return [name for name in self._sets if name in SEPARATE_SETS]

    def install_first(self, step: str) -> None:
        """Install what the messages are built with; with a sourced ROS 2, install everything."""
        if self._distro:
            arguments = ["--no-deps", *self._tools, "-r", str(self._ros_file)]
            self._installer.install(arguments, step=step)
            return
        files = self._lists(self._sets)
        if self._runner.query_python("import cv2; print(cv2.__version__)"):
            files = [self._without_opencv(file) for file in files]
        # With pip, because uv does not see the distribution's packages through the environment.
        self._pip_install(files, [*self._tools, *self._numpy_constraint()], step)

    def install_rest(self, step: str) -> None:
        """Install the packages that the build of the messages does not need."""
        if not self._distro:
            return
        separate = self._separate_sets
        files = [self._locked_file(name) for name in self._sets if name not in separate]
        self._installer.install(["--no-deps", *_list_options("-r", files)], step=step)
        if separate:
            bounds = [self._ros_file, *map(self._locked_file, self._sets)]
            self._pip_install(self._lists(separate), _list_options("-c", bounds), step)

    def _pip_install(self, files: list[Path], options: list[str], step: str) -> None:
        """Install lists with pip: first those with dependencies, then those without."""
        shared = [file for file in files if file.stem not in WITHOUT_DEPENDENCIES]
        self._runner.pip_install([*options, *_list_options("-r", shared)], step=step)
        alone = [file for file in files if file.stem in WITHOUT_DEPENDENCIES]
        self._runner.pip_install(["--no-deps", *_list_options("-r", alone)], step=step)

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


def _list_options(option: str, files: list[Path]) -> list[str]:
    return [word for file in files for word in (option, str(file))]


def _digest_files(files: list[Path], text: str = "") -> str:
    digest = hashlib.sha256(text.encode())
    for file in files:
        digest.update(f"{file.name}\0".encode() + file.read_bytes())
    return digest.hexdigest()
