"""What a run shows: JSON lines, plain lines, or a table that stays in place."""

from __future__ import annotations

import json
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TextIO

from edge_inference.cli.exit_status import print_error
from edge_inference.cli.perception.frame_tracker import FrameRecord
from edge_inference.cli.perception.result_format import format_result, record_to_json
from edge_inference.cli.perception.run_summary import EngineSummary, RunSummary
from edge_inference.cli.progress import ProgressDisplay, show_progress
from edge_inference.core.runtime.latency import LatencyReport

_LINES_AT_FIRST = 3
_LINE_PERIOD_S = 1.0
_NAMED_IN_A_LINE = 6


@dataclass(frozen=True)
class RunProgress:
    """How a run is doing."""

    source: str
    engine: EngineSummary
    results: int
    drops: dict[str, int]
    latency: LatencyReport


class RunOutput(ABC):
    """Where a run reports to; called from one thread."""

    @abstractmethod
    def frame(self, record: FrameRecord) -> None:
        """Hear of a finished image."""

    def start(self, source: str, engine: EngineSummary) -> None:
        """Hear what runs, before the first frame."""
        del source, engine

    def preparing(self, title: str) -> ProgressDisplay:
        """Return what shows the engine being made, before the start."""
        return show_progress(title, sys.stderr)

    def progress(self, look: Callable[[], RunProgress]) -> None:
        """Hear that time has passed; ``look`` says how the run is doing."""
        del look

    def problem(self, text: str) -> None:
        """Hear of something that went wrong, or that the user should know."""
        print_error(text)

    @abstractmethod
    def finish(self, summary: RunSummary | None) -> None:
        """End the report; without a summary where the run failed."""


class RunJsonLines(RunOutput):
    """One JSON object a line, nothing else."""

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
        # As ASCII: a terminal may have any encoding, and a file's name may have none.
        self._stream.write(json.dumps(item, allow_nan=False) + "\n")
        self._stream.flush()


class RunPlainLines(RunOutput):
    """The first few frames a line each, then one a second; at the end a table."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shown = 0
        self._due = 0.0

    def preparing(self, title: str) -> ProgressDisplay:
        """Show it where the run is shown."""
        return show_progress(title, self._stream)

    def start(self, source: str, engine: EngineSummary) -> None:
        """Say what runs."""
        self._write(f"{source}: {engine}")

    def frame(self, record: FrameRecord) -> None:
        """Write the frame, if one is due."""
        now = time.monotonic()
        if self._shown >= _LINES_AT_FIRST and now < self._due:
            return
        self._shown += 1
        self._due = now + _LINE_PERIOD_S
        found = "; ".join(format_result(record.result, _NAMED_IN_A_LINE)) or "nothing"
        times = ", ".join(f"{stage} {ms:.1f}" for stage, ms in record.process_ms.items())
        self._write(f"frame {record.number}: {found} ({times} ms)")

    def finish(self, summary: RunSummary | None) -> None:
        """Write the table."""
        if summary is not None:
            from edge_inference.cli.perception.summary_table import print_summary

            print_summary(summary, self._stream)

    def _write(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()
