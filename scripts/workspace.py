"""Build the virtual environment: ROS 2, Python packages, and this package with its messages.

Three steps, each skipped while the fingerprint of what it was made from stands in the
environment's ``set_up.json``: the venv itself, the packages in it, the build. With a sourced ROS 2
the venv looks through to it and only what is missing is installed; otherwise ROS 2 comes from
wheels. A fourth step makes the kit for tests of GPU code, outside of the venv.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import platform
import shlex
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from commands import Commands, SetUpError
from gpu_test_kit import Kit, kit_folder
from package_build import Build

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements"
CACHE = ROOT / ".cache"
DEFAULT_DISTRO = "kilted"
# What another environment's ROS 2 leaves behind; wheels must not see it.
FOREIGN = ("AMENT_PREFIX_PATH", "CMAKE_PREFIX_PATH", "PYTHONPATH", "_ROS_WHEELS_BOOTSTRAP_COMPLETE")


@dataclass(frozen=True)
class Ros:
    """Where ROS 2 comes from."""

    distro: str
    sourced: bool

    @property
    def wheel_list(self) -> Path:
        return REQUIREMENTS / f"ros-{self.distro}.txt"


def choose_ros(wanted: str | None, *, sourced: bool) -> Ros:
    """Prefer the sourced distribution, unless another one was asked for by name."""
    here = os.environ.get("ROS_DISTRO", "")
    if sourced and wanted in (None, here):
        return Ros(here, sourced=True)
    ros = Ros(wanted or DEFAULT_DISTRO, sourced=False)
    if not ros.wheel_list.exists():
        known = sorted(p.stem.removeprefix("ros-") for p in REQUIREMENTS.glob("ros-*.txt"))
        raise SetUpError(
            f"ROS={ros.distro}: there are wheel lists for {', '.join(known)}. "
            f"For another distribution, source its setup file first."
        )
    if platform.machine() != "x86_64":
        raise SetUpError(
            f"There are no ROS 2 wheels for {platform.machine()}, only for x86_64: "
            "source your distribution's ROS 2 first."
        )
    return ros


class Workspace:
    """One virtual environment and what is installed in it."""

    def __init__(self, venv: Path, ros: Ros, *, with_tests: bool, with_gpu_kit: bool) -> None:
        self.venv = venv
        self.ros = ros
        self.python = venv / "bin" / "python"
        self._stamp_file = venv / "set_up.json"
        log = CACHE / "log" / f"set_up-{venv.name.lstrip('.')}.log"
        self._commands = Commands(self.python, log, CACHE / "pip")
        stamps = self._read_stamps()
        self._with_gpu_kit = with_gpu_kit
        # A venv that can test can also run: do not take packages out again.
        self.with_tests = with_tests or bool(stamps.get("with_tests"))

    def prepare(self) -> bool:
        """Bring every step up to date; return whether anything had to be done."""
        stamps = self._read_stamps()
        origin = self._origin()
        if stamps.get("venv") != origin:
            self._say(f"creating {self.venv.name} ({self._describe()})")
            self._create_venv()
            stamps = {"venv": origin}
            self._write_stamps(stamps)
        worked = False
        packages = self._fingerprint(self._requirement_files())
        if stamps.get("packages") != packages:
            self._say("installing packages; the first time this takes a minute or two")
            self._install_packages()
            stamps.update(with_tests=self.with_tests, packages=packages)
            self._write_stamps(stamps)
            worked = True
        build = Build(ROOT, self.venv, sourced=self.ros.sourced, run=self._commands.run)
        ros_files = [] if self.ros.sourced else [self.ros.wheel_list]
        for step in ("generated", "installed"):
            mark = build.fingerprint(step) + self._fingerprint(ros_files)
            if stamps.get(step) != mark:
                self._say("building the messages" if step == "generated" else "linking the package")
                build.perform(step)
                stamps[step] = mark
                self._write_stamps(stamps)
                worked = True
        if self._with_gpu_kit:
            worked |= self._gpu_test_kit().prepare()
        return worked

    def _gpu_test_kit(self) -> Kit:
        requirements = REQUIREMENTS / "gpu_test.txt"
        return Kit(kit_folder(CACHE), requirements, self._commands, self._say)

    def _describe(self) -> str:
        python = f"Python {platform.python_version()}"
        origin = "as sourced" if self.ros.sourced else "from wheels"
        return f"{python}, ROS 2 {self.ros.distro} {origin}"

    def _origin(self) -> list[str]:
        prefixes = os.environ.get("AMENT_PREFIX_PATH", "") if self.ros.sourced else ""
        # Our own prefix is among them where a shell has sourced env.sh.
        foreign = [p for p in prefixes.split(os.pathsep) if p != str(self.venv)]
        return [self._describe(), sys.base_prefix, str(self.venv), *foreign]

    def _requirement_files(self) -> list[Path]:
        names = ["run.txt", "engines.txt", "samples.txt", "voice.txt", "voice_models.txt"]
        if not self._machine_has("cmake"):
            names.append("build.txt")
        if self.with_tests:
            names += ["test.txt", "language.txt", "pictures.txt"]
        wheels = [] if self.ros.sourced else [self.ros.wheel_list]
        return wheels + [REQUIREMENTS / name for name in names]

    def _machine_has(self, program: str) -> bool:
        own = str(self.venv / "bin")
        places = [p for p in os.environ.get("PATH", "").split(os.pathsep) if p != own]
        return shutil.which(program, path=os.pathsep.join(places)) is not None

    @staticmethod
    def _fingerprint(files: list[Path]) -> str:
        digest = hashlib.sha256()
        for file in files:
            digest.update(f"{file.name}\0".encode() + file.read_bytes())
        return digest.hexdigest()

    def _create_venv(self) -> None:
        base = getattr(sys, "_base_executable", sys.executable)
        options = ["--system-site-packages"] if self.ros.sourced else []
        try:
            self._commands.run([base, "-m", "venv", "--clear", *options, str(self.venv)])
        except SetUpError as error:
            raise SetUpError(f"{error}\nOn Debian and Ubuntu: apt install python3-venv") from error
        self._write_environment_file()

    def _write_environment_file(self) -> None:
        """Write the shell file that the Makefile's commands (and users) source."""
        venv = shlex.quote(str(self.venv))
        lines = ["# Sourced by the Makefile; written by the set-up.", f"venv={venv}"]
        if self.ros.sourced:
            for name, entry in (
                ("AMENT_PREFIX_PATH", "$venv"),
                ("LD_LIBRARY_PATH", "$venv/lib"),
            ):
                lines.append(f'export {name}="{entry}${{{name}:+:${name}}}"')
        else:
            lines.append(f"unset {' '.join(FOREIGN)}")
            lines.append(f"export ROS_DISTRO={shlex.quote(self.ros.distro)}")
        lines.append('export PATH="$venv/bin:$PATH"')
        (self.venv / "env.sh").write_text("\n".join(lines) + "\n")

    def _install_packages(self) -> None:
        lists = [file for file in self._requirement_files() if not self._alone(file)]
        limits = self._limits()
        if self.ros.sourced and self._commands.ask("import cv2; print(cv2.__version__)"):
            lists = [self._without_opencv(file) for file in lists]
        self._commands.pip([word for file in lists for word in ("-r", str(file))] + limits)
        for file in filter(self._alone, self._requirement_files()):
            self._commands.pip(["--no-deps", "-r", str(file)])

    @staticmethod
    def _alone(file: Path) -> bool:
        """What only data is read from, or only files with, comes without what it is to need."""
        return file.stem in ("samples", "pictures", "voice_models", "language")

    def _without_opencv(self, file: Path) -> Path:
        """Copy a list without OpenCV: a distribution's package is not known to pip by its name."""
        copy = self.venv / file.name
        lines = file.read_text().splitlines(keepends=True)
        copy.write_text("".join(line for line in lines if not line.startswith("opencv-python")))
        return copy

    def _limits(self) -> list[str]:
        """Keep what a sourced ROS 2 was compiled against: its NumPy's major version."""
        if not self.ros.sourced:
            return []
        seen = self._commands.ask("import numpy; print(numpy.__version__.split('.')[0])")
        if not seen:
            return []
        limits = self.venv / "limits.txt"
        limits.write_text(f"numpy<{int(seen) + 1}\n")
        return ["-c", str(limits)]

    def _read_stamps(self) -> dict[str, object]:
        try:
            return dict(json.loads(self._stamp_file.read_text()))
        except (OSError, ValueError):
            return {}

    def _write_stamps(self, stamps: dict[str, object]) -> None:
        self._stamp_file.write_text(json.dumps(stamps, indent=1) + "\n")

    @staticmethod
    def _say(text: str) -> None:
        print(f"set-up: {text}", flush=True)


