"""Measures the dashboard: the size of its packages, its CPU time, and the memory of an hour.

CPU time and memory are those of the process ``edge-inference dashboard`` beside the perception
pipeline on the sample video, with one page that reads two snapshots and up to five images a second.
The pipeline's CPU time with and without that page is a figure. The hour is simulated: one snapshot
a second of a robot with 128 stages, which is more than any has.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.footprint import Listener
from benchmarks.programs import run_program
from benchmarks.report import Report
from benchmarks.sides import Side, cpu_seconds, domains, resident_mib
from edge_inference.core.runtime.latency import Percentiles
from edge_inference.observe.dashboard.history_text import history_text
from edge_inference.observe.monitor.history import History
from edge_inference.observe.monitor.snapshot import ProcessRow, Snapshot, StageRow

_PACKAGES = ("starlette", "uvicorn", "websockets")
_INSTALL_BOUND_MB = 10.0
_CPU_BOUND_PERCENT = 3.0
_MEMORY_BOUND_MIB = 100.0
_STAGES = 128
_HOUR_S = 3600
_WAIT_S = 60.0
_POLL_PERIOD_S = 0.1
_SETTLE_S = 3.0


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    report = Report("dashboard", argv, __doc__)
    _install(report)
    _history(report)
    _load(report, 10.0 if report.quick else 60.0)
    return report.finish()


def _install(report: Report) -> None:
    """Measure the files of the extra's packages, with those that they need in turn."""
    sizes = {name: _installed_bytes(name) / 1e6 for name in _with_required(_PACKAGES)}
    report.figure("packages", len(sizes))
    for name, size in sorted(sizes.items()):
        report.figure(f"installed, {name}", size, "MB")
    report.claim("dashboard-install-MB", sum(sizes.values()), at_most=_INSTALL_BOUND_MB)


def _with_required(names: Sequence[str]) -> set[str]:
    """Return distributions and what they need on this machine, without their extras."""
    from packaging.requirements import Requirement

    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        found.add(name)
        for text in importlib.metadata.requires(name) or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return found


def _installed_bytes(name: str) -> int:
    """Return the size of a distribution's files, with those that Python has compiled."""
    files = [Path(str(file.locate())) for file in importlib.metadata.files(name) or ()]
    return sum(file.stat().st_size for file in files if file.is_file())


def _history(report: Report) -> None:
    with Side(domains(1)[0], HistoryHolder) as holder:
        before = resident_mib(holder.pid)
        series: int = holder.ask("fill")
        grown = resident_mib(holder.pid) - before
        text_mb: float = holder.ask("make_message") / 1e6
        report.figure("an hour, series", series)
        report.figure("an hour as a message", text_mb, "MB")
        report.figure("an hour, memory after the message", resident_mib(holder.pid) - before, "MiB")
    report.claim("dashboard-hour-MiB", grown, at_most=_MEMORY_BOUND_MIB)


class HistoryHolder:
    """Keeps a history in a process of its own."""

    def __init__(self) -> None:
        self._history = History()

    def fill(self) -> int:
        """Let an hour pass at once; return the number of series."""
        for second in range(_HOUR_S):
            self._history.append(_make_snapshot(second))
        return len(self._history.series())

    def make_message(self) -> int:
        """Return the length of what a page gets that asks for the hour."""
        return len(history_text(self._history, float(_HOUR_S)))

    def close(self) -> None:
        """Keep nothing to clean up."""


def _make_snapshot(second: int) -> Snapshot:
    times = Percentiles(1.5, 1.0 + second % 7, 2.0, 3.0, 4.0 + second % 5, 9.0)
    return Snapshot(
        1.7e9 + second,
        "/ai",
        stages=tuple(
            StageRow(f"stage_{i}", f"/ai/stage_{i}", 25.0, second, times, times, times, times,
                     times, {"superseded": second}, 0, {}, 0.1)
            for i in range(_STAGES)
        ),
        processes=(ProcessRow(7, ("/ai/stage_0",), 0.5, 200.0, 1.0, 1.0, 0.5),),
    )  # fmt: skip


def _load(report: Report, seconds: float) -> None:
    domain = domains(1)[0]
    values = ("source:=sample", "loop:=true", "pace:=real_time")
    arguments = ["--pipeline", "perception"]
    for value in values:
        arguments += ["--argument", value]
    with (
        Side(domain, Listener) as listener,
        run_program("component_container", arguments, domain) as pipeline,
    ):
        listener.ask("wait_until_active")
        alone = _percent([pipeline.pid], seconds)[0]
        with _dashboard(domain) as (process, address):
            unseen = _percent([process.pid], seconds)[0]
            with Page(address) as page:
                page.wait_until_shown()
                before = page.counts()
                used = _percent([process.pid, pipeline.pid], seconds)
                snapshots, images = (b - a for a, b in zip(before, page.counts(), strict=True))
            report.figure("dashboard, memory", resident_mib(process.pid), "MiB")
    report.figure("snapshots a second", snapshots / (_SETTLE_S + seconds), "Hz")
    report.figure("images a second", images / (_SETTLE_S + seconds), "Hz")
    report.figure("dashboard without a page", unseen, "% of a core")
    report.figure("pipeline alone", alone, "% of a core")
    report.figure("pipeline with a page", used[1], "% of a core")
    report.claim("dashboard-percent-of-a-core", used[0], at_most=_CPU_BOUND_PERCENT)


def _percent(pids: Sequence[int], seconds: float) -> list[float]:
    """Return the share of a core that each process uses."""
    time.sleep(_SETTLE_S)
    before, started = [cpu_seconds(pid) for pid in pids], time.monotonic()
    time.sleep(seconds)
    passed = time.monotonic() - started
    return [
        100 * (cpu_seconds(pid) - used) / passed for pid, used in zip(pids, before, strict=True)
    ]


@contextmanager
def _dashboard(domain: int) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the command; yield its process and the host and port that it serves on."""
    with run_program("edge-inference", ["dashboard", "--port", "0"], domain, subprocess.PIPE) as it:
        assert it.stdout is not None
        line = it.stdout.readline()
        found = re.search(r"http://([\w.:]+)/", line)
        if found is None:
            raise RuntimeError(f"the dashboard printed no address, but {line!r}; see its error")
        yield it, found[1]


class Page:
    """Reads what the server sends, as a browser does, and asks for images."""

    def __init__(self, address: str) -> None:
        from websockets.sync.client import connect

        self._socket = connect(
            f"ws://{address}/ws", origin=f"http://{address}", compression=None, max_size=None
        )
        self._snapshots = 0
        self._images = 0
        self._reading = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Page:
        for message in ({"type": "hello"}, {"type": "image", "on": True}):
            self._socket.send(json.dumps(message))
        self._reading.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._socket.close()
        self._reading.join()

    def counts(self) -> tuple[int, int]:
        """Return the number of snapshots and of images so far."""
        return self._snapshots, self._images

    def wait_until_shown(self) -> None:
        """Return once there was a snapshot with stages, and an image."""
        deadline = time.monotonic() + _WAIT_S
        while not all(self.counts()):
            time.sleep(_POLL_PERIOD_S)
            if time.monotonic() > deadline:
                raise RuntimeError(f"snapshots and images of the page: {self.counts()}")

    def _read(self) -> None:
        for data in self._socket:
            if isinstance(data, bytes):
                self._images += 1
            else:
                message: dict[str, Any] = json.loads(data)
                self._snapshots += message["type"] == "snapshot" and bool(message["data"]["stages"])


if __name__ == "__main__":
    sys.exit(main())
