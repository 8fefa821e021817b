"""Without a ROS log directory an executable exits with a one-line error."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUN = "import sys; from edge_inference.cli.main import executable; sys.exit(executable({!r}))"
DEADLINE_S = 120.0
UNWANTED = ("HOME", "ROS_HOME", "ROS_LOG_DIR")


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({}, "$HOME is not set"),
        ({"HOME": "/proc/nobody"}, "/proc/nobody/.ros/log cannot be created (No such file"),
        (
            {"HOME": "/", "ROS_LOG_DIR": "/proc/self"},
            "/proc/self",
        ),  # exists and is not writable
    ],
)
@pytest.mark.parametrize("name", ["component_container", "preprocess"])
def test_error_is_one_line(name: str, environ: dict[str, str], words: str) -> None:
    kept = {key: value for key, value in os.environ.items() if key not in UNWANTED}
    done = subprocess.run(
        [sys.executable, "-c", RUN.format(name)],
        cwd=ROOT,
        env={**kept, **environ},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 1, done
    assert done.stderr.count("\n") == 1, done.stderr
    assert words in done.stderr and "$ROS_LOG_DIR" in done.stderr
