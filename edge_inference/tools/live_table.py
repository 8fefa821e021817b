"""Tables on a terminal: one that stays in place during a run, and the summary after it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from edge_inference.core.latency import Percentiles, StageLatency
from edge_inference.tools.frame_book import FrameRecord
from edge_inference.tools.result_forms import result_as_text
from edge_inference.tools.run_output import Progress, RunOutput
from edge_inference.tools.run_summary import Found, RunSummary, in_order

_REDRAW_S = 0.25
_FINDINGS_SHOWN = 6
_LABELS_SHOWN = 8
_PIPE_WIDTH = 100
_END_TO_END = "source to result"


def suits(stream: TextIO) -> bool:
    """Tell whether a stream is a terminal on which a table can stay in place."""
    console = Console(file=stream)
    return console.is_terminal and not console.is_dumb_terminal and "CI" not in os.environ


class LiveTable(RunOutput):
    """Redraws stages and findings in place, a few times a second."""

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._last: FrameRecord | None = None
        self._drawn_s = 0.0

    def frame(self, record: FrameRecord) -> None:
        """Keep the latest frame for the next drawing."""
        self._last = record

    def progress(self, look: Callable[[], Progress]) -> None:
        """Draw, if it is time."""
        now = time.monotonic()
        if now - self._drawn_s < _REDRAW_S:
            return
        self._drawn_s = now
        self._live.start()
        self._live.update(self._drawing(look()), refresh=True)

    def problem(self, text: str) -> None:
        """Write it above the table."""
        self._console.print(Text(f"edge-inference: {text}", style="red"), soft_wrap=True)

    def finish(self, summary: RunSummary | None) -> None:
        """Put the summary in the table's place."""
        self._live.stop()
        if summary is not None:
            _print(summary, self._console)

    def _drawing(self, progress: Progress) -> RenderableType:
        results = f", {progress.results} results"
        head = Text.assemble(f"{progress.engine}\n", (progress.source, "bold"), results)
        if progress.drops:
            total = sum(progress.drops.values())
            head.append(f", {total} dropped ({_counts(progress.drops)})", "yellow")
        head.append("   Ctrl-C ends", "dim")
        stages = _table("stage", "rate /s", "p50 ms", "p95 ms", "p99 ms", "dropped")
        for stage in in_order(progress.latency):
            times = (stage.process.p50, stage.process.p95, stage.process.p99)
            drops = str(sum(stage.drops.values()))
            stages.add_row(stage.stage, f"{stage.rate_hz:.1f}", *map(_ms, times), drops)
        for age in (s.age for s in progress.latency.stages if s.stage == "decode"):
            stages.add_row(_END_TO_END, "", *map(_ms, (age.p50, age.p95, age.p99)), "")
        return Group(head, stages, self._findings())

    def _findings(self) -> Text:
        """Return a fixed number of lines, so that the table does not jump."""
        if self._last is None:
            return Text("waiting for the first result" + "\n" * _FINDINGS_SHOWN, style="dim")
        lines = result_as_text(self._last.result, _FINDINGS_SHOWN) or ["nothing found"]
        lines += [""] * (_FINDINGS_SHOWN - len(lines))
        return Text(f"frame {self._last.number}\n" + "\n".join(f"  {line}" for line in lines))


def print_summary(summary: RunSummary, stream: TextIO) -> None:
    """Write the summary where there is no terminal: no colours, a fixed width."""
    _print(summary, Console(file=stream, width=_PIPE_WIDTH, color_system=None))


def _print(summary: RunSummary, console: Console) -> None:
    console.print(_headline(summary), soft_wrap=True, highlight=False)
    if summary.results:
        console.print(_figures_table(summary))
    for line in _footnotes(summary):
        console.print(Text(line), soft_wrap=True)


def _figures_table(summary: RunSummary) -> Table:
    table = _table("stage", "frames", "rate /s", "p50 ms", "p90 ms", "p95 ms", "p99 ms", "max ms")
    for stage in summary.stages:
        table.add_row(
            stage.stage, str(stage.count), f"{stage.rate_hz:.1f}", *_figures(stage.process)
        )
    table.add_section()
    rate = "" if summary.rate_hz is None else f"{summary.rate_hz:.1f}"
    table.add_row(_END_TO_END, str(summary.results), rate, *_figures(summary.end_to_end))
    return table


def _headline(summary: RunSummary) -> Text:
    head = Text.assemble(
        (f"{summary.results} results", "bold"), f" from {summary.source} in {summary.wall_s:.1f} s"
    )
    if summary.rate_hz is not None:
        head.append(f", {summary.rate_hz:.1f} /s")
    if summary.first_result_s is not None:
        head.append(f"; the first after {summary.first_result_s:.2f} s")
    head.append(f" ({summary.ended})\n")
    head.append(str(summary.engine))
    return head


def _footnotes(summary: RunSummary) -> Iterable[str]:
    if summary.is_lossless and summary.results:
        yield "source to result includes waiting in line; --real-time shows what a camera would see"
    if summary.found.pictures:
        yield "found, in how many pictures (best score): " + _labels(summary.found)
    if summary.drops:
        yield f"dropped: {_counts(summary.drops)}"
    if summary.unreadable:
        yield f"could not be read: {summary.unreadable}"
    if summary.overlay_folder:
        failed = f", {summary.overlays_failed} failed" if summary.overlays_failed else ""
        yield f"overlays: {summary.overlays_written} in {summary.overlay_folder}{failed}"
    for stage in _with_older_frames(summary.stages):
        yield f"{stage.stage}: the percentiles cover the last {stage.window_count} frames"


def _with_older_frames(stages: Iterable[StageLatency]) -> Iterable[StageLatency]:
    return (stage for stage in stages if stage.window_count < stage.count)


def _labels(found: Found) -> str:
    common = found.pictures.most_common()
    texts = [
        f"{label} in {count} ({found.best_score[label]:.2f})"
        for label, count in common[:_LABELS_SHOWN]
    ]
    if len(common) > _LABELS_SHOWN:
        texts.append(f"{len(common) - _LABELS_SHOWN} more")
    return ", ".join(texts)


def _table(first: str, *others: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _figures(percentiles: Percentiles) -> list[str]:
    p = percentiles
    return [_ms(value) for value in (p.p50, p.p90, p.p95, p.p99, p.max)]


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in sorted(counts.items()))
