"""Build the virtual environment: ROS 2, Python packages, and this package with its messages.

The steps are the venv, its packages, the messages and the links. A step is skipped while
``set_up.json`` in the environment contains the fingerprint of its inputs. With a sourced ROS 2 the
venv sees the system's packages, and only missing ones are installed. Otherwise ROS 2 comes from
wheels, and the messages are built while the other packages are downloaded. The last step makes the
kit for tests of GPU code, outside of the venv.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import platform
import shlex
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import packages
from command_runner import CommandRunner, SetUpError, find_hint
from gpu_test_kit import GpuTestKit, kit_folder
from installer import Installer
from package_build import PackageBuild
from packages import Packages
from progress import Progress

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements"
CACHE = ROOT / ".cache"
DEFAULT_DISTRO = "kilted"
# Increase this when this file changes how an environment is made: all are then made again.
LAYOUT = "3"
# Set by the ROS 2 of another environment; ROS 2 from wheels must not see them.
FOREIGN_VARIABLES = (
    "AMENT_PREFIX_PATH",
    "CMAKE_PREFIX_PATH",
    "PYTHONPATH",
    "_ROS_WHEELS_BOOTSTRAP_COMPLETE",
)
# Python reads .pth files at its start, sorted by name. The file of the wheels comes later and
# starts Python again, with the environment that this file has set.
PRELOAD_FILE = "condition_wait.pth"
PRELOAD_LINE = (
    "import os; library = {library!r}; loaded = os.environ.get('LD_PRELOAD', ''); "
    "library in loaded or os.environ.update(LD_PRELOAD=f'{{library}} {{loaded}}'.strip())\n"
)


@dataclass(frozen=True)
class Ros:
    """A ROS 2 distribution, sourced or from wheels."""

    distro: str
    sourced: bool

    @property
    def wheel_list(self) -> Path:
        return REQUIREMENTS / f"ros-{self.distro}.txt"


def choose_ros(requested: str | None, *, sourced: bool) -> Ros:
    """Return the sourced distribution, unless another one is requested by name."""
    current = os.environ.get("ROS_DISTRO", "")
    if sourced and requested in (None, current):
        return Ros(current, sourced=True)
    ros = Ros(requested or DEFAULT_DISTRO, sourced=False)
    if not ros.wheel_list.exists():
        known = sorted(p.stem.removeprefix("ros-") for p in REQUIREMENTS.glob("ros-*.txt"))
        raise SetUpError(
            f"ROS={ros.distro}: expected one of {', '.join(known)}, for which there are wheels. "
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

    def __init__(
        self, venv: Path, ros: Ros, requested: list[str], progress: Progress, *, with_gpu_kit: bool
    ) -> None:
        """``requested`` names sets of packages besides those of every environment."""
        self.venv = venv
        self.ros = ros
        self._progress = progress
        self._stamp_file = venv / "set_up.json"
        log = CACHE / "log" / f"set_up-{venv.name.lstrip('.')}.log"
        self._runner = CommandRunner(venv / "bin" / "python", log, CACHE / "pip", progress)
        uv = REQUIREMENTS / "installer.txt"
        self._installer = Installer(self._runner, uv, CACHE / "uv")
        self._stamps = self._read_stamps()
        self._requested = requested
        self._with_gpu_kit = with_gpu_kit
        self._has_changed = False
        self._lock = threading.Lock()

    def prepare(self) -> bool:
        """Bring every step up to date; return whether a step was done."""
        origin = self._origin()
        # Without a stamp of its packages the environment is incomplete, so it is made again.
        if self._stamps.get("venv") != origin or not self._stamps.get("packages"):
            self._progress.print_line(f"creating {self.venv.name} ({self._describe()})")
            self._create_venv()
            self._stamps = {}
            self._stamp(venv=origin)
        # An environment keeps the sets that are installed already.
        sets = packages.resolve_sets([*self._requested, *self._stamps.get("sets", [])])
        content = self._packages(sets)
        is_stale = self._stamps.get("packages") != content.fingerprint()
        if is_stale:
            self._progress.print_line(f"installing packages, sets: {', '.join(sets)}")
            self._stamp(packages=None)
            with self._progress.step("ROS 2"):
                content.install_first("ROS 2")
        install_others = partial(self._install_others, content if is_stale else None, sets)
        run_in_parallel(partial(self._build, content), install_others, self._runner.stop)
        return self._has_changed

    def _build(self, content: Packages) -> None:
        """Make the messages, then the links."""
        build = PackageBuild(ROOT, self.venv, sourced=self.ros.sourced, run=self._runner.run)
        generated, linked = (
            build.fingerprint(step) + content.ros_fingerprint() for step in ("generated", "linked")
        )
        with self._progress.step("messages"):
            if self._stamps.get("generated") != generated:
                self._stamp(generated=None, linked=None)
                build.generate("messages")
                self._stamp(generated=generated)
            if self._stamps.get("linked") != linked:
                build.link()
                self._stamp(linked=linked)

    def _install_others(self, content: Packages | None, sets: list[str]) -> None:
        """Install what the messages do not need; ``content`` is None if nothing is missing."""
        if content:
            with self._progress.step("packages"):
                content.install_rest("packages")
            self._stamp(sets=sets, packages=content.fingerprint())
        if self._with_gpu_kit:
            kit = GpuTestKit(
                kit_folder(CACHE), REQUIREMENTS / "gpu_test.txt", self._runner, self._installer
            )
            if kit.prepare():
                self._has_changed = True

    def _packages(self, sets: list[str]) -> Packages:
        lines = (REQUIREMENTS / "build.txt").read_text().splitlines()
        programs = {line.partition("==")[0]: line for line in lines if "==" in line}
        tools = [line for name, line in programs.items() if not self._machine_has(name)]
        distro = "" if self.ros.sourced else self.ros.distro
        return Packages(REQUIREMENTS, self.venv, distro, sets, tools, self._runner, self._installer)

    def _describe(self) -> str:
        python = f"Python {platform.python_version()}"
        origin = "as sourced" if self.ros.sourced else "from wheels"
        return f"{python}, ROS 2 {self.ros.distro} {origin}"

    def _origin(self) -> list[str]:
        prefixes = os.environ.get("AMENT_PREFIX_PATH", "") if self.ros.sourced else ""
        # A shell that has sourced env.sh has this environment's prefix in the list.
        foreign = [p for p in prefixes.split(os.pathsep) if p != str(self.venv)]
        return [LAYOUT, self._describe(), sys.base_prefix, str(self.venv), *foreign]

    def _machine_has(self, program: str) -> bool:
        own = str(self.venv / "bin")
        places = [p for p in os.environ.get("PATH", "").split(os.pathsep) if p != own]
        return shutil.which(program, path=os.pathsep.join(places)) is not None

    def _create_venv(self) -> None:
        base = getattr(sys, "_base_executable", sys.executable)
        options = ["--system-site-packages"] if self.ros.sourced else []
        try:
            with self._progress.step("venv"):
                self._runner.run([base, "-m", "venv", "--clear", *options, str(self.venv)])
        except SetUpError as error:
            raise SetUpError(f"{error}\nOn Debian and Ubuntu: apt install python3-venv") from error
        self._write_environment_file()
        if not self.ros.sourced:
            self._preload_condition_wait()

    def _preload_condition_wait(self) -> None:
        """Preload the fix for the Fast DDS of the wheels; ``condition_wait.cpp`` describes it."""
        library = self.venv / "lib" / "libcondition_wait.so"
        source = Path(__file__).with_name("condition_wait.cpp")
        with self._progress.step("condition wait"):
            self._runner.run(
                ["c++", "-O2", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
            )
        # LD_PRELOAD is separated by spaces, so it cannot contain a path with a space.
        if " " not in str(library):
            site_packages = next(self.venv.glob("lib/python3*/site-packages"))
            (site_packages / PRELOAD_FILE).write_text(PRELOAD_LINE.format(library=str(library)))

    def _write_environment_file(self) -> None:
        """Write the shell file that the Makefile's commands and users source."""
        venv = shlex.quote(str(self.venv))
        lines = ["# Sourced by the Makefile; written by the set-up.", f"venv={venv}"]
        if self.ros.sourced:
            for name, entry in (
                ("AMENT_PREFIX_PATH", "$venv"),
                ("LD_LIBRARY_PATH", "$venv/lib"),
            ):
                lines.append(f'export {name}="{entry}${{{name}:+:${name}}}"')
        else:
            lines.append(f"unset {' '.join(FOREIGN_VARIABLES)}")
            lines.append(f"export ROS_DISTRO={shlex.quote(self.ros.distro)}")
        lines.append('export PATH="$venv/bin:$PATH"')
        (self.venv / "env.sh").write_text("\n".join(lines) + "\n")

    def _read_stamps(self) -> dict[str, object]:
        try:
            return dict(json.loads(self._stamp_file.read_text()))
        except (OSError, ValueError):
            return {}

    def _stamp(self, **marks: object) -> None:
        """Write the fingerprints of finished steps."""
        with self._lock:
            self._has_changed = True
            self._stamps.update(marks)
            self._stamp_file.write_text(json.dumps(self._stamps, indent=1) + "\n")


