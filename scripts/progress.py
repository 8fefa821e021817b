"""Shows the progress of the set-up, so that the terminal is never silent for long.

On a terminal one line changes every second. In a log a plain line appears every ten seconds.
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

TERMINAL_INTERVAL_S, LOG_INTERVAL_S = 1.0, 10.0
CLEAR_LINE = "\r\x1b[K"


class Progress:
    """The running steps, each with the last line of its output."""

    def __init__(
        self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream or sys.stdout
        self._clock = clock
        self._start = clock()
        self._is_terminal = self._stream.isatty()
        self._steps: dict[str, str] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def print_line(self, text: str) -> None:
        """Print a line that stays."""
        with self._lock:
            self._print(f"set-up: {text}\n")

    def update(self, step: str, text: str) -> None:
        """Keep the last line of output of a running step."""
        with self._lock:
            if step in self._steps and text:
                self._steps[step] = text

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Show a step as running until the end of the block."""
        with self._lock:
            self._steps[name] = ""
        try:
            yield
        finally:
            with self._lock:
                del self._steps[name]

    @contextmanager
    def display(self) -> Iterator[Progress]:
        """Show the running steps until the end of the block."""
        thread = threading.Thread(target=self._refresh, name="progress", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            thread.join()
            with self._lock:
                self._print("")

    def status_line(self) -> str:
        """Return the running steps in one line; "" if there are none."""
        steps = [f"{name}: {text}" if text else name for name, text in self._steps.items()]
        if not steps:
            return ""
        return f"set-up: {self._clock() - self._start:.0f} s: {' | '.join(steps)}"

    def _refresh(self) -> None:
        while not self._ended.wait(TERMINAL_INTERVAL_S if self._is_terminal else LOG_INTERVAL_S):
            with self._lock:
                line = self.status_line()
                if line and self._is_terminal:
                    self._print(line[: shutil.get_terminal_size().columns - 1])
                elif line:
                    self._print(f"{line}\n")

    def _print(self, text: str) -> None:
        self._stream.write(CLEAR_LINE + text if self._is_terminal else text)
        self._stream.flush()
