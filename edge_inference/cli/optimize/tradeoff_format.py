"""A trade-off and a recommendation as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TextIO

from rich.text import Text

from edge_inference.cli.console_table import new_console, new_table, print_table
from edge_inference.cli.sizes import format_megabytes
from edge_inference.optimize.tradeoff.pareto import ParetoFront
from edge_inference.optimize.tradeoff.recommend import TradeoffRecommendation
from edge_inference.optimize.tradeoff.tradeoff_point import Tradeoff, TradeoffPoint

_PIPE_WIDTH = 140
HEAD = ("point", "front", "accuracy", "ms p50", "ms p95", "ms per image", "file", "zeros", "J")


def print_tradeoff(tradeoff: Tradeoff, front: ParetoFront, stream: TextIO) -> None:
    """Print the points, the fastest first, and what cannot be used, with the reason."""
    console = new_console(stream, _PIPE_WIDTH)
    console.print(Text(headline(tradeoff)), soft_wrap=True)
    table = new_table(*HEAD)
    for row in table_rows(tradeoff, front):
        table.add_row(*row)
    print_table(console, table)
    for line in notes(tradeoff):
        console.print(Text(line), soft_wrap=True)


def print_recommendation(found: TradeoffRecommendation, stream: TextIO) -> None:
    """Print the point and the reasons."""
    console = new_console(stream, _PIPE_WIDTH)
    console.print(Text("impossible" if found.point is None else found.point.name), soft_wrap=True)
    for reason in found.reasons:
        console.print(Text(f"  {reason}"), soft_wrap=True)


def headline(tradeoff: Tradeoff) -> str:
    """Return what was measured, on what, and how."""
    images = "; ".join(dict.fromkeys(tradeoff.images.values()))
    threads = f"{tradeoff.threads} thread{'' if tradeoff.threads == 1 else 's'} on the CPU"
    return (
        f"accuracy is {tradeoff.accuracy_kind} on {images}; {tradeoff.runs} interleaved runs "
        f"each, {threads}"
    )


def table_rows(tradeoff: Tradeoff, front: ParetoFront) -> list[tuple[str, ...]]:
    """Return the cells of each point that was timed, the fastest first."""
    timed = [point for point in tradeoff.points if point.image_s is not None]
    names = short_names(timed)
    on_front = {point.name for point in front.points}
    timed.sort(key=lambda point: point.image_s or 0.0)
    rows: list[tuple[str, ...]] = []
    for point in timed:
        latency, accuracy = point.latency, point.accuracy
        assert latency is not None and point.image_s is not None
        verdict = "yes" if point.name in on_front else "unusable" if point.problem else ""
        rows.append(
            (
                names[point.name],
                verdict,
                "" if accuracy is None else f"{accuracy.share:.1%} of {accuracy.total}",
                _format_ms(latency.median_s),
                _format_ms(latency.p95_s),
                _format_ms(point.image_s),
                _format_size(point.file_bytes),
                "" if point.sparsity is None else f"{point.sparsity:.0%}",
                "" if point.energy_j is None else f"{point.energy_j:.3g}",
            )
        )
    return rows


def notes(tradeoff: Tradeoff) -> Iterator[str]:
    """Yield what cannot be used, by reason, the problems, and the machine."""
    names_by_reason: dict[str, list[str]] = {}
    for point in tradeoff.points:
        if point.problem:
            names_by_reason.setdefault(point.problem, []).append(point.name)
    for reason, names in names_by_reason.items():
        yield f"cannot be used: {', '.join(names)}: {reason}"
    yield from tradeoff.problems
    if any(point.energy_j is not None for point in tradeoff.points):
        yield "J: energy of the whole machine for one image, its idle power included"
    yield tradeoff.summary()
    yield "machine: " + ", ".join(f"{name} {value}" for name, value in facts(tradeoff).items())


def facts(tradeoff: Tradeoff) -> dict[str, str]:
    """Return what people want to know of the machine, without the long lists that identify it."""
    hidden = ("kind", "instructions")
    return {name: value for name, value in tradeoff.machine.items() if name not in hidden}


def short_names(points: Sequence[TradeoffPoint]) -> dict[str, str]:
    """Return a short name of each point by its name, without what all points have in common.

    The input size is left out where each model has only one.
    """
    sizes = {(point.model, point.width, point.height) for point in points}
    has_sizes = len(sizes) > len({point.model for point in points})
    parts = {
        point.name: (
            point.model,
            f"{point.width}x{point.height}" if has_sizes else "",
            point.backend,
            f"{point.precision}{' fast' if point.int8_mode == 'fast' else ''}",
            f"batch {point.batch}",
        )
        for point in points
    }
    common = [len({*column}) == 1 for column in zip(*parts.values(), strict=True)]
    return {
        name: " ".join(part for part, same in zip(own, common, strict=True) if not same) or own[0]
        for name, own in parts.items()
    }


def _format_size(size: int | None) -> str:
    if size is None:
        return ""
    return f"{size / 1e3:.0f} kB" if size < 10**6 else format_megabytes(size)


def _format_ms(seconds: float) -> str:
    return f"{1e3 * seconds:.3g}" if seconds < 1 else f"{1e3 * seconds:.0f}"
