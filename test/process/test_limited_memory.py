"""With a memory limit that is too low, every command ends with one sentence."""

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
    """Run an executable with a memory limit to its end."""
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


def assert_memory_error(done: subprocess.CompletedProcess[str], mib: int, name: str) -> None:
    """Check that the only output is one sentence with the limit and a hint."""
    assert done.returncode == 1, done
    assert done.stderr.startswith(f"{name}: ") and done.stderr.count("\n") == 1, done.stderr
    assert f"{mib} MiB" in done.stderr and "ulimit" in done.stderr


# At rising limits: NumPy does not load, its OpenBLAS retries for ever or gives up, OpenCV does not
# load.
@pytest.mark.parametrize("mib", [60, 80, 90, 100, 110, 127, 150, 200])
def test_an_address_space_that_is_too_small_is_an_error(mib: int) -> None:
    assert_memory_error(limited("RLIMIT_AS", mib, "models"), mib, "edge-inference")


@pytest.mark.parametrize("mib", [300, 350, 400, 500])
def test_an_address_space_that_may_be_too_small_is_an_error_or_works(mib: int) -> None:
    """The memory that OpenCV needs depends on the number of processors."""
    done = limited("RLIMIT_AS", mib, "models")
    if done.returncode != 0:
        assert_memory_error(done, mib, "edge-inference")


@pytest.mark.parametrize("words", [["models"], ["models", "check", "nanodet"]])
def test_a_data_segment_that_is_too_small_is_an_error(words: list[str]) -> None:
    assert_memory_error(limited("RLIMIT_DATA", 20, *words), 20, "edge-inference")


def test_a_container_without_enough_memory_is_an_error() -> None:
    name = "component_container"
    assert_memory_error(limited("RLIMIT_AS", 117, name=name), 117, name)


def test_help_needs_no_libraries() -> None:
    done = limited("RLIMIT_AS", 117, "--help")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_tighter_limit_is_named() -> None:
    done = limited("RLIMIT_AS", 700, "models", "check", "nanodet")
    if done.returncode != 0:  # whether it suffices depends on what ONNX Runtime reserves
        assert_memory_error(done, 700, "edge-inference")
        assert "--max-memory-mib" not in done.stderr


def test_with_enough_memory_there_is_no_error() -> None:
    done = limited("RLIMIT_AS", 8192, "models", "check", "nanodet")
    assert (done.returncode, done.stderr) == (0, "")
