"""Fetch and build what lets TensorRT's and CUDA's tests run without a GPU.

All of it lies in ``.cache/gpu_test_kit``, one folder for each Python version and one below it for
each part, and in no environment: what runs outside of the tests never sees it. ``kit.json`` says
what each part was made from, and of a part that is missing why. The tests of a missing part are
skipped with that reason; in continuous integration, where ``CI`` is set, a failure is an error.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pycuda_build
import stub_libraries
from commands import Commands, SetUpError, StoppedError
from installer import Installer

BINDINGS = "tensorrt_bindings"
# To be changed with what this file puts into a part's folder: all parts are then made again.
LAYOUT = "1"
# Fetched first: pycuda is built with its headers.
CUDA = "cuda"
PYCUDA = "pycuda"
# TensorRT's packages call their modules otherwise, to be of use beside its libraries' packages.
ALIAS = f"""from {BINDINGS} import *
from {BINDINGS} import __version__
"""


@dataclass(frozen=True)
class Part:
    """A folder of the kit and the lines of the requirements that fill it."""

    name: str
    lines: tuple[str, ...]


def kit_folder(cache: Path) -> Path:
    """Return the folder for this Python's kit."""
    return cache / "gpu_test_kit" / f"cp{sys.version_info[0]}{sys.version_info[1]}"


def part_of(line: str) -> str:
    """Name the part that a requirement belongs to; of TensorRT's bindings each release is one."""
    name, _, rest = line.partition("==")
    if name.startswith("nvidia-"):
        return CUDA
    if name.startswith("tensorrt-rtx-"):
        return "tensorrt_rtx"
    if name.startswith("tensorrt-"):
        return f"tensorrt-{rest.partition(';')[0].strip()}"
    return name


def parts_in(requirements: Path) -> list[Part]:
    """Read a list of requirements, in its order."""
    lines: dict[str, list[str]] = {}
    for line in requirements.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            lines.setdefault(part_of(line), []).append(line)
    return [Part(name, tuple(found)) for name, found in lines.items()]


class Kit:
    """The parts in one folder."""

    def __init__(
        self, folder: Path, requirements: Path, commands: Commands, installer: Installer
    ) -> None:
        self._folder = folder
        self._parts = parts_in(requirements)
        self._commands = commands
        self._installer = installer
        self._say = commands.progress.say
        self._state: dict[str, dict[str, str]] = {}
        self._lock = threading.Lock()

    def prepare(self) -> bool:
        """Bring every part up to date; return whether anything had to be done."""
        if platform.machine() != "x86_64":
            return self._tell_there_is_none()
        self._state = {part.name: self._read().get(part.name, {}) for part in self._parts}
        stale = [part for part in self._parts if self._is_stale(part)]
        if not stale:
            return False
        self._say(f"fetching what GPU code is tested with: {', '.join(p.name for p in stale)}")
        made: dict[str, Future[None]] = {}
        with ThreadPoolExecutor(len(stale)) as pool:
            for part in stale:
                # Compiled with CUDA's headers, while the others are still on their way.
                needs = made.get(CUDA) if part.name == PYCUDA else None
                made[part.name] = pool.submit(self._make, part, needs)
        for result in made.values():
            result.result()
        failures = [entry["missing"] for entry in self._state.values() if "made_from" not in entry]
        if failures and os.environ.get("CI"):
            raise SetUpError("\n".join(failures))
        return True

    def _tell_there_is_none(self) -> bool:
        reason = f"there is no kit for {platform.machine()}"
        if not self._write({"": {"missing": reason}}):
            return False
        self._say(f"no tests of GPU code against doubles: {reason}")
        return True

    def _is_stale(self, part: Part) -> bool:
        entry = self._state[part.name]
        here = entry.get("missing") or (self._folder / part.name).is_dir()
        return not here or entry.get("made_from") != self._mark(part)

    def _mark(self, part: Part) -> str:
        """Digest what a part is made from."""
        digest = hashlib.sha256("\n".join((LAYOUT, *part.lines)).encode())
        if part.name.startswith("tensorrt-"):
            digest.update(Path(stub_libraries.__file__).read_bytes())
        if part.name == PYCUDA:
            digest.update(Path(pycuda_build.__file__).read_bytes())
            # Built with NumPy 1 it does not run with NumPy 2.
            digest.update(self._commands.ask("import numpy; print(numpy.__version__[0])").encode())
        return digest.hexdigest()

    def _make(self, part: Part, needs: Future[None] | None) -> None:
        """Fill a part's folder, and note in kit.json what it was made from or why it is missing."""
        if needs:
            needs.result()
        with self._commands.progress.step(part.name):
            entry = self._fill(part, self._folder / part.name)
        with self._lock:
            self._state[part.name] = entry
            self._write(self._state)

    def _fill(self, part: Part, folder: Path) -> dict[str, str]:
        shutil.rmtree(folder, ignore_errors=True)
        try:
            if part.name == PYCUDA:
                pycuda_build.build(part.lines[0], folder, self._folder / CUDA, self._commands)
            else:
                self._fetch(part, folder)
        except StoppedError:
            raise
        except SetUpError as error:
            shutil.rmtree(folder, ignore_errors=True)
            reason = f"{part.name} cannot be had: see {self._commands.log}"
            self._say(f"{reason}; its tests will be skipped")
            return {"missing": f"{reason}\n{error}" if os.environ.get("CI") else reason}
        entry = {"made_from": self._mark(part)}
        if not folder.is_dir() or not any(folder.iterdir()):
            shutil.rmtree(folder, ignore_errors=True)
            python = f"{sys.version_info[0]}.{sys.version_info[1]}"
            entry["missing"] = f"{part.name} has no wheel for Python {python}"
            self._say(f"{entry['missing']}; its tests will be skipped")
        return entry

    def _fetch(self, part: Part, folder: Path) -> None:
        # No isolation: tensorrt-rtx-cu13 is a source package of a few lines, setuptools is here.
        options = ["--no-deps", "--no-build-isolation", "--target", str(folder)]
        self._installer.install([*options, *part.lines], step=part.name)
        if (folder / BINDINGS).is_dir():
            stub_libraries.make(folder / BINDINGS, self._commands)
            (folder / "tensorrt").mkdir()
            (folder / "tensorrt" / "__init__.py").write_text(ALIAS)

    def _read(self) -> dict[str, dict[str, str]]:
        try:
            return dict(json.loads((self._folder / "kit.json").read_text()))
        except (OSError, ValueError):
            return {}

    def _write(self, state: dict[str, dict[str, str]]) -> bool:
        """Write kit.json; return whether it says anything new."""
        if state == self._read():
            return False
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "kit.json").write_text(json.dumps(state, indent=1) + "\n")
        return True
