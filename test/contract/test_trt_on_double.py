"""The TensorRT backend on doubles of CUDA and TensorRT, in other processes."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
DOUBLE = HERE.parent / "cuda_double"
TESTS = HERE / "on_cuda_double"
DEADLINE_S = 60
ALONE = ("test_trt_commands.py", "test_trt_endurance.py", "test_trt_recognizer.py")

sys.path.insert(0, str(DOUBLE))

import own_process  # noqa: E402  (the tests of this folder are started with other paths)

WITHOUT_DRIVER = """
from edge_inference.backends.trt.pycuda_provider import PycudaProvider
from edge_inference.errors import BackendError
try:
    PycudaProvider().open()
except BackendError as error:
    print(error)
"""


def _has_driver() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def in_groups() -> dict[str, list[Path]]:
    """Return the modules of each process: those that measure, or need much memory, run alone."""
    modules = sorted(TESTS.glob("test_*.py"))
    groups = {module.name: [module] for module in modules if module.name in ALONE}
    return {**groups, "the others": [module for module in modules if module.name not in ALONE]}


@pytest.mark.parametrize("group", in_groups())
def test_on_double(group: str) -> None:
    own_process.run_tests(in_groups()[group], HERE)


@pytest.mark.skipif(_has_driver(), reason="this machine has a CUDA driver")
def test_the_error_for_a_missing_driver_is_one_sentence() -> None:
    own_process.make_double()
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_DRIVER],
        env=own_process.environment(None),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=True,
    )
    (sentence,) = run.stdout.splitlines()
    assert "pycuda cannot be imported (libcuda.so.1" in sentence
    assert "install the NVIDIA driver" in sentence


if __name__ == "__main__":
    own_process.replace_this_process(TESTS, sys.argv[1:], HERE)
