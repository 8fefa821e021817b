"""The report of ``compare``: a table for people, JSON for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TextIO

from rich.table import Table
from rich.text import Text

from edge_inference.cli.console_table import format_milliseconds, new_console, new_table
from edge_inference.cli.models.cost_format import cost_as_json, measured_at
from edge_inference.cli.sizes import format_megabytes
from edge_inference.engines.precision.int8_mode import describe_int8_mode
from edge_inference.optimize.comparison import CompareRow, Comparison

_PIPE_WIDTH = 140


def print_comparison(comparison: Comparison, facts: Mapping[str, str], stream: TextIO) -> None:
    """Print the table, the engines that cannot run, and the fastest engine that passes."""
    console = new_console(stream, _PIPE_WIDTH)
    console.print(Text(_headline(comparison)), soft_wrap=True)
    console.print(_table(comparison))
    for line in _footnotes(comparison, facts):
        console.print(Text(line), soft_wrap=True)


def row_as_json(comparison: Comparison, row: CompareRow) -> dict[str, Any]:
    """Return one row; a figure that could not be measured is null."""
    figures = {} if row.check is None else row.check.figures()
    latency = row.latency
    return {
        "model": comparison.model.name,
        "backend": row.backend,
        "precision": row.precision,
        "int8_mode": row.int8_mode,
        "runs_here": not row.failure,
        "failure": row.failure or None,
        "engine": row.engine or None,
        "precision_in_use": row.precision_in_use,
        "layers_by_precision": dict(row.layers_by_precision),
        "file_bytes": row.file_bytes,
        "passed": row.passed,
        "checked": row.check is not None and row.check.is_checked,
        "reasons": [] if row.check is None else list(row.check.reasons),
        "agreement": figures.get("agreement"),
        "cosine": figures.get("cosine"),
        "sqnr_db": figures.get("sqnr_db"),
        "max_difference": figures.get("max_difference"),
        "nan": figures.get("nan"),
        "inf": figures.get("inf"),
        "top1": None if row.accuracy is None else row.accuracy.share,
        "top1_correct": None if row.accuracy is None else row.accuracy.correct,
        "latency_ms": None
        if latency is None
        else {name: getattr(latency, name) for name in ("mean", "p50", "p90", "p99", "max")},
        "speed_over_reference": comparison.speedup(row),
        "speed_over_fp32_of_backend": comparison.speedup_of_backend(row),
        "measured_cost": None if row.measured_cost is None else cost_as_json(*row.measured_cost),
        "previous_cost": None if row.previous_cost is None else cost_as_json(*row.previous_cost),
    }


def summary_as_json(comparison: Comparison, facts: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings and the result of the whole comparison."""
    fastest = comparison.fastest()
    return {
        "model": comparison.model.name,
        "images": len(comparison.images),
        "images_description": comparison.images.description,
        "labeled": comparison.images.class_ids is not None,
        "runs": comparison.runs,
        "threads": comparison.threads,
        "thresholds": vars(comparison.model.self_check),
        "fastest_that_passes": None
        if fastest is None
        else {
            "backend": fastest.backend,
            "precision": fastest.precision,
            "int8_mode": fastest.int8_mode,
        },
        "machine": dict(facts),
    }


def _headline(comparison: Comparison) -> str:
    threads = f"{comparison.threads} thread{'' if comparison.threads == 1 else 's'} on the CPU"
    return (
        f"{comparison.model.name} on {comparison.images.description}, against ONNX Runtime fp32; "
        f"{comparison.runs} interleaved runs each, {threads}"
    )


def _table(comparison: Comparison) -> Table:
    has_labels = comparison.images.class_ids is not None
    table = new_table(
        "engine",
        "computes in",
        "file",
        "agreement",
        "cosine",
        "SQNR dB",
        *(["top-1"] if has_labels else []),
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "speed",
        "self-check",
    )
    for row in comparison.rows:
        if row.failure:
            continue
        accuracy = row.accuracy
        top1 = "" if accuracy is None else f"{accuracy.share:.1%} ({accuracy.correct})"
        table.add_row(
            row.name,
            _computes_in(row),
            format_megabytes(row.file_bytes),
            *_closeness(row),
            *([top1] if has_labels else []),
            *_latencies(row),
            _format_speedup(comparison.speedup(row)),
            _verdict(row),
        )
    return table


