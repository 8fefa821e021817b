"""Runs ``edge-inference dashboard`` beside a pipeline."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.programs import run_program


@contextmanager
def live_dashboard(domain: int, *options: str) -> Iterator[str]:
    """Run the command on a free port for the block; return the address of its page."""
    arguments = ["dashboard", "--port", "0", *options]
    with run_program("edge-inference", arguments, domain, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError("the dashboard has ended; its error is above")
        yield line.split()[-1]