def run_in_parallel(
    first: Callable[[], None], second: Callable[[], None], stop: Callable[[], None]
) -> None:
    """Run two functions in parallel; if one fails, stop the other and raise the first error."""
    failures: list[BaseException] = []

    def attempt(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)
            stop()

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(attempt, second)
        attempt(first)
        attempt(future.result)
    if failures:
        raise failures[0]


def main(argv: list[str], *, sourced: bool) -> int:
    """Prepare the workspace that the command line names."""
    parser = argparse.ArgumentParser(prog="set_up.py")
    parser.add_argument("venv", type=Path)
    parser.add_argument("--ros", default=None, help="a distribution, instead of the sourced one")
    parser.add_argument(
        "--with", dest="requested", action="append", default=[], choices=packages.SETS
    )
    parser.add_argument(
        "--with-gpu-kit",
        action="store_true",
        help="also make the kit to test GPU code without a GPU",
    )
    options = parser.parse_args(argv)
    # These signals end the set-up like Ctrl-C, so that it ends the commands that it started.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    start = time.monotonic()
    try:
        CACHE.mkdir(exist_ok=True)
        with Progress().display() as progress, (CACHE / "set_up.lock").open("w") as lock:
            ros = _prepare_ros(options.ros or None, sourced=sourced)
            with progress.step("waiting for another set-up to end"):
                fcntl.flock(lock, fcntl.LOCK_EX)
            venv = ROOT / options.venv
            kit = options.with_gpu_kit
            workspace = Workspace(venv, ros, options.requested, progress, with_gpu_kit=kit)
            has_changed = workspace.prepare()
    except SetUpError as error:
        print(f"set-up: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"set-up: {error}{find_hint(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("set-up: interrupted; the next make repeats unfinished steps", file=sys.stderr)
        return 130
    if has_changed:
        print(f"set-up: ready in {time.monotonic() - start:.0f} s", flush=True)
    return 0


def _prepare_ros(requested: str | None, *, sourced: bool) -> Ros:
    """Choose the ROS 2, remove variables of others, and check that a compiler is installed."""
    ros = choose_ros(requested, sourced=sourced)
    if not ros.sourced:
        for name in FOREIGN_VARIABLES:
            os.environ.pop(name, None)
    if shutil.which("c++") is None:
        raise SetUpError("The messages need a C++ compiler, and c++ is missing: apt install g++")
    return ros
