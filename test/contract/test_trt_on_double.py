"""The TensorRT backend on doubles of CUDA and TensorRT, each module in a process of its own."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
DOUBLE = HERE.parent / "cuda_double"
TESTS = HERE / "on_cuda_double"
DEADLINE_S = 900

sys.path.insert(0, str(DOUBLE))

import build_double  # noqa: E402  (the tests of this folder are started with other paths)

WITHOUT_DRIVER = """
from edge_inference.backends.trt.pycuda_provider import PycudaProvider
from edge_inference.errors import BackendError
try:
    PycudaProvider().open()
except BackendError as error:
    print(error)
"""


def make_double() -> Path:
    """Return the folder of the doubles; skips, with the reason, where they cannot be made."""
    try:
        return build_double.build_double()
    except LookupError as error:
        pytest.skip(str(error))


def environment(libraries: Path | None) -> dict[str, str]:
    """Return the environment of a process with pycuda, and the doubles as CUDA's libraries."""
    paths = [str(ROOT), str(DOUBLE), str(HERE), str(build_double.find_pycuda())]
    found = {**os.environ, "PYTHONPATH": _joined(*paths, os.environ.get("PYTHONPATH"))}
    if libraries is not None:
        found["EDGE_INFERENCE_CUDA_DOUBLE"] = str(libraries)
        found["EDGE_INFERENCE_DOUBLE_KERNELS"] = str(libraries)
        found["LD_LIBRARY_PATH"] = _joined(str(libraries), os.environ.get("LD_LIBRARY_PATH"))
    return found


def command(*arguments: str) -> list[str]:
    """Return the command that runs modules of tests."""
    return [sys.executable, "-m", "pytest", "-q", *arguments]


def _joined(*paths: str | None) -> str:
    return os.pathsep.join(filter(None, paths))


def _has_driver() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


@pytest.mark.parametrize("module", sorted(file.name for file in TESTS.glob("test_*.py")))
def test_on_double(module: str) -> None:
    libraries = make_double()
    run = subprocess.run(
        command("--no-header", str(TESTS / module)),
        env=environment(libraries),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
    assert " passed" in run.stdout


@pytest.mark.skipif(_has_driver(), reason="this machine has a CUDA driver")
def test_a_missing_driver_is_told_in_one_sentence() -> None:
    make_double()
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_DRIVER],
        env=environment(None),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=True,
    )
    (sentence,) = run.stdout.splitlines()
    assert "pycuda cannot be imported (libcuda.so.1" in sentence
    assert "install the NVIDIA driver" in sentence


if __name__ == "__main__":
    chosen = [str(TESTS / name) if name.endswith(".py") else name for name in sys.argv[1:]]
    started = command(*chosen)
    os.execve(started[0], started, environment(make_double()))
