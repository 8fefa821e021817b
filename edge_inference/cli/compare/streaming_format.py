"""The report of streaming scores: a table for people, JSON for programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text

from edge_inference.cli.compare.streaming_comparison import StreamingComparison, StreamingRow
from edge_inference.cli.perception.summary_table import new_table, print_table
from edge_inference.observe.streaming.streaming_agreement import ScoreDifference, StreamingScore

_PIPE_WIDTH = 140


def print_streaming(comparison: StreamingComparison, stream: TextIO) -> None:
    """Print the table and the best engine."""
    is_terminal = stream.isatty()
    console = Console(
        file=stream,
        width=None if is_terminal else _PIPE_WIDTH,
        color_system="auto" if is_terminal else None,
    )
    console.print(Text(_headline(comparison)), soft_wrap=True)
    has_labels = comparison.recording.labels is not None
    table = new_table(
        "engine",
        "streaming agreement",
        "95 %",
        "behind the best",
        "95 %",
        *(["sAP"] if has_labels else []),
        "age ms",
        "frames",
    )
    for row in comparison.rows:
        if row.score is not None:
            table.add_row(*_cells(comparison, row, row.score, has_labels))
    print_table(console, table)
    for line in _footnotes(comparison):
        console.print(Text(line), soft_wrap=True)


def streaming_row_as_json(comparison: StreamingComparison, name: str) -> dict[str, Any] | None:
    """Return the score of one engine; None if it was not played."""
    row = next((row for row in comparison.rows if row.name == name), None)
    if row is None:
        return None
    score = row.score
    found = score_as_json(score) if score is not None else {}
    behind = comparison.behind_best(row)
    ap = row.average_precision
    return {
        **found,
        "failure": row.failure or None,
        "behind_best": None if behind is None else behind.value,
        "behind_best_interval": None if behind is None else behind.interval,
        "sap": None if ap is None else ap.value,
        "sap_by_class": None if ap is None else dict(ap.by_class),
    }


def score_as_json(score: StreamingScore) -> dict[str, Any]:
    """Return one score; ``value`` is null where it is undefined."""
    return {
        "value": score.value,
        "interval": score.interval,
        "measure": score.measure,
        "frames": score.frames,
        "warmup": score.warmup,
        "without_result": score.without_result,
        "mean_age_ms": score.mean_age_ms,
        "is_estimate": score.is_estimate,
    }


def streaming_summary_as_json(comparison: StreamingComparison) -> dict[str, Any]:
    """Return the recording, the reference and the best engine."""
    best = comparison.best()
    return {
        "source": comparison.recording.source,
        "rate_hz": comparison.recording.rate_hz,
        "reference": comparison.reference,
        "labeled": comparison.recording.labels is not None,
        "best": None if best is None else best.name,
    }


def _headline(comparison: StreamingComparison) -> str:
    recording = comparison.recording
    how = "played in real time to the perception pipeline"
    if any(row.score is not None and row.score.is_estimate for row in comparison.rows):
        how = "estimated from measured service times, since ROS 2 cannot be imported"
    measures = {row.score.measure for row in comparison.rows if row.score is not None}
    return (
        f"\n{recording.source} at {recording.rate_hz:g} Hz, {how}; streaming agreement "
        f"({', '.join(measures) or 'not measured'}) with {comparison.reference}"
    )


def _cells(
    comparison: StreamingComparison, row: StreamingRow, score: StreamingScore, has_labels: bool
) -> Iterator[str]:
    yield row.name
    yield "undefined" if score.value is None else f"{score.value:.3f}"
    yield _format_interval(score.interval)
    behind = comparison.behind_best(row)
    yield "" if behind is None else f"{behind.value:.3f}"
    yield "" if behind is None else _format_interval(behind.interval)
    if has_labels:
        yield "" if row.average_precision is None else f"{row.average_precision.value:.3f}"
    yield "" if score.mean_age_ms is None else f"{score.mean_age_ms:.0f}"
    yield str(score.frames)


def _footnotes(comparison: StreamingComparison) -> Iterator[str]:
    for row in comparison.rows:
        if row.failure:
            yield f"{row.name} has no streaming score: {row.failure}"
    scores = [row.score for row in comparison.rows if row.score is not None]
    if any(score.value is None for score in scores):
        yield "undefined: neither the engine nor the reference finds anything in the recording"
    if any(score.interval is None for score in scores):
        yield "no interval: at least 6 s after the warm-up are needed"
    if scores:
        yield f"the first {max(score.warmup for score in scores)} frames are warm-up"
    unknown = {
        name
        for row in comparison.rows
        if row.average_precision is not None
        for name in row.average_precision.unknown_classes
    }
    if unknown:
        yield f"sAP leaves out classes that the model does not have: {', '.join(sorted(unknown))}"
    yield from _format_best(comparison)


def _format_best(comparison: StreamingComparison) -> Iterator[str]:
    best = comparison.best()
    if best is None or best.score is None:
        return
    text = f"best at {comparison.recording.rate_hz:g} Hz: {best.name}, {best.score.value:.3f}"
    equals = [row.name for row in comparison.rows if _is_open(comparison.behind_best(row))]
    yield f"{text}; not clearly better than {', '.join(equals)}" if equals else text


def _is_open(difference: ScoreDifference | None) -> bool:
    return difference is not None and not difference.is_significant


def _format_interval(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"
