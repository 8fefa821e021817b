"""The output of a run: JSON lines, plain lines, or a table that is redrawn in place."""

from __future__ import annotations

import json
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TextIO

from edge_inference.cli.exit_status import print_error
from edge_inference.cli.perception.frame_format import record_to_json
from edge_inference.cli.perception.frame_tracker import FrameRecord
from edge_inference.cli.perception.run_summary import EngineSummary, RunSummary
from edge_inference.cli.progress import ProgressDisplay, show_progress
from edge_inference.cli.sessions.latency_format import format_timeline
from edge_inference.core.results import kind_of
from edge_inference.core.runtime.latency import LatencyReport

_FIRST_LINES = 3
_LINE_PERIOD_S = 1.0
_MAX_FINDINGS = 6


@dataclass(frozen=True)
class RunProgress:
    """The state of a run."""

    source: str
    engine: EngineSummary
    results: int
    drops: dict[str, int]
    latency: LatencyReport


class RunOutput(ABC):
    """Displays a run; called from one thread."""

    @abstractmethod
    def frame(self, record: FrameRecord) -> None:
        """Show a finished image."""

    def start(self, source: str, engine: EngineSummary) -> None:
        """Show the source and the engine, before the first frame."""
        del source, engine

    def preparing(self, title: str) -> ProgressDisplay:
        """Return the display for the preparation of the engine, before the start."""
        return show_progress(title, sys.stderr)

    def progress(self, read_progress: Callable[[], RunProgress]) -> None:
        """Update the display; called periodically. ``read_progress`` returns the run's state."""
        del read_progress

    def problem(self, text: str) -> None:
        """Show an error or a warning."""
        print_error(text)

    @abstractmethod
    def finish(self, summary: RunSummary | None) -> None:
        """End the display; ``summary`` is None where the run failed."""


class RunJsonLines(RunOutput):
    """Writes one JSON object in each line, and nothing else."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def frame(self, record: FrameRecord) -> None:
        """Write the frame."""
        self._write(record_to_json(record))

    def finish(self, summary: RunSummary | None) -> None:
        """Write the summary."""
        if summary is not None:
            self._write(summary.as_json())

    def _write(self, item: dict[str, Any]) -> None:
        # ASCII only: a terminal may use any encoding, and a file name may have none.
        self._stream.write(json.dumps(item, allow_nan=False) + "\n")
        self._stream.flush()


class RunPlainLines(RunOutput):
    """Writes a line for each of the first frames, then a line a second, and a table at the end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shown = 0
        self._due_s = 0.0

    def preparing(self, title: str) -> ProgressDisplay:
        """Show the preparation on the same stream."""
        return show_progress(title, self._stream)

    def start(self, source: str, engine: EngineSummary) -> None:
        """Write the source and the engine."""
        self._write(f"{source}: {engine}")

    def frame(self, record: FrameRecord) -> None:
        """Write the frame, if a line is due."""
        now_s = time.monotonic()
        if self._shown >= _FIRST_LINES and now_s < self._due_s:
            return
        self._shown += 1
        self._due_s = now_s + _LINE_PERIOD_S
        lines = kind_of(record.result).to_lines(record.result, _MAX_FINDINGS)
        findings = "; ".join(lines) or "nothing"
        self._write(f"frame {record.number}: {findings}{_format_times(record)}")

    def finish(self, summary: RunSummary | None) -> None:
        """Write the table."""
        if summary is not None:
            from edge_inference.cli.perception.summary_table import print_summary

            print_summary(summary, self._stream)

    def _write(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()


def _format_times(record: FrameRecord) -> str:
    return "" if record.timeline is None else f" ({format_timeline(record.timeline)})"
