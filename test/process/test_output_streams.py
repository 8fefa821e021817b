"""A closed or full output stream causes no traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

RUN = (
    f"{sys.executable} -c 'import sys; from edge_inference.cli.main import console; "
    "sys.exit(console())' models"
)


@pytest.mark.parametrize(
    ("shell", "code", "error"),
    [
        ("{} --json | true; exit ${{PIPESTATUS[0]}}", 0, ""),
        ("{} | head -1 > /dev/null; exit ${{PIPESTATUS[0]}}", 0, ""),
        ("{} >&-", 0, ""),
        ("{} 2>&- > /dev/null", 0, ""),
        ("{} --json > /dev/full", 1, "No space left on device"),
        ("{} > /dev/full", 1, "No space left on device"),
    ],
)
def test_output_of_models(shell: str, code: int, error: str) -> None:
    done = subprocess.run(
        ["bash", "-c", shell.format(RUN)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == code, done.stderr
    assert error in done.stderr
    assert len(done.stderr.splitlines()) == bool(error)
