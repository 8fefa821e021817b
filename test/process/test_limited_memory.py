"""Under a limit of memory every command ends, soon, in one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEADLINE_S = 240.0
RUN = """
import resource, sys
kind, mib, name = sys.argv[1:4]
resource.setrlimit(getattr(resource, kind), (int(mib) << 20, int(mib) << 20))
sys.argv[1:] = sys.argv[4:]
from edge_inference.cli.main import executable
sys.exit(executable(name))
"""


def limited(
    kind: str, mib: int, *words: str, name: str = "edge-inference"
) -> subprocess.CompletedProcess[str]:
    """Run an executable that may take so much memory, to its end."""
    return subprocess.run(
        [sys.executable, "-c", RUN, kind, str(mib), name, *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def expect_sentence(done: subprocess.CompletedProcess[str], mib: int, name: str) -> None:
    """Check that it says what it may take, and nothing else."""
    assert done.returncode == 1, done
    assert done.stderr.startswith(f"{name}: ") and done.stderr.count("\n") == 1, done.stderr
    assert f"{mib} MiB" in done.stderr and "ulimit" in done.stderr


# numpy does not load; its OpenBLAS asks for ever; it gives up; OpenCV does not load.
@pytest.mark.parametrize("mib", [60, 80, 90, 100, 110, 127, 150, 200])
def test_an_address_space_that_is_too_small(mib: int) -> None:
    expect_sentence(limited("RLIMIT_AS", mib, "models"), mib, "edge-inference")


@pytest.mark.parametrize("mib", [300, 350, 400, 500])
def test_one_that_is_perhaps_too_small(mib: int) -> None:
    """How much OpenCV takes, and whether it crashes without, goes by the number of processors."""
    done = limited("RLIMIT_AS", mib, "models")
    if done.returncode != 0:
        expect_sentence(done, mib, "edge-inference")


@pytest.mark.parametrize("words", [["models"], ["models", "check", "nanodet"]])
def test_data_that_are_too_few(words: list[str]) -> None:
    expect_sentence(limited("RLIMIT_DATA", 20, *words), 20, "edge-inference")


def test_a_container() -> None:
    name = "component_container"
    expect_sentence(limited("RLIMIT_AS", 117, name=name), 117, name)


def test_help_needs_no_libraries() -> None:
    done = limited("RLIMIT_AS", 117, "--help")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_tighter_limit_is_named() -> None:
    done = limited("RLIMIT_AS", 700, "models", "check", "nanodet")
    if done.returncode != 0:  # how much ONNX Runtime reserves is its own business
        expect_sentence(done, 700, "edge-inference")
        assert "--max-memory-mib" not in done.stderr


def test_enough_is_enough() -> None:
    done = limited("RLIMIT_AS", 8192, "models", "check", "nanodet")
    assert (done.returncode, done.stderr) == (0, "")
