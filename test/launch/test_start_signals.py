"""A signal ends a container and a node's executable without a traceback, also while they start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from launch_double import ROOT

DEADLINE_S = 600.0
#: A process that ignores signals while it loads would need far longer.
END_S = 60.0
RUN = """
import sys
from edge_inference.cli.main import main
sys.exit(main(sys.argv[1], sys.argv[2:]))
"""
IMAGE = str(ROOT / "models" / "nanodet" / "golden" / "astronaut.jpg")
COMMANDS = {
    "container": ["component_container", "--pipeline", "perception"],
    "node": ["inference"],
    "run": ["edge-inference", "run", "perception", "--source", IMAGE],
}
SLOW = """
import pathlib, sys, threading
from edge_inference.nodes.component import Component
from edge_inference.nodes.stage import StageSettings

class Slow(Component):
    default_name = "slow"
    settings_class = StageSettings

    def open(self):
        sys.stderr.write("loading\\n")
        threading.Event().wait()

class Quick(Component):
    default_name = "quick"
    settings_class = StageSettings

    def close(self):
        sys.stderr.write("quick has ended\\n")
"""
PIPELINE = """
name: odd
description: an odd one
arguments:
  given: {description: nothing}
components:
  - {name: quick, plugin: "odd_nodes::Quick"}
  - {name: slow, plugin: "odd_nodes::Slow"}
"""


class Process:
    """One of our executables, and its output."""

    def __init__(self, folder: Path, *words: str) -> None:
        self._log = folder / "log"
        path = (str(ROOT), str(folder), os.environ.get("PYTHONPATH"))
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-c", RUN, *words],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))},
            )

    @property
    def output(self) -> str:
        return self._log.read_text(errors="replace")

    def reach(self, stage: str) -> None:
        """Wait for this output, or until a library of this name is mapped."""
        end = time.monotonic() + DEADLINE_S
        maps = Path(f"/proc/{self._process.pid}/maps")
        while stage not in self.output and stage not in maps.read_text():
            assert self._process.poll() is None and time.monotonic() < end, self.output
            threading.Event().wait(0.002)

    def end_by(self, number: signal.Signals, times: int = 1) -> int:
        for _ in range(times):
            self._process.send_signal(number)
        return self._process.wait(END_S)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[type]:
    (tmp_path / "odd_nodes.py").write_text(SLOW)
    (tmp_path / "odd.yaml").write_text(PIPELINE)
    started: list[Process] = []

    def run(*words: str) -> Process:
        started.append(Process(tmp_path, *words))
        return started[-1]

    yield run
    for process in started:
        process.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize(
    ("command", "stage"),
    [
        ("container", "rclpy"),
        ("container", "libfast"),
        ("container", "cv2"),
        ("container", "onnxruntime"),
        ("container", "nanodet: ONNX Runtime"),
        ("node", "rclpy"),
        ("node", "onnxruntime"),
        ("run", "rclpy"),
        ("run", "cv2"),
        ("run", "onnxruntime"),
        ("run", "libfast"),
    ],
)
def test_a_signal_at_any_stage(
    start: type, command: str, stage: str, number: signal.Signals
) -> None:
    process = start(*COMMANDS[command])
    process.reach(stage)
    code = process.end_by(number)
    assert "Traceback" not in process.output, process.output
    assert code in (0, 128 + number, -number), process.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("times", [1, 2])
def test_signal_does_not_wait_for_a_loading_component(
    start: type, tmp_path: Path, number: signal.Signals, times: int
) -> None:
    process = start("component_container", "--pipeline", str(tmp_path / "odd.yaml"))
    process.reach("loading")
    assert process.end_by(number, times) == 128 + number, process.output
    assert "quick has ended" in process.output  # the loaded component is cleaned up
    assert "Traceback" not in process.output, process.output
