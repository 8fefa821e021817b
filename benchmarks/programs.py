"""Runs the package's executables beside a benchmark."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from benchmarks.sides import isolation


@contextmanager
def program(
    entry_point: str, arguments: Sequence[str], domain: int, stdout: int = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[str]]:
    """Run one of the package's executables; it is ended afterwards."""
    start = "import sys; from edge_inference.tools.main import main; "
    start += f"sys.exit(main({entry_point!r}, sys.argv[1:]))"
    process = subprocess.Popen(
        [sys.executable, "-c", start, *arguments],
        env={**os.environ, **isolation(domain), "RCUTILS_LOGGING_SEVERITY_THRESHOLD": "WARN"},
        stdout=stdout,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate()
