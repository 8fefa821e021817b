"""The inference node on doubles of CUDA and TensorRT, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
DOUBLE = HERE.parent / "cuda_double"
DEADLINE_S = 600

sys.path.insert(0, str(DOUBLE))

import build_double  # noqa: E402


def test_the_node_on_double() -> None:
    try:
        libraries = build_double.build_double()
    except LookupError as error:
        pytest.skip(str(error))
    paths = (ROOT, DOUBLE, DOUBLE / "as_tensorrt", ROOT / "test" / "unit", HERE)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(
            [*map(str, paths), str(build_double.find_pycuda()), os.environ.get("PYTHONPATH", "")]
        ),
        "EDGE_INFERENCE_CUDA_DOUBLE": str(libraries),
        "EDGE_INFERENCE_DOUBLE_KERNELS": str(libraries),
        "LD_LIBRARY_PATH": f"{libraries}:{os.environ.get('LD_LIBRARY_PATH', '')}",
    }
    tests = HERE / "on_cuda_double" / "test_trt_node.py"
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", str(tests), *sys.argv[1:]]
    if __name__ == "__main__":
        os.execve(command[0], command, environment)
    run = subprocess.run(
        command[: len(command) - len(sys.argv[1:])] if sys.argv[1:] else command,
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
    assert " passed" in run.stdout


if __name__ == "__main__":
    test_the_node_on_double()
