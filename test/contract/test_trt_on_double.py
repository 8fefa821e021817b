"""The TensorRT backend on doubles of CUDA and TensorRT, each module in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
DOUBLE = HERE.parent / "cuda_double"
TESTS = HERE / "on_cuda_double"
DEADLINE_S = 600


def environment(folder: Path) -> dict[str, str]:
    """Return the environment in which the doubles are CUDA's libraries."""
    paths = [str(HERE.parent.parent), str(DOUBLE), str(HERE), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "EDGE_INFERENCE_CUDA_DOUBLE": str(folder),
        "EDGE_INFERENCE_DOUBLE_KERNELS": str(folder),
        "LD_LIBRARY_PATH": os.pathsep.join(
            filter(None, (str(folder), os.environ.get("LD_LIBRARY_PATH")))
        ),
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }


def command(*arguments: str) -> list[str]:
    """Return the command that runs modules of tests."""
    return [sys.executable, "-m", "pytest", "-q", *arguments]


def build() -> Path:
    """Return the folder of the doubles; skips, with the reason, where they cannot be made."""
    sys.path.insert(0, str(DOUBLE))
    from build_double import build_double

    try:
        return build_double()
    except LookupError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("module", sorted(file.name for file in TESTS.glob("test_*.py")))
def test_on_double(module: str) -> None:
    run = subprocess.run(
        command("--no-header", str(TESTS / module)),
        env=environment(build()),
        cwd=HERE.parent.parent,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
    assert " passed" in run.stdout


if __name__ == "__main__":
    chosen = [str(TESTS / name) if name.endswith(".py") else name for name in sys.argv[1:]]
    folder_of_doubles = build()
    arguments = command(*chosen)
    os.execve(arguments[0], arguments, environment(folder_of_doubles))
