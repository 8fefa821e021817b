"""Fetch and build the packages that let the tests of TensorRT and CUDA code run without a GPU.

The kit lies in ``.cache/gpu_test_kit``, in one folder for each Python version with one subfolder
for each part. It is in no environment, so only tests see it. ``kit.json`` contains the fingerprint
of each part, or the reason why it is missing. The tests of a missing part are skipped with that
reason; with ``CI`` set, a failure is an error.
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
from command_runner import CommandRunner, SetUpError, StoppedError
from installer import Installer

BINDINGS = "tensorrt_bindings"
# Increase this when the content of a part's folder changes: all parts are then made again.
LAYOUT = "1"
# Fetched before pycuda, which is built with its headers.
CUDA = "cuda"
PYCUDA = "pycuda"
# The packages of TensorRT's bindings have other module names than ``tensorrt``.
ALIAS_MODULE = f"""from {BINDINGS} import *
from {BINDINGS} import __version__
"""


@dataclass(frozen=True)
class Part:
    """A folder of the kit and the requirements that are installed into it."""

    name: str
    lines: tuple[str, ...]


def kit_folder(cache: Path) -> Path:
    """Return the folder of the kit for this Python version."""
    return cache / "gpu_test_kit" / f"cp{sys.version_info[0]}{sys.version_info[1]}"


def part_name(line: str) -> str:
    """Return the part of a requirement; each release of TensorRT's bindings is a part."""
    name, _, rest = line.partition("==")
    if name.startswith("nvidia-"):
        return CUDA
    if name.startswith("tensorrt-rtx-"):
        return "tensorrt_rtx"
    if name.startswith("tensorrt-"):
        return f"tensorrt-{rest.partition(';')[0].strip()}"
    return name


def read_parts(requirements: Path) -> list[Part]:
    """Read the parts from a list of requirements, in its order."""
    lines: dict[str, list[str]] = {}
    for line in requirements.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            lines.setdefault(part_name(line), []).append(line)
    return [Part(name, tuple(part_lines)) for name, part_lines in lines.items()]


class GpuTestKit:
    """The parts of the kit in one folder."""

    def __init__(
        self, folder: Path, requirements: Path, runner: CommandRunner, installer: Installer
    ) -> None:
        self._folder = folder
        self._parts = read_parts(requirements)
        self._runner = runner
        self._installer = installer
        self._print_line = runner.progress.print_line
        self._state: dict[str, dict[str, str]] = {}
        self._lock = threading.Lock()

    def prepare(self) -> bool:
        """Bring every part up to date; return whether a part or its state changed."""
        if platform.machine() != "x86_64":
            return self._report_unsupported_machine()
        self._state = {part.name: self._read().get(part.name, {}) for part in self._parts}
        stale = [part for part in self._parts if self._is_stale(part)]
        if not stale:
            return False
        self._print_line(f"fetching the GPU test kit: {', '.join(p.name for p in stale)}")
        futures: dict[str, Future[None]] = {}
        with ThreadPoolExecutor(len(stale)) as pool:
            for part in stale:
                # pycuda only needs CUDA's headers, so it does not wait for the other parts.
                needed = futures.get(CUDA) if part.name == PYCUDA else None
                futures[part.name] = pool.submit(self._make_part, part, needed)
        for future in futures.values():
            future.result()
        failures = [entry["missing"] for entry in self._state.values() if "made_from" not in entry]
        if failures and os.environ.get("CI"):
            raise SetUpError("\n".join(failures))
        return True

    def _report_unsupported_machine(self) -> bool:
        reason = f"there is no kit for {platform.machine()}"
        if not self._write({"": {"missing": reason}}):
            return False
        self._print_line(f"no tests of GPU code against doubles: {reason}")
        return True

    def _is_stale(self, part: Part) -> bool:
        entry = self._state[part.name]
        is_complete = entry.get("missing") or (self._folder / part.name).is_dir()
        return not is_complete or entry.get("made_from") != self._fingerprint(part)

    def _fingerprint(self, part: Part) -> str:
        """Digest everything that a part is made from."""
        digest = hashlib.sha256("\n".join((LAYOUT, *part.lines)).encode())
        if part.name.startswith("tensorrt-"):
            digest.update(Path(stub_libraries.__file__).read_bytes())
        if part.name == PYCUDA:
            digest.update(Path(pycuda_build.__file__).read_bytes())
            # pycuda that is built with NumPy 1 does not run with NumPy 2.
            numpy_major = self._runner.query_python("import numpy; print(numpy.__version__[0])")
            digest.update(numpy_major.encode())
        return digest.hexdigest()

    def _make_part(self, part: Part, needed: Future[None] | None) -> None:
        """Fill a part's folder; write its fingerprint, or why it is missing, to kit.json."""
        if needed:
            needed.result()
        with self._runner.progress.step(part.name):
            entry = self._fill(part, self._folder / part.name)
        with self._lock:
            self._state[part.name] = entry
            self._write(self._state)

    def _fill(self, part: Part, folder: Path) -> dict[str, str]:
        shutil.rmtree(folder, ignore_errors=True)
        try:
            if part.name == PYCUDA:
                pycuda_build.build_pycuda(part.lines[0], folder, self._folder / CUDA, self._runner)
            else:
                self._fetch(part, folder)
        except StoppedError:
            raise
        except SetUpError as error:
            shutil.rmtree(folder, ignore_errors=True)
            reason = f"{part.name} is not available: see {self._runner.log}"
            self._print_line(f"{reason}; its tests will be skipped")
            return {"missing": f"{reason}\n{error}" if os.environ.get("CI") else reason}
        entry = {"made_from": self._fingerprint(part)}
        if not folder.is_dir() or not any(folder.iterdir()):
            shutil.rmtree(folder, ignore_errors=True)
            python = f"{sys.version_info[0]}.{sys.version_info[1]}"
            entry["missing"] = f"{part.name} has no wheel for Python {python}"
            self._print_line(f"{entry['missing']}; its tests will be skipped")
        return entry

    def _fetch(self, part: Part, folder: Path) -> None:
        # tensorrt-rtx-cu13 is a source package; the environment has the setuptools that it needs.
        options = ["--no-deps", "--no-build-isolation", "--target", str(folder)]
        self._installer.install([*options, *part.lines], step=part.name)
        if (folder / BINDINGS).is_dir():
            stub_libraries.make_libraries(folder / BINDINGS, self._runner)
            (folder / "tensorrt").mkdir()
            (folder / "tensorrt" / "__init__.py").write_text(ALIAS_MODULE)

    def _read(self) -> dict[str, dict[str, str]]:
        try:
            return dict(json.loads((self._folder / "kit.json").read_text()))
        except (OSError, ValueError):
            return {}

    def _write(self, state: dict[str, dict[str, str]]) -> bool:
        """Write kit.json; return whether its content changed."""
        if state == self._read():
            return False
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "kit.json").write_text(json.dumps(state, indent=1) + "\n")
        return True
