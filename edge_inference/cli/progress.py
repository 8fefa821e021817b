"""Progress of long work: a bar on a terminal, lines in a log, or JSON."""

from __future__ import annotations

import json
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

_LINE_PERIOD_S = 2.0
_JSON_PERIOD_S = 0.5


class ProgressDisplay(AbstractContextManager["ProgressDisplay"], ABC):
    """Shows one task, from its first call on. Called from one thread."""

    @abstractmethod
    def __call__(self, phase: str, fraction: float | None) -> None:
        """Show a phase, and the completed fraction of the whole task, 0 to 1; None: unknown."""

    def __exit__(self, *exc_info: object) -> None:
        """Remove what only makes sense while the task runs."""


class ProgressBar(ProgressDisplay):
    """A bar that is redrawn in place and removed at the end."""

    def __init__(self, title: str, stream: TextIO) -> None:
        self._title = title
        self._stream = stream
        self._bar: RichProgress | None = None

    def __call__(self, phase: str, fraction: float | None) -> None:
        """Move the bar."""
        bar = self._bar or self._start()
        total = None if fraction is None else 1.0
        (task,) = bar.task_ids
        bar.update(task, total=total, completed=fraction or 0.0, phase=phase)

    def __exit__(self, *exc_info: object) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _start(self) -> RichProgress:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._bar = Progress(
            # Plain text: brackets in a layer's name are not markup.
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[phase]}", markup=False),
            console=Console(file=self._stream),
            transient=True,
        )
        self._bar.add_task(self._title, total=None, phase="")
        self._bar.start()
        return self._bar


class _PeriodicLines(ProgressDisplay):
    """Writes the first call, then at most one changed line in each period."""

    def __init__(
        self,
        title: str,
        stream: TextIO,
        period_s: float,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._title = title
        self._stream = stream
        self._period_s = period_s
        self._now_s = now_s
        self._due_s: float | None = None
        self._last: tuple[str, float | None] | None = None

    def __call__(self, phase: str, fraction: float | None) -> None:
        now_s = self._now_s()
        if (phase, fraction) == self._last or (self._due_s is not None and now_s < self._due_s):
            return
        self._last, self._due_s = (phase, fraction), now_s + self._period_s
        self._stream.write(self.text(phase, fraction) + "\n")
        self._stream.flush()

    @abstractmethod
    def text(self, phase: str, fraction: float | None) -> str:
        """Return the line."""


class ProgressLines(_PeriodicLines):
    """Lines of text."""

    def text(self, phase: str, fraction: float | None) -> str:
        """Return a line for people."""
        return f"{self._title}: {'' if fraction is None else f'{fraction:.0%} '}{phase}"


class ProgressJsonLines(_PeriodicLines):
    """Lines of JSON."""

    def text(self, phase: str, fraction: float | None) -> str:
        """Return a line for programs."""
        rounded = None if fraction is None else round(fraction, 3)
        return json.dumps({"progress": {"what": self._title, "phase": phase, "fraction": rounded}})


def show_progress(title: str, stream: TextIO, as_json: bool = False) -> ProgressDisplay:
    """Return the display that suits a stream; use it as a context manager."""
    if as_json:
        return ProgressJsonLines(title, stream, _JSON_PERIOD_S)
    if stream.isatty() and can_redraw(stream):  # isatty first: rich is slow to import
        return ProgressBar(title, stream)
    return ProgressLines(title, stream, _LINE_PERIOD_S)


def can_redraw(stream: TextIO) -> bool:
    """Tell whether a stream is a terminal on which a table or a bar can be redrawn in place."""
    from rich.console import Console

    console = Console(file=stream)
    return console.is_terminal and not console.is_dumb_terminal and "CI" not in os.environ
