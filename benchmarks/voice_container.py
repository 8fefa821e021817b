"""Runs the shipped voice pipeline in a container process, with a microphone in another process."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.programs import run_program
from benchmarks.sides import Side, domains
from benchmarks.voice_observer import PipelineObserver

#: Most resident memory of the pipeline's process.
MAX_MEMORY_MIB = 300.0


@contextmanager
def run_container() -> Iterator[tuple[subprocess.Popen[str], Side]]:
    """Run the container until every stage is active; the side is a ``PipelineObserver``."""
    domain = domains(1)[0]
    arguments = ["--pipeline", "voice", "--argument", "source:="]
    with (
        Side(domain, PipelineObserver) as outside,
        run_program("component_container", arguments, domain) as process,
    ):
        outside.ask("wait_until_active")
        yield process, outside


def peak_memory_mib(pid: int) -> float:
    """Return the highest resident memory of a process since its start, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/{pid}/status has no VmHWM; has the process ended?")