def main(argv: list[str], *, sourced: bool) -> int:
    """Prepare the workspace that the command line names."""
    parser = argparse.ArgumentParser(prog="set_up.py")
    parser.add_argument("venv", type=Path)
    parser.add_argument("--ros", default=None, help="a distribution, instead of the sourced one")
    parser.add_argument("--with-tests", action="store_true", help="what lint and tests need too")
    parser.add_argument("--with-gpu-kit", action="store_true", help="to test GPU code without one")
    options = parser.parse_args(argv)
    CACHE.mkdir(exist_ok=True)
    start = time.monotonic()
    try:
        ros = choose_ros(options.ros or None, sourced=sourced)
        if not ros.sourced:
            for name in FOREIGN:
                os.environ.pop(name, None)
        if shutil.which("c++") is None:
            raise SetUpError("A C++ compiler is needed (apt install g++): it builds the messages.")
        with (CACHE / "set_up.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            extras = {"with_tests": options.with_tests, "with_gpu_kit": options.with_gpu_kit}
            workspace = Workspace(ROOT / options.venv, ros, **extras)
            worked = workspace.prepare()
    except SetUpError as error:
        print(f"set-up: {error}", file=sys.stderr)
        return 1
    if worked:
        print(f"set-up: ready in {time.monotonic() - start:.0f} s", flush=True)
    return 0
