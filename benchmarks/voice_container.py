"""The shipped voice pipeline in a container of its own process, with a microphone outside of it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.programs import run_program
from benchmarks.sides import Side, domains
from benchmarks.voice_outside import Outside

#: What the pipeline's process may have in RAM at the most.
MEMORY_BOUND_MIB = 300.0


@contextmanager
def contained() -> Iterator[tuple[subprocess.Popen[str], Side]]:
    """Run the container until every stage is active; the side answers as ``Outside``."""
    domain = domains(1)[0]
    arguments = ["--pipeline", "voice", "--argument", "source:="]
    with (
        Side(domain, Outside) as outside,
        run_program("component_container", arguments, domain) as process,
    ):
        outside.ask("wait_until_active")
        yield process, outside


def peak_mib(pid: int) -> float:
    """Return the most memory that a process has had in RAM since its start, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/{pid}/status has no VmHWM; has the process ended?")
