"""Says how the set-up goes on, so that nobody looks at a silent terminal.

On a terminal one line changes every second. Elsewhere, as in a log, a plain line now and then.
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

ON_TERMINAL_S, ELSEWHERE_S = 1.0, 10.0
CLEAR_LINE = "\r\x1b[K"


class Progress:
    """The steps that are under way, each with the last that was heard of it."""

    def __init__(
        self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream or sys.stdout
        self._clock = clock
        self._start = clock()
        self._terminal = self._stream.isatty()
        self._steps: dict[str, str] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def say(self, text: str) -> None:
        """Print a line that stays."""
        with self._lock:
            self._print(f"set-up: {text}\n")

    def note(self, step: str, text: str) -> None:
        """Keep the last that was heard of a step that is under way."""
        with self._lock:
            if step in self._steps and text:
                self._steps[step] = text

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Show a step from here to the end of the block."""
        with self._lock:
            self._steps[name] = ""
        try:
            yield
        finally:
            with self._lock:
                del self._steps[name]

    @contextmanager
    def shown(self) -> Iterator[Progress]:
        """Show what goes on until the end of the block."""
        thread = threading.Thread(target=self._repeat, name="progress", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            thread.join()
            with self._lock:
                self._print("")

    def line(self) -> str:
        """Return what goes on, in one line; empty where nothing does."""
        steps = [f"{name}: {heard}" if heard else name for name, heard in self._steps.items()]
        if not steps:
            return ""
        return f"set-up: {self._clock() - self._start:.0f} s: {' | '.join(steps)}"

    def _repeat(self) -> None:
        while not self._ended.wait(ON_TERMINAL_S if self._terminal else ELSEWHERE_S):
            with self._lock:
                line = self.line()
                if line and self._terminal:
                    self._print(line[: shutil.get_terminal_size().columns - 1])
                elif line:
                    self._print(f"{line}\n")

    def _print(self, text: str) -> None:
        self._stream.write(CLEAR_LINE + text if self._terminal else text)
        self._stream.flush()
