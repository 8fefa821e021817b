"""The report of ``benchmark`` for people: tables, and what a comparison shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from edge_inference.cli.perception.summary_table import new_table, print_table
from edge_inference.core.text_line import one_line
from edge_inference.observe.benchmark.benchmark_report import (
    ENGINE,
    BenchmarkReport,
    StreamingAgreement,
)
from edge_inference.observe.benchmark.report_comparison import FigureChange, ReportComparison
from edge_inference.observe.benchmark.saturation import Saturation
from edge_inference.observe.statistics.latency_figures import MINIMUM_SAMPLES

_PIPE_WIDTH = 140
_MAX_LINE = 4000
_LEVELS = {
    "engine": "the engine alone: bare inference, without preprocessing, queues and ROS",
    "pipeline": "the whole pipeline: from capture to result",
}


def print_report(report: BenchmarkReport, stream: TextIO) -> None:
    """Print the figures of every candidate under every load, and what was not measured."""
    console = _console(stream)
    console.print(_text(_headline(report)), soft_wrap=True)
    if report.results:
        print_table(console, _table(report))
    for line in _footnotes(report):
        console.print(_text(line), soft_wrap=True)


def print_comparisons(comparisons: Sequence[ReportComparison], stream: TextIO) -> None:
    """Print the changes of each comparison, with the method."""
    console = _console(stream)
    for comparison in comparisons:
        console.print()
        console.print(_text(f"{comparison.other} against {comparison.base}"), soft_wrap=True)
        print_table(console, _change_table(comparison.changes))
        console.print(_text(f"method: {comparison.method}; 95 % intervals"), soft_wrap=True)
        for text in comparison.differences:
            console.print(_text(f"not alike: {text}"), soft_wrap=True)
        for note in (*comparison.notes, *_untested(comparison.changes)):
            console.print(_text(note), soft_wrap=True)


def format_number(value: float | None) -> str:
    """Format a figure with three or more significant digits; empty where it is unknown."""
    if value is None:
        return ""
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 100 else 2 if abs(value) >= 10 else 3
    return f"{value:.{digits}f}"


def format_change(change: FigureChange) -> str:
    """Format a relative change."""
    return "" if change.change is None else f"{change.change:+.1%}"


def format_interval(change: FigureChange) -> str:
    """Format the interval of a change; empty where it was not tested."""
    if change.low is None or change.high is None:
        return ""
    return f"{change.low:+.1%} … {change.high:+.1%}"


def judge(change: FigureChange) -> str:
    """Return in a word what a change shows."""
    if not change.is_shown:
        return "not tested" if change.note.startswith("not tested") else "no difference shown"
    return "worse" if (change.worsening or 0.0) > 0 else "better"


def describe_saturation(name: str, saturation: Saturation) -> str:
    """Return the result of a search in one sentence."""
    if saturation.rate_hz is None:
        return f"{name}: no rate was sustained" + (
            f" ({saturation.limited_by})" if saturation.limited_by else ""
        )
    failed = saturation.failed_hz
    upper = "" if failed is None else f", and not at {failed:.1f} Hz"
    limit = f"; limited by: {saturation.limited_by}" if saturation.limited_by else ""
    return (
        f"{name}: under 5 % drops up to {saturation.rate_hz:.1f} Hz{upper}, after "
        f"{len(saturation.probes)} probes{limit}"
    )


def _text(value: str) -> Text:
    """Return a text that may come from a file; it must not control the terminal."""
    return Text(one_line(value, _MAX_LINE))


def _console(stream: TextIO) -> Console:
    is_terminal = stream.isatty()
    return Console(
        file=stream,
        width=None if is_terminal else _PIPE_WIDTH,
        color_system="auto" if is_terminal else None,
        highlight=False,
    )


def _headline(report: BenchmarkReport) -> str:
    state = ", INTERRUPTED: a partial report" if report.interrupted else ""
    batch = f", batch {report.batch}" if report.level == ENGINE else ""
    return f"{report.model}{batch}, {_LEVELS[report.level]}{state}"


def _table(report: BenchmarkReport) -> Table:
    names = ("p50", "p90", "p95", "p99", "p99.9")
    table = new_table(
        "candidate", "load", "frames", "rate /s", "drops", *(f"{name} ms" for name in names),
        "CPU ms", "J", "MiB",
    )  # fmt: skip
    for result in report.results:
        latency = result.latency
        table.add_row(
            _text(result.candidate),
            _text(result.load),
            str(result.frames),
            format_number(result.rate_hz),
            f"{result.drop_share:.1%}",
            *(format_number(latency.percentiles[name]) or "-" for name in names),
            format_number(result.cpu_ms_per_frame) or "-",
            format_number(result.energy_j_per_frame) or "-",
            format_number(result.memory_mib) or "-",
        )
    return table


def _footnotes(report: BenchmarkReport) -> Iterator[str]:
    for name, saturation in report.saturations.items():
        yield describe_saturation(name, saturation)
    for name, agreement in report.agreements.items():
        yield f"{name}: {describe_agreement(agreement)}"
    too_short = {name for each in report.results for name in each.latency.missing()}
    for name in [name for name in MINIMUM_SAMPLES if name in too_short]:
        yield f"- {name} needs {MINIMUM_SAMPLES[name]} samples; measure longer with --seconds"
    reasons = {f"{k}: {v}" for each in report.results for k, v in each.not_measured.items()}
    yield from (f"- {reason}" for reason in sorted(reasons))
    if not any(name.startswith("gpu") for each in report.results for name in each.sensors):
        yield "- GPU: not measured: no sensor of a GPU"
    yield from report.problems
    yield "machine: " + ", ".join(f"{name} {value}" for name, value in report.environment.items())


def describe_agreement(agreement: StreamingAgreement) -> str:
    """Return a streaming agreement in one sentence."""
    if agreement.value is None:
        return "streaming agreement is undefined: nothing is found in the recording"
    interval = ""
    if agreement.low is not None and agreement.high is not None:
        interval = f" [{agreement.low:.3f}, {agreement.high:.3f}]"
    estimate = ", estimated from service times" if agreement.is_estimate else ""
    return (
        f"streaming agreement {agreement.value:.3f}{interval} ({agreement.measure}, "
        f"{agreement.frames} frames, with {agreement.reference}{estimate})"
    )


def _change_table(changes: Sequence[FigureChange]) -> Table:
    table = new_table(
        "candidate", "load", "figure", "base", "other", "change", "95 % interval", "p", "shown"
    )
    for change in changes:
        unit = f" {change.unit}" if change.unit else ""
        table.add_row(
            _text(change.candidate),
            _text(change.load),
            change.figure,
            f"{format_number(change.base)}{unit}",
            f"{format_number(change.other)}{unit}",
            format_change(change),
            format_interval(change),
            "" if change.p_value is None else f"{change.p_value:.2g}",
            judge(change),
        )
    return table


def _untested(changes: Sequence[FigureChange]) -> Iterator[str]:
    notes: dict[str, list[str]] = {}
    for change in changes:
        if change.note:
            notes.setdefault(change.note, []).append(change.figure)
    for note, figures in notes.items():
        yield f"{', '.join(dict.fromkeys(figures))}: {note}"
