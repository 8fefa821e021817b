"""Measures the footprint of the perception pipeline: time to first result, memory, idle CPU time.

The time to the first result is from the start of the process ``edge-inference
run perception`` on the sample video to its first line of JSON. Memory (resident,
the maximum of many samples) and CPU time are those of the component
container with the pipeline, as on a robot, while another process subscribes.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
from diagnostic_msgs.msg import DiagnosticArray
from std_msgs.msg import Float32

from benchmarks.perception import MODEL, SIZES, make_image
from benchmarks.programs import run_program
from benchmarks.report import Report, Samples
from benchmarks.sides import Side, cpu_seconds, domains, resident_mib
from benchmarks.spinning_node import SpinningNode

_FIRST_RESULT_BOUND_S = 3.0
_MEMORY_BOUND_MIB = 350.0
_IDLE_BOUND_PERCENT = 3.0
_CAMERA_HZ = 30
_WAIT_S = 30.0
_POLL_PERIOD_S = 0.2
#: The diagnostics message of a stage before it is active.
_NOT_RUNNING = "not active"
_STAGES = ("/ai/preprocess", "/ai/inference", "/ai/decode")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    report = Report("footprint", argv, __doc__)
    _first_result(report, 3 if report.quick else 15)
    _memory(report, 5.0 if report.quick else 30.0)
    _idle(report, 10.0 if report.quick else 60.0)
    return report.finish()


def _first_result(report: Report, runs: int) -> None:
    """Start the command line several times; the claim is about the median."""
    times = [_time_to_first_line() for _ in range(runs)]
    samples = Samples(times)
    report.samples("edge-inference run, start to first result", samples)
    report.claim("footprint-first-result-s", samples.p50 / 1e3, at_most=_FIRST_RESULT_BOUND_S)


def _time_to_first_line() -> int:
    arguments = ["run", "perception", "--source", "sample", "--model", MODEL, "--json"]
    started = time.perf_counter_ns()
    with run_program("edge-inference", arguments, domains(1)[0], subprocess.PIPE) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        took = time.perf_counter_ns() - started
    if not line:
        raise RuntimeError("edge-inference run returned no result; see its error above")
    return took


def _memory(report: Report, seconds: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, (width, height) in SIZES.items():
            file = Path(folder) / f"{name}.jpg"
            cv2.imwrite(str(file), make_image(width, height))
            peak, results = _peak_memory(str(file), seconds)
            report.figure(f"{name}, results a second", results / seconds, "Hz")
            report.claim(f"footprint-{name}-memory-MiB", peak, at_most=_MEMORY_BOUND_MIB)
    peak, _ = _peak_memory("sample", seconds)
    report.figure("sample video, memory", peak, "MiB")


def _peak_memory(source: str, seconds: float) -> tuple[float, int]:
    """Return the largest resident memory and the number of results."""
    values = {"source": source, "loop": "true", "rate": str(_CAMERA_HZ)}
    with _container(values) as (process, listener):
        before: int = listener.ask("results")
        peak = 0.0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            peak = max(peak, resident_mib(process.pid))
            time.sleep(_POLL_PERIOD_S)
            results: int = listener.ask("results") - before
    if not results:
        raise RuntimeError(f"the container returned no results for {source}")
    return peak, results


def _idle(report: Report, seconds: float) -> None:
    with _container({}) as (process, _):
        used, started = cpu_seconds(process.pid), time.monotonic()
        time.sleep(seconds)
        used = cpu_seconds(process.pid) - used
        percent = 100 * used / (time.monotonic() - started)
        report.figure("idle, memory", resident_mib(process.pid), "MiB")
    report.claim("footprint-idle-percent-of-a-core", percent, at_most=_IDLE_BOUND_PERCENT)


@contextmanager
def _container(values: dict[str, str]) -> Iterator[tuple[subprocess.Popen[str], Side]]:
    """Start the container with the pipeline, and wait until its stages are active."""
    arguments = ["--pipeline", "perception"]
    for name, value in {"model": MODEL, **values}.items():
        arguments += ["--argument", f"{name}:={value}"]
    domain = domains(1)[0]
    with (
        Side(domain, Listener) as listener,
        run_program("component_container", arguments, domain) as process,
    ):
        listener.ask("wait_until_active")
        yield process, listener


class Listener(SpinningNode):
    """Another process of the robot, which subscribes to results and diagnostics."""

    def __init__(self) -> None:
        super().__init__()
        self._results = 0
        self._active: set[str] = set()
        self.node.create_subscription(Float32, "/ai/inference_result", self._count, 100)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._note, 100)

    def wait_until_active(self) -> None:
        """Return once every stage is active according to /diagnostics."""
        deadline = time.monotonic() + _WAIT_S
        while not self._active.issuperset(_STAGES):
            time.sleep(_POLL_PERIOD_S)
            if time.monotonic() > deadline:
                raise RuntimeError(f"not all of {_STAGES} became active: {sorted(self._active)}")

    def results(self) -> int:
        """Return the number of results so far."""
        return self._results

    def _count(self, message: Any) -> None:
        self._results += 1

    def _note(self, message: Any) -> None:
        self._active |= {s.name for s in message.status if s.message != _NOT_RUNNING}


if __name__ == "__main__":
    sys.exit(main())
