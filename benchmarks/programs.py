"""Runs the package's executables during a benchmark."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from benchmarks.sides import isolation
from edge_inference.core.runtime.child_process import python_command, python_environment


@contextmanager
def run_program(
    entry_point: str,
    arguments: Sequence[str],
    domain: int,
    stdout: int = subprocess.DEVNULL,
    environment: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """Run one of the package's executables for the block, then terminate it."""
    start = "from edge_inference.cli.main import main; "
    start += f"sys.exit(main({entry_point!r}, sys.argv[1:]))"
    quiet = {"RCUTILS_LOGGING_SEVERITY_THRESHOLD": "WARN"}
    process = subprocess.Popen(
        [*python_command(start), *arguments],
        env={**python_environment(), **isolation(domain), **quiet, **(environment or {})},
        stdout=stdout,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate()