def _verdict(row: CompareRow) -> str:
    if row.is_reference:
        return "reference"
    return "passed" if row.passed else "not checked" if row.is_unchecked else "failed"


def _computes_in(row: CompareRow) -> str:
    if len(row.layers_by_precision) > 1:
        return ", ".join(f"{name} {count}" for name, count in row.layers_by_precision.items())
    return row.precision_in_use or "unknown"


def _closeness(row: CompareRow) -> tuple[str, str, str]:
    if row.check is None:
        return "", "", ""
    figures = row.check.figures()
    agreement = f"{figures['agreement']:.1%}" if "agreement" in figures else ""
    cosine = f"{figures['cosine']:.4f}" if "cosine" in figures else ""
    is_equal = figures.get("max_difference") == 0
    sqnr = f"{figures['sqnr_db']:.1f}" if "sqnr_db" in figures else "equal" if is_equal else ""
    return agreement, cosine, sqnr


def _latencies(row: CompareRow) -> tuple[str, str, str]:
    if row.latency is None:
        return "", "", ""
    p50, p90, p99 = (
        format_milliseconds(t) for t in (row.latency.p50, row.latency.p90, row.latency.p99)
    )
    return p50, p90, p99


def _format_speedup(speedup: float | None) -> str:
    return "" if speedup is None else f"x{speedup:.2f}"


def _footnotes(comparison: Comparison, facts: Mapping[str, str]) -> Iterator[str]:
    for row in comparison.rows:
        if not row.failure and row.check is not None and row.check.reasons:
            yield f"{row.name} failed: {'; '.join(row.check.reasons)}"
    others = [row for row in comparison.rows if not row.is_reference]
    for row in others:
        if row.is_unchecked and row.check is not None:
            yield f"{row.name}: {row.check.summary()}, or give them with --images"
    if any(row.check is not None and row.passed and not row.check.has_results for row in others):
        yield (
            "nothing is found in the images, so that only raw outputs are compared; give images in "
            "which the model finds something with --images"
        )
    for reason, names in _group_failures(comparison).items():
        yield f"cannot run here: {', '.join(names)}: {reason}"
    for row in comparison.rows:
        if row.int8_mode is not None and not row.failure:
            yield f"{row.name}: {describe_int8_mode(row.int8_mode)}"
    for row in comparison.rows:
        used = row.precision_in_use
        if used is not None and used != row.precision and not row.failure:
            yield f"{row.name} computes in {used}: this engine has no {row.precision} for the model"
    if comparison.images.skipped:
        yield f"images that could not be read: {len(comparison.images.skipped)}"
    yield _format_fastest(comparison)
    yield from _format_changes(comparison)
    yield from comparison.problems
    yield "machine: " + ", ".join(f"{name} {value}" for name, value in facts.items())


def _format_changes(comparison: Comparison) -> Iterator[str]:
    for row in comparison.changed_rows():
        assert row.measured_cost is not None and row.previous_cost is not None
        (now, _), (previous, measurement) = row.measured_cost, row.previous_cost
        yield (
            f"{row.name} takes {format_milliseconds(1e3 * now.seconds)} ms; the previous "
            f"measurement here took {format_milliseconds(1e3 * previous.seconds)} ms, "
            f"{measured_at(measurement)}"
        )


def _group_failures(comparison: Comparison) -> dict[str, list[str]]:
    """Return the names of the rows that fail, by reason."""
    names_by_reason: dict[str, list[str]] = {}
    for row in comparison.rows:
        if row.failure:
            names_by_reason.setdefault(row.failure, []).append(row.name)
    return names_by_reason


def _format_fastest(comparison: Comparison) -> str:
    fastest = comparison.fastest()
    if fastest is None or fastest.latency is None:
        return "nothing passes the self-check"
    name = f"fastest that passes the self-check: {fastest.name}"
    median = f"{format_milliseconds(fastest.latency.p50)} ms"
    if fastest.is_reference:
        return f"{name}, the reference itself, {median}"
    return f"{name}, {median}, {comparison.speedup(fastest):.2f} times as fast as the reference"
