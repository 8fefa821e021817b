"""A comparison as a table for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from edge_inference.cli.models.cost_format import cost_as_json, measured_at
from edge_inference.cli.perception.summary_table import format_milliseconds, new_table
from edge_inference.cli.sizes import format_megabytes
from edge_inference.engines.precision.int8_mode import describe_int8_mode
from edge_inference.optimize.compare import CompareRow, Comparison

_PIPE_WIDTH = 140
#: Medians of one machine that differ by this factor are not the same.
_CLEARLY = 1.25


def print_comparison(comparison: Comparison, facts: Mapping[str, str], stream: TextIO) -> None:
    """Write the table, what cannot run and why, and the fastest way that is close enough."""
    is_terminal = stream.isatty()
    console = Console(
        file=stream,
        width=None if is_terminal else _PIPE_WIDTH,
        color_system="auto" if is_terminal else None,
    )
    console.print(Text(_headline(comparison)), soft_wrap=True)
    console.print(_table(comparison))
    for line in _footnotes(comparison, facts):
        console.print(Text(line), soft_wrap=True)


def row_as_json(comparison: Comparison, row: CompareRow) -> dict[str, Any]:
    """Return one row; what could not be measured is null."""
    figures = {} if row.check is None else row.check.figures()
    latency = row.latency
    return {
        "model": comparison.model.name,
        "backend": row.backend,
        "precision": row.precision,
        "int8_mode": row.int8_mode,
        "runs_here": not row.obstacle,
        "obstacle": row.obstacle or None,
        "engine": row.engine or None,
        "precision_in_use": row.used,
        "layers_by_precision": dict(row.layers),
        "file_bytes": row.bytes,
        "passed": row.passed,
        "reasons": [] if row.check is None else list(row.check.reasons),
        "agreement": figures.get("agreement"),
        "cosine": figures.get("cosine"),
        "sqnr_db": figures.get("sqnr_db"),
        "largest_difference": figures.get("largest_difference"),
        "nan": figures.get("nan"),
        "inf": figures.get("inf"),
        "top1": None if row.accuracy is None else row.accuracy.share,
        "top1_right": None if row.accuracy is None else row.accuracy.right,
        "latency_ms": None
        if latency is None
        else {name: getattr(latency, name) for name in ("mean", "p50", "p90", "p99", "max")},
        "speed_over_reference": comparison.speedup(row),
        "speed_over_fp32_of_backend": comparison.speedup_of_backend(row),
        "measured_cost": None if row.measured is None else cost_as_json(*row.measured),
        "known_before": None if row.known is None else cost_as_json(*row.known),
    }


def summary_as_json(comparison: Comparison, facts: Mapping[str, str]) -> dict[str, Any]:
    """Return what holds for all rows."""
    fastest = comparison.fastest()
    return {
        "model": comparison.model.name,
        "images": len(comparison.images),
        "images_described": comparison.images.described,
        "labelled": comparison.images.class_ids is not None,
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
        f"{comparison.model.name} on {comparison.images.described}, against ONNX Runtime fp32; "
        f"{comparison.runs} runs each in turns, {threads}"
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
        if row.obstacle:
            continue
        accuracy = row.accuracy
        top1 = "" if accuracy is None else f"{accuracy.share:.1%} ({accuracy.right})"
        table.add_row(
            row.name,
            _computes_in(row),
            format_megabytes(row.bytes),
            *_closeness(row),
            *([top1] if has_labels else []),
            *_times(row),
            _factor(comparison.speedup(row)),
            "reference" if row.is_reference else "passed" if row.passed else "failed",
        )
    return table


def _computes_in(row: CompareRow) -> str:
    if len(row.layers) > 1:
        return ", ".join(f"{name} {count}" for name, count in row.layers.items())
    return row.used or "not told"


def _closeness(row: CompareRow) -> tuple[str, str, str]:
    if row.check is None:
        return "", "", ""
    figures = row.check.figures()
    agreement = f"{figures['agreement']:.1%}" if "agreement" in figures else ""
    cosine = f"{figures['cosine']:.4f}" if "cosine" in figures else ""
    equal = figures.get("largest_difference") == 0
    sqnr = f"{figures['sqnr_db']:.1f}" if "sqnr_db" in figures else "equal" if equal else ""
    return agreement, cosine, sqnr


def _times(row: CompareRow) -> tuple[str, str, str]:
    if row.latency is None:
        return "", "", ""
    p50, p90, p99 = (
        format_milliseconds(t) for t in (row.latency.p50, row.latency.p90, row.latency.p99)
    )
    return p50, p90, p99


def _factor(speedup: float | None) -> str:
    return "" if speedup is None else f"x{speedup:.2f}"


def _footnotes(comparison: Comparison, facts: Mapping[str, str]) -> Iterator[str]:
    for row in comparison.rows:
        if not row.obstacle and row.check is not None and not row.check.passed:
            yield f"{row.name} failed: {'; '.join(row.check.reasons)}"
    for reason, names in _obstacles(comparison).items():
        yield f"cannot run here: {', '.join(names)}: {reason}"
    for row in comparison.rows:
        if row.int8_mode is not None and not row.obstacle:
            yield f"{row.name}: {describe_int8_mode(row.int8_mode)}"
    for row in comparison.rows:
        if row.used is not None and row.used != row.precision and not row.obstacle:
            yield f"{row.name} is computed in {row.used}: this engine has no {row.precision} for it"
    if comparison.images.skipped:
        yield f"could not be read: {len(comparison.images.skipped)}"
    yield _pick(comparison)
    yield from _changed(comparison)
    yield from comparison.problems
    yield "machine: " + ", ".join(f"{name} {value}" for name, value in facts.items())


def _changed(comparison: Comparison) -> Iterator[str]:
    """Name what took clearly more or less when it was measured here before."""
    for row in comparison.rows:
        if row.known is None or row.measured is None:
            continue
        now_ms, before_ms = (1e3 * cost.seconds for cost, _ in (row.measured, row.known))
        if not 1 / _CLEARLY < now_ms / before_ms < _CLEARLY:
            yield (
                f"{row.name} takes {format_milliseconds(now_ms)} ms; it was "
                f"{format_milliseconds(before_ms)} ms when it was measured here before, "
                f"{measured_at(row.known[1])}"
            )


def _obstacles(comparison: Comparison) -> dict[str, list[str]]:
    """Gather what cannot run for the same reason."""
    found: dict[str, list[str]] = {}
    for row in comparison.rows:
        if row.obstacle:
            found.setdefault(row.obstacle, []).append(row.name)
    return found


def _pick(comparison: Comparison) -> str:
    fastest = comparison.fastest()
    if fastest is None or fastest.latency is None:
        return "nothing passes the self-check"
    found = f"fastest that passes the self-check: {fastest.name}"
    took = f"{format_milliseconds(fastest.latency.p50)} ms"
    if fastest.is_reference:
        return f"{found}, the reference itself, {took}"
    return f"{found}, {took}, {comparison.speedup(fastest):.2f} times as fast as the reference"
