"""Runs test modules in a process with pycuda and the doubles as CUDA."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import build_double

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
DEADLINE_S = 900


def make_double() -> Path:
    """Return the folder of the doubles; skip, with the reason, if they cannot be made."""
    try:
        return build_double.build_double()
    except LookupError as error:
        pytest.skip(str(error))


def environment(libraries: Path | None, *folders: Path) -> dict[str, str]:
    """Return the environment of a process with pycuda, modules in ``folders``, and the doubles.

    Without ``libraries`` it has no CUDA.
    """
    paths = [*map(str, (ROOT, HERE, *folders)), str(build_double.find_pycuda())]
    found = {**os.environ, "PYTHONPATH": _joined(*paths, os.environ.get("PYTHONPATH"))}
    if libraries is not None:
        found["EDGE_INFERENCE_CUDA_DOUBLE"] = str(libraries)
        found["EDGE_INFERENCE_DOUBLE_KERNELS"] = str(libraries)
        found["LD_LIBRARY_PATH"] = _joined(str(libraries), os.environ.get("LD_LIBRARY_PATH"))
    return found


def run_tests(modules: Sequence[Path], *folders: Path) -> None:
    """Run test modules in one process; fail with its output if one fails."""
    run = subprocess.run(
        command("--no-header", *map(str, modules)),
        env=environment(make_double(), *folders),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
    assert " passed" in run.stdout


def replace_this_process(tests: Path, arguments: Sequence[str], *folders: Path) -> None:
    """Run modules of a folder from the command line: file names, then pytest's options."""
    chosen = [str(tests / name) if name.endswith(".py") else name for name in arguments]
    started = command(*(chosen or [str(tests)]))
    os.execve(started[0], started, environment(make_double(), *folders))


def command(*arguments: str) -> list[str]:
    """Return the command that runs test modules."""
    return [sys.executable, "-m", "pytest", "-q", *arguments]


def _joined(*paths: str | None) -> str:
    return os.pathsep.join(filter(None, paths))
