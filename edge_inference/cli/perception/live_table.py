"""A table that is redrawn in place on a terminal during a run."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from edge_inference.cli.console_table import format_milliseconds, new_table
from edge_inference.cli.perception.frame_tracker import FrameRecord
from edge_inference.cli.perception.run_output import RunOutput, RunProgress
from edge_inference.cli.perception.run_summary import RunSummary, result_end
from edge_inference.cli.perception.summary_table import END_TO_END, format_counts, print_on
from edge_inference.cli.progress import ProgressBar, ProgressDisplay
from edge_inference.cli.sessions.latency_format import sort_stages
from edge_inference.core.results import kind_of
from edge_inference.core.text_line import one_line
from edge_inference.observe.clock_faults import count_clock_faults, describe_clock_faults

_REDRAW_S = 0.25
_MAX_FINDINGS = 6


class PerceptionLiveTable(RunOutput):
    """Redraws stages and findings in place, a few times a second."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._console = Console(file=stream)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._last: FrameRecord | None = None
        self._drawn_s = 0.0

    def preparing(self, title: str) -> ProgressDisplay:
        """Show a bar where the table will be."""
        return ProgressBar(title, self._stream)

    def frame(self, record: FrameRecord) -> None:
        """Keep the latest frame for the next redraw."""
        self._last = record

    def progress(self, read_progress: Callable[[], RunProgress]) -> None:
        """Redraw the table, if the redraw period has passed."""
        now = time.monotonic()
        if now - self._drawn_s < _REDRAW_S:
            return
        self._drawn_s = now
        self._live.start()
        self._live.update(self._render(read_progress()), refresh=True)

    def problem(self, text: str) -> None:
        """Write the problem above the table."""
        self._console.print(Text(f"edge-inference: {one_line(text)}", style="red"), soft_wrap=True)

    def finish(self, summary: RunSummary | None) -> None:
        """Replace the table by the summary."""
        self._live.stop()
        if summary is not None:
            print_on(summary, self._console)

    def _render(self, progress: RunProgress) -> RenderableType:
        results = f", {progress.results} results"
        head = Text.assemble(f"{progress.engine}\n", (progress.source, "bold"), results)
        if progress.drops:
            total = sum(progress.drops.values())
            head.append(f", {total} dropped ({format_counts(progress.drops)})", "yellow")
        head.append("   Ctrl-C ends", "dim")
        stages = new_table("stage", "rate /s", "p50 ms", "p95 ms", "p99 ms", "dropped")
        for stage in sort_stages(progress.latency):
            times = (stage.process.p50, stage.process.p95, stage.process.p99)
            drops = str(sum(stage.drops.values()))
            stages.add_row(
                stage.stage, f"{stage.rate_hz:.1f}", *map(format_milliseconds, times), drops
            )
        end = result_end(progress.latency)
        if end is not None:
            ages = (end.recent.p50, end.recent.p95, end.recent.p99)
            stages.add_row(END_TO_END, "", *map(format_milliseconds, ages), "")
        return Group(head, stages, *self._render_faults(progress), self._render_findings())

    def _render_faults(self, progress: RunProgress) -> list[Text]:
        faults = describe_clock_faults(count_clock_faults(progress.latency))
        if (end := result_end(progress.latency)) and end.deadline_misses:
            faults.append(f"deadline misses: {end.deadline_misses}")
        return [Text(fault, "yellow") for fault in faults]

    def _render_findings(self) -> Text:
        """Return a fixed number of lines, so that the table does not jump."""
        if self._last is None:
            return Text("waiting for the first result" + "\n" * _MAX_FINDINGS, style="dim")
        result = self._last.result
        lines = kind_of(result).to_lines(result, _MAX_FINDINGS) or ["nothing found"]
        lines += [""] * (_MAX_FINDINGS - len(lines))
        return Text(f"frame {self._last.number}\n" + "\n".join(f"  {line}" for line in lines))
