"""Measures the CPU time and memory of the platform manager.

A container runs the manager at its 2 updates per second, while another process subscribes
to all its topics; the same container without the manager is the baseline. One run reads
the sensors of this machine, another those of a recorded Jetson Orin NX, which are about
60 files.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge_inference.msg import PerformanceDirective, PlatformState

from benchmarks.programs import run_program
from benchmarks.report import Report
from benchmarks.sides import Side, cpu_seconds, domains, resident_mib
from benchmarks.spinning_node import SpinningNode

_BOUND_PERCENT = 1.0
_RECORDING = Path(__file__).parents[1] / "test" / "platform_recordings" / "orin_nx.jsonl"
_WAIT_S = 30.0
_POLL_S = 0.2
_SETTLE_S = 3.0


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    report = Report("manager", argv, __doc__)
    seconds = 10.0 if report.quick else 60.0
    _measure(report, "container alone", [], seconds)
    for name, values in {
        "this machine": ["allow_unmonitored:=true"],
        "recorded Orin NX": [f"recording:={_RECORDING}"],
    }.items():
        arguments = ["--pipeline", "platform"]
        for value in values:
            arguments += ["--argument", value]
        percent = _measure(report, name, arguments, seconds)
        claim = f"manager-{name.replace(' ', '-')}-percent-of-a-core"
        report.claim(claim, percent, at_most=_BOUND_PERCENT)
    return report.finish()


def _measure(report: Report, name: str, arguments: Sequence[str], seconds: float) -> float:
    domain = domains(1)[0]
    with (
        Side(domain, Listener) as listener,
        run_program("component_container", arguments, domain) as process,
    ):
        if arguments:
            listener.ask("wait_for_state")
        time.sleep(_SETTLE_S)
        before: int = listener.ask("states")
        used, started = cpu_seconds(process.pid), time.monotonic()
        time.sleep(seconds)
        elapsed = time.monotonic() - started
        percent = 100 * (cpu_seconds(process.pid) - used) / elapsed
        states: int = listener.ask("states") - before
        report.figure(f"{name}, memory", resident_mib(process.pid), "MiB")
        report.figure(f"{name}, CPU", percent, "% of a core")
    if arguments and states < seconds:
        raise RuntimeError(f"{name}: expected about {2 * seconds:g} states, got {states}")
    return percent


class Listener(SpinningNode):
    """Another process that subscribes to all topics of the manager."""

    def __init__(self) -> None:
        super().__init__()
        self._states = 0
        self.node.create_subscription(PlatformState, "/ai/platform_state", self._count, 10)
        self.node.create_subscription(
            PerformanceDirective, "/ai/performance_directive", lambda message: None, 10
        )

    def wait_for_state(self) -> None:
        """Return after the first state has arrived."""
        deadline = time.monotonic() + _WAIT_S
        while not self._states:
            time.sleep(_POLL_S)
            if time.monotonic() > deadline:
                raise RuntimeError(f"no message on /ai/platform_state within {_WAIT_S:g} s")

    def states(self) -> int:
        """Return the number of received states."""
        return self._states

    def _count(self, message: Any) -> None:
        self._states += 1


if __name__ == "__main__":
    sys.exit(main())
