"""Our executables in processes, and a plain rclpy node that observes them from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor

from launch_double import ROOT

RUN = """
import sys
from edge_inference.cli.main import main
sys.exit(main(sys.argv[1], sys.argv[2:]))
"""
DEADLINE_S = 600.0


class Processes:
    """Our executables, one process each; their output is shown on a failure."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, executable: str, *arguments: str, **environment: str) -> None:
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        log = self._folder / f"{len(self._running)}-{executable}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-c", RUN, executable, *arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": path, **environment},
            )
        self._running.append(process)

    def send(self, number: signal.Signals, which: int) -> None:
        """Send a signal to one of them, by the order of their start."""
        self._running[which].send_signal(number)

    def pid(self, which: int) -> int:
        """Return the process id of one of them, by the order of their start."""
        return self._running[which].pid

    def interrupt(self, times: int) -> list[int]:
        """Send SIGINT to all of them and return their exit codes."""
        for _ in range(times):
            for process in self._running:
                process.send_signal(signal.SIGINT)
        return [process.wait(DEADLINE_S) for process in self._running]

    def output(self) -> str:
        files = sorted(self._folder.glob("*.log"))
        return "\n".join(f"{file.name}:\n{file.read_text(errors='replace')}" for file in files)

    def kill(self) -> None:
        for process in self._running:
            process.kill()
            process.wait()


class Outside:
    """A plain rclpy node that records the messages on topics."""

    def __init__(self) -> None:
        self._context = Context()
        rclpy.init(context=self._context)
        self.node = rclpy.create_node("outside", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self.came: dict[str, Any] = {}

    def listen(self, kind: type[Any], topic: str) -> None:
        def note(message: Any) -> None:
            self.came[topic] = message

        self.node.create_subscription(kind, topic, note, 5)

    def spin_until(self, condition: Callable[[], object], otherwise: Callable[[], str]) -> None:
        end = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < end, f"{sorted(self.came)} came\n{otherwise()}"
            self._executor.spin_once(timeout_sec=0.1)

    def close(self) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()
