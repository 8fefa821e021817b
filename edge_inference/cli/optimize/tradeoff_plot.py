"""Plots accuracy against latency with the Pareto front, as a file or inside an HTML page."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_inference.cli.html_page import format_facts, format_list, format_page, format_table
from edge_inference.cli.optimize.tradeoff_format import (
    HEAD,
    facts,
    headline,
    notes,
    short_names,
    table_rows,
)
from edge_inference.engines.precision.onnx_file import write_atomically
from edge_inference.optimize.tradeoff.pareto import ParetoFront
from edge_inference.optimize.tradeoff.tradeoff_point import Tradeoff, TradeoffPoint

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Shapes tell the precisions apart in gray, too.
_MARKERS = {"fp32": "o", "fp16": "s", "int8": "^"}
_FAST_MARKER = "v"
#: Times that differ by more than this factor need a logarithmic axis.
_LOGARITHMIC = 8.0
#: Longest list of names beside the plot.
_MAX_NAMES = 24


def draw_tradeoff(tradeoff: Tradeoff, front: ParetoFront, file: Path) -> None:
    """Write the plot as PNG or SVG, or nothing. Raises ModelError if it cannot be written."""
    stream = io.BytesIO()
    _draw(tradeoff, front).savefig(stream, format=file.suffix[1:].lower(), dpi=150)
    write_atomically(file, stream.getvalue())


def draw_page(tradeoff: Tradeoff, front: ParetoFront) -> str:
    """Return an HTML page with the plot and the table that needs nothing else."""
    import matplotlib as mpl

    stream = io.StringIO()
    # A fixed salt: the same points give the same page.
    with mpl.rc_context({"svg.hashsalt": "tradeoff"}):
        _draw(tradeoff, front).savefig(stream, format="svg", metadata={"Date": None})
    svg = stream.getvalue()
    models = ", ".join(tradeoff.images)
    return format_page(
        f"Trade-off of {models}",
        [
            format_list([headline(tradeoff), tradeoff.summary()]),
            svg[svg.index("<svg") :],
            format_table(HEAD, table_rows(tradeoff, front)),
            format_list(list(notes(tradeoff))),
            format_facts(facts(tradeoff)),
        ],
    )


def _draw(tradeoff: Tradeoff, front: ParetoFront) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6), layout="constrained")
    axes = figure.subplots()
    points = [p for p in tradeoff.points if p.accuracy is not None and p.latency is not None]
    axes.set_title(f"{tradeoff.accuracy_kind} against latency", fontsize=11)
    axes.set_ylabel(f"{tradeoff.accuracy_kind}, %")
    axes.set_xlabel("milliseconds of an image: median, line to the 95th percentile")
    axes.grid(alpha=0.25)
    if points:
        colors = _colors([point.model for point in points])
        on_front = {point.name for point in front.points}
        for point in points:
            _draw_point(axes, point, colors[point.model], point.name in on_front)
        times = [point.image_s for point in points if point.image_s is not None]
        if max(times) > _LOGARITHMIC * min(times):
            _use_logarithmic_axis(axes)
        else:
            axes.set_xlim(left=0)
        bottom, top = axes.get_ylim()
        axes.set_ylim(top=min(top, 100 + 0.05 * (100 - bottom)))
        _draw_front(axes, front)
        _add_legend(figure, axes, points, front, colors)
    return figure


def _draw_point(axes: Any, point: TradeoffPoint, color: Any, is_on_front: bool) -> None:
    assert point.accuracy is not None and point.latency is not None and point.image_s is not None
    x, y = 1e3 * point.image_s, 100 * point.accuracy.share
    p95 = 1e3 * point.latency.p95_s / point.batch
    axes.plot([x, p95], [y, y], color=color, linewidth=1, zorder=2)
    axes.plot(
        x,
        y,
        "x" if point.problem else _marker(point),
        color=color,
        markersize=9 if is_on_front else 6,
        markerfacecolor=color if is_on_front else "white",
        zorder=3,
    )


def _draw_front(axes: Any, front: ParetoFront) -> None:
    """Draw the front as steps, and number its points."""
    figures = [
        (1e3 * point.image_s, 100 * point.accuracy.share)
        for point in front.points
        if point.image_s is not None and point.accuracy is not None
    ]
    if not figures:
        return
    x, y = zip(*figures, strict=True)
    axes.step(x, y, where="post", color="0.45", linewidth=1, linestyle="--", zorder=1)
    for number, place in enumerate(figures, start=1):
        axes.annotate(
            str(number),
            place,
            textcoords="offset points",
            xytext=(-6, 5),
            ha="right",
            fontweight="bold",
            fontsize=9,
        )


def _add_legend(
    figure: Any,
    axes: Any,
    points: Sequence[TradeoffPoint],
    front: ParetoFront,
    colors: dict[str, Any],
) -> None:
    from matplotlib.lines import Line2D

    def entry(label: str, marker: str, color: Any) -> Line2D:
        return Line2D([], [], color=color, marker=marker, linestyle="", label=label)

    names = short_names(points)
    numbered = [names[point.name] for point in front.points if point.name in names]
    handles = [entry(model, "o", color) for model, color in colors.items()][:_MAX_NAMES]
    kinds = {_kind(point): _marker(point) for point in points}
    handles += [entry(kind, marker, "0.3") for kind, marker in kinds.items()]
    if any(point.problem for point in points):
        handles.append(entry("unusable", "x", "0.3"))
    lines = [f"{number}  {name}" for number, name in enumerate(numbered, start=1)]
    more = [f"and {len(lines) - _MAX_NAMES} more"] if len(lines) > _MAX_NAMES else []
    title = "\n".join(["Pareto front", *lines[:_MAX_NAMES], *more, ""])
    legend = figure.legend(
        handles=handles, loc="outside right upper", title=title, fontsize=9, frameon=False
    )
    legend.set_alignment("left")
    legend.get_title().set_fontsize(9)


def _use_logarithmic_axis(axes: Any) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _colors(models: Sequence[str]) -> dict[str, Any]:
    """Return a color for each model; their brightness differs, so that gray shows them, too."""
    import matplotlib as mpl

    names = list(dict.fromkeys(models))
    scale = mpl.colormaps["viridis"]
    return {name: scale(0.92 * n / max(len(names) - 1, 1)) for n, name in enumerate(names)}


def _kind(point: TradeoffPoint) -> str:
    return f"{point.precision}{' fast' if point.int8_mode == 'fast' else ''}"


def _marker(point: TradeoffPoint) -> str:
    return _FAST_MARKER if point.int8_mode == "fast" else _MARKERS[point.precision]
