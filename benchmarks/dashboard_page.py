"""Measures the memory of the dashboard's page: flat, however long it is open.

The page shows an hour of history, images and all panels of a made-up robot in headless Chromium,
with snapshots at ten times the rate of the dashboard. Needs Chromium and the extra dashboard.
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from benchmarks.chromium_page import ChromiumPage, find_chromium, open_chromium
from benchmarks.report import Report
from edge_inference.core.runtime.latency import Percentiles
from edge_inference.observe.dashboard import dashboard_server, live_hub
from edge_inference.observe.dashboard.access_rules import AccessRules
from edge_inference.observe.dashboard.listening_socket import open_listening_socket
from edge_inference.observe.dashboard.page_files import read_page_files
from edge_inference.observe.monitor.history import History
from edge_inference.observe.monitor.parameter_row import ParameterRow
from edge_inference.observe.monitor.snapshot import (
    Decision,
    EndRow,
    HealthRow,
    ProcessRow,
    ResultRow,
    Snapshot,
    StageRow,
)

_FASTER = 10
_SECONDS = 600.0
_QUICK_SECONDS = 60.0
_WARM_UP_S = 15.0
_SAMPLES = 30
_STAGES = 12
_MAX_GROWTH = 1.1
_MAX_DECISIONS = 500


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    report = Report("dashboard_page", argv, __doc__)
    chromium = find_chromium()
    if chromium is None:
        print("Chromium is not installed: apt-get install chromium; nothing was measured")
        return report.finish()
    with (
        _served(BusyRobot()) as address,
        tempfile.TemporaryDirectory() as folder,
        open_chromium(chromium, Path(folder)) as page,
    ):
        sizes = _open_for(page, address, _QUICK_SECONDS if report.quick else _SECONDS)
    third = len(sizes) // 3
    first, last = (float(np.median(part)) for part in (sizes[:third], sizes[-third:]))
    report.figure("heap in the first third", first / 2**20, "MiB")
    report.figure("heap in the last third", last / 2**20, "MiB")
    report.claim("dashboard-page-heap-growth", last / first, at_most=_MAX_GROWTH)
    return report.finish()


def _open_for(page: ChromiumPage, address: str, seconds: float) -> list[int]:
    """Return the sizes of the heap while everything is on the screen."""
    page.show_as(1280, 6000)
    page.open(address)
    page.wait_for("document.querySelectorAll('#charts canvas').length >= 4")
    page.click("#charts input[value='3600']")
    page.click("#image-on")
    page.wait_for("document.querySelector('#image img').naturalWidth")
    time.sleep(_WARM_UP_S)
    sizes = page.sample_heap(seconds, _SAMPLES)
    if page.faults:
        raise RuntimeError(f"the page reported {page.faults[0]}")
    return sizes


@contextmanager
def _served(robot: BusyRobot) -> Iterator[str]:
    listener = open_listening_socket("127.0.0.1", 0)
    address = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    files = read_page_files(Path(dashboard_server.__file__).parent / "static")
    rules = AccessRules("127.0.0.1")
    server = dashboard_server.DashboardServer(listener, robot, rules, files, print)
    usual, live_hub.SNAPSHOT_PERIOD_S = (
        live_hub.SNAPSHOT_PERIOD_S,
        live_hub.SNAPSHOT_PERIOD_S / _FASTER,
    )
    server.start()
    try:
        yield address
    finally:
        server.close()
        live_hub.SNAPSHOT_PERIOD_S = usual


class _NoParameters:
    def read(self, node: str) -> Sequence[ParameterRow]:
        return ()

    def change(self, node: str, name: str, value: object) -> str:
        return "there are no parameters"


class BusyRobot:
    """A robot with an hour of history, whose figures are new in each snapshot."""

    def __init__(self) -> None:
        self.history = History()
        self.parameters = _NoParameters()
        self._number = 0
        self._decisions: list[Decision] = []
        self._viewers: list[Callable[[bytes, int], None]] = []
        now_s = time.time()
        for second in range(3600, 0, -1):
            self.history.append(self._make(now_s - second))

    def snapshot(self) -> Snapshot:
        """Return the next one, after it was added to the history; viewers get an image."""
        snapshot = self._make(time.time())
        self.history.append(snapshot)
        if self._viewers:
            image = _draw(self._number)
            for show in [*self._viewers]:
                show(image, time.time_ns())
        return snapshot

    def watch_image(self, callback: Callable[[bytes, int], None]) -> Callable[[], None]:
        """Call ``callback`` with each image, until the returned function is called."""
        self._viewers.append(callback)
        return lambda: self._viewers.remove(callback)

    def _make(self, at_s: float) -> Snapshot:
        self._number += 1
        value = 10 + 5 * math.sin(self._number / 10)
        times = Percentiles(value, value, value * 1.1, value * 1.2, value * 1.5, value * 2)
        if self._number % 5 == 0:
            self._decisions.append(Decision(at_s, "limit", "/ai/inference", f"at {value:.2f} Hz"))
            del self._decisions[:-_MAX_DECISIONS]
        names = [f"/ai/stage_{number}" for number in range(_STAGES)]
        return Snapshot(
            at_s,
            "/ai",
            stages=tuple(
                StageRow(name[4:], name, value, self._number, times, times, times, times, times,
                         {"superseded": self._number}, 0, {}, 0.1)
                for name in names
            ),
            ends=(EndRow("stage_11", names[-1], self._number, times, times, 0),),
            processes=(ProcessRow(7, tuple(names), value / 20, 200.0 + value, value, 1.0, 0.5),),
            health=tuple(HealthRow(name, "ok", f"frames {self._number}", 0.5) for name in names),
            results=(
                ResultRow("/ai/detections", "detections", "made up",
                          tuple(f"object {value * number:.3f}" for number in range(10)), 0.1),
            ),
            decisions=tuple(self._decisions),
        )  # fmt: skip


def _draw(number: int) -> bytes:
    image = np.full((480, 640, 3), number % 256, np.uint8)
    return cv2.imencode(".jpg", image)[1].tobytes()


if __name__ == "__main__":
    sys.exit(main())
