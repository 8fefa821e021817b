"""The table with the summary of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from edge_inference.cli.console_table import format_milliseconds, new_table, print_table
from edge_inference.cli.perception.run_summary import ResultCounts, RunSummary
from edge_inference.cli.sessions.latency_format import count_lost
from edge_inference.core.runtime.latency import Percentiles, StageLatency
from edge_inference.observe.clock_faults import count_clock_faults, describe_clock_faults

#: Name of the time from capture to result.
END_TO_END = "source to result"
_MAX_LABELS = 8
_PIPE_WIDTH = 100


def print_summary(summary: RunSummary, stream: TextIO) -> None:
    """Write the summary on a stream that is not a terminal: no colors, a fixed width."""
    print_on(summary, Console(file=stream, width=_PIPE_WIDTH, color_system=None))


def print_on(summary: RunSummary, console: Console) -> None:
    """Write the summary on a rich console."""
    console.print(_headline(summary), soft_wrap=True, highlight=False)
    if summary.results:
        print_table(console, _figures_table(summary))
        print_table(console, segments_table(summary.stages, summary.end_to_end))
    for line in _footnotes(summary):
        console.print(Text(line), soft_wrap=True)


def _figures_table(summary: RunSummary) -> Table:
    table = new_table(
        "stage", "frames", "rate /s", "p50 ms", "p90 ms", "p95 ms", "p99 ms", "max ms"
    )
    for stage in summary.stages:
        table.add_row(
            stage.stage, str(stage.count), f"{stage.rate_hz:.1f}", *_figures(stage.process)
        )
    table.add_section()
    rate = "" if summary.rate_hz is None else f"{summary.rate_hz:.1f}"
    table.add_row(END_TO_END, str(summary.results), rate, *_figures(summary.end_to_end))
    return table


def segments_table(stages: Iterable[StageLatency], end_to_end: Percentiles) -> Table:
    """Return where the time of a frame goes; ``share`` is of the mean from end to end."""
    table = new_table(
        "p50, p99 in ms", "transport", "p99", "queue", "p99", "process", "p99", "share"
    )
    for stage in stages:
        parts = (stage.transport, stage.queue, stage.process)
        times = [format_milliseconds(ms) for part in parts for ms in (part.p50, part.p99)]
        table.add_row(stage.stage, *times, _share(parts, end_to_end))
    return table


def _share(parts: Iterable[Percentiles], end_to_end: Percentiles) -> str:
    """Return the share of a stage; empty where a part is unknown, or nothing ends after it."""
    means = [part.mean for part in parts]
    if None in means or not end_to_end.mean:
        return ""
    return f"{sum(filter(None, means)) / end_to_end.mean:.0%}"


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
        yield "source to result includes waiting; --real-time shows the times for a camera"
    if summary.found.images:
        yield "found, in how many images (best score): " + _format_labels(summary.found)
    if summary.drops:
        yield f"dropped: {format_counts(summary.drops)}"
    if lost := count_lost(summary.stages):
        yield f"lost on the way from other processes: {lost} messages"
    if summary.latency.deadline_ms is not None:
        yield (
            f"deadline {summary.latency.deadline_ms:g} ms: missed by {summary.deadline_misses} "
            f"of {summary.results} results"
        )
    yield from describe_clock_faults(count_clock_faults(summary.latency))
    if summary.unreadable:
        yield f"could not be read: {summary.unreadable}"
    if summary.overlay_folder:
        failed = f", {summary.overlays_failed} failed" if summary.overlays_failed else ""
        yield f"overlays: {summary.overlays_written} in {summary.overlay_folder}{failed}"
    if summary.recording is not None:
        yield str(summary.recording)
    for stage in summary.stages:
        if stage.window_count < stage.count:
            yield f"{stage.stage}: the percentiles cover the last {stage.window_count} frames"


def _format_labels(found: ResultCounts) -> str:
    common = found.images.most_common()
    texts = [
        f"{label} in {count} ({found.best_score[label]:.2f})"
        for label, count in common[:_MAX_LABELS]
    ]
    if len(common) > _MAX_LABELS:
        texts.append(f"{len(common) - _MAX_LABELS} more")
    return ", ".join(texts)


def _figures(percentiles: Percentiles) -> list[str]:
    p = percentiles
    return [format_milliseconds(value) for value in (p.p50, p.p90, p.p95, p.p99, p.max)]


def format_counts(drops: Mapping[str, int]) -> str:
    """Format the number of dropped frames for each reason."""
    return ", ".join(f"{reason} {count}" for reason, count in sorted(drops.items()))
