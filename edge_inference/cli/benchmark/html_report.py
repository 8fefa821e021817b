"""The report as one HTML page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from edge_inference.cli.benchmark.benchmark_format import (
    describe_agreement,
    describe_saturation,
    format_change,
    format_interval,
    format_number,
    judge,
)
from edge_inference.cli.benchmark.svg_plot import Line, draw_lines
from edge_inference.cli.html_page import format_facts, format_list, format_page, format_table
from edge_inference.observe.benchmark.benchmark_report import BenchmarkReport, BenchmarkResult
from edge_inference.observe.benchmark.report_comparison import ReportComparison

_PERCENTILES = ("p50", "p90", "p95", "p99", "p99.9")
#: A curve of more points looks the same.
_MAX_POINTS = 400


def format_html(report: BenchmarkReport, comparisons: Sequence[ReportComparison]) -> str:
    """Return the whole page."""
    title = f"Benchmark of {report.model}, {report.level}"
    parts = [
        f"<p>{escape(report.started)}, {report.seconds:g} s for each candidate and load</p>",
    ]
    if report.interrupted:
        parts.append('<p class="problem">The run was interrupted: this is a partial report.</p>')
    parts += [*_results(report), *_plots(report), *_comparisons(comparisons), *_facts(report)]
    return format_page(title, parts)


def _results(report: BenchmarkReport) -> Iterator[str]:
    yield "<h2>Figures</h2>"
    head = (
        "candidate", "load", "frames", "rate /s", "drops", *(f"{name} ms" for name in _PERCENTILES),
        "CPU ms", "J per frame", "MiB",
    )  # fmt: skip
    rows = [
        (
            result.candidate,
            result.load,
            str(result.frames),
            format_number(result.rate_hz),
            f"{result.drop_share:.1%}",
            *(format_number(result.latency.percentiles[name]) or "-" for name in _PERCENTILES),
            format_number(result.cpu_ms_per_frame) or "-",
            format_number(result.energy_j_per_frame) or "-",
            format_number(result.memory_mib) or "-",
        )
        for result in report.results
    ]
    yield format_table(head, rows)
    notes = [describe_saturation(name, each) for name, each in report.saturations.items()]
    notes += [f"{name}: {describe_agreement(each)}" for name, each in report.agreements.items()]
    missing: dict[str, None] = {}
    for result in report.results:
        for figure, reason in {**result.latency.missing(), **result.not_measured}.items():
            missing[f"{result.candidate}, {result.load}: {figure}: {reason}"] = None
    yield format_list([*notes, *report.problems, *missing])


def _plots(report: BenchmarkReport) -> Iterator[str]:
    if not report.results:
        return
    yield "<h2>Latency</h2><p>Share of the samples that took at most this long.</p>"
    yield draw_lines(
        [Line(_name(result), *_distribution(result)) for result in report.results],
        "milliseconds",
        "share",
    )
    yield "<p>In the order of the samples.</p>"
    yield draw_lines(
        [Line(_name(result), *_course(result)) for result in report.results],
        "share of the run",
        "milliseconds",
    )
    searched = {
        name: sorted(each.probes, key=lambda probe: probe.rate_hz)
        for name, each in report.saturations.items()
        if each.probes
    }
    if searched:
        yield "<h2>Saturation</h2><p>Dropped share at each probed rate.</p>"
        yield draw_lines(
            [
                Line(name, [each.rate_hz for each in probes], [each.drop_share for each in probes])
                for name, probes in searched.items()
            ],
            "frames per second",
            "dropped share",
        )


def _comparisons(comparisons: Sequence[ReportComparison]) -> Iterator[str]:
    for comparison in comparisons:
        yield f"<h2>{escape(comparison.other)} against {escape(comparison.base)}</h2>"
        rows = [
            (
                change.load,
                change.figure,
                format_number(change.base),
                format_number(change.other),
                format_change(change),
                format_interval(change),
                judge(change),
            )
            for change in comparison.changes
        ]
        head = ("load", "figure", "base", "other", "change", "95 % interval", "shown")
        yield format_table(head, rows)
        yield f"<p>{escape(comparison.method)}</p>"


def _facts(report: BenchmarkReport) -> Iterator[str]:
    yield "<h2>Environment</h2>"
    yield format_facts(report.environment)
    for name, description in report.candidates.items():
        yield f"<h3>{escape(name)}</h3>"
        yield format_facts(description)
    yield "<h2>Preflight</h2><table class='facts'>"
    for finding in report.findings:
        level = escape(str(finding["level"]))
        cells = (f"{finding['area']}: {finding['name']}", finding["value"], finding["reason"] or "")
        texts = "".join(f"<td>{escape(str(cell))}</td>" for cell in cells)
        yield f"<tr class='{level}'><td>{level}</td>{texts}</tr>"
    yield "</table>"


def _name(result: BenchmarkResult) -> str:
    return f"{result.candidate}, {result.load}"


def _distribution(result: BenchmarkResult) -> tuple[list[float], list[float]]:
    ordered = sorted(result.samples_ms)
    count = len(ordered)
    chosen = _spread(count)
    return [ordered[index] for index in chosen], [(index + 1) / count for index in chosen]


def _course(result: BenchmarkResult) -> tuple[list[float], list[float]]:
    count = len(result.samples_ms)
    chosen = _spread(count)
    return [index / count for index in chosen], [result.samples_ms[index] for index in chosen]


def _spread(count: int) -> list[int]:
    """Return at most ``_MAX_POINTS`` indices, evenly spread, with the first and the last."""
    if count <= _MAX_POINTS:
        return list(range(count))
    return [round(i * (count - 1) / (_MAX_POINTS - 1)) for i in range(_MAX_POINTS)]
