"""Plots a comparison: the latency of each engine against its closeness to fp32."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edge_inference.cli.exit_status import UsageError
from edge_inference.errors import ConfigError
from edge_inference.optimize.comparison import CompareRow, Comparison

SUFFIXES = (".png", ".svg")

# Distinguishable with red-green colour blindness, too (Okabe and Ito).
_COLORS = {"fp32": "#0072B2", "fp16": "#E69F00", "int8": "#009E73"}
_MARKERS = {"ort": "o", "ort-cuda": "s", "trt": "^"}
_OTHER_MARKER = "D"  # of a backend of an installed package


def check_plot_file(file: Path) -> None:
    """Raise UsageError if the plot could not be written later, before anything is measured."""
    if file.suffix.lower() not in SUFFIXES:
        raise UsageError(f"--plot {file}: expected a name that ends in {' or '.join(SUFFIXES)}")
    if not file.absolute().parent.is_dir():
        raise UsageError(f"--plot {file}: its folder does not exist")
    check_matplotlib("--plot")


def check_matplotlib(option: str) -> None:
    """Raise UsageError where the package that draws plots is missing."""
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError(
            f"{option} needs the package matplotlib; install it with: pip install matplotlib"
        )


def draw_plot(comparison: Comparison, file: Path) -> None:
    """Write the plot; no display is needed. Raises ConfigError if the file cannot be written."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 7), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    thresholds = comparison.model.self_check
    panels: Mapping[str, tuple[Any, Callable[[CompareRow], float | None], float]] = {
        "agreement with fp32, %": (above, _agreement, thresholds.agreement * 100),
        "SQNR against fp32, dB": (below, _sqnr_db, thresholds.sqnr_db),
    }
    for label, (axes, value_of, threshold) in panels.items():
        axes.set_ylabel(label)
        axes.axhline(threshold, color="0.5", linestyle="--", linewidth=1)
        axes.annotate("needed", (0.995, threshold), xycoords=("axes fraction", "data"),
                      ha="right", va="bottom", color="0.4", fontsize=8)  # fmt: skip
        axes.grid(alpha=0.25)
        for index, row in enumerate(comparison.rows):
            _draw_point(axes, row, value_of(row), is_label_above=index % 2 == 0)
        axes.margins(x=0.2, y=0.2)
    above.set_title(f"{comparison.model.name}: {comparison.images.description}", fontsize=10)
    below.set_xlabel("milliseconds of one inference: p50, line to p90")
    below.set_xlim(left=0)
    try:
        figure.savefig(file, dpi=150)
    except OSError as error:
        raise ConfigError(f"--plot {file}: cannot be written ({error.strerror})") from error


def _draw_point(axes: Any, row: CompareRow, value: float | None, is_label_above: bool) -> None:
    latency = row.latency
    if value is None or latency is None or latency.p50 is None or latency.p90 is None:
        return
    color = _COLORS[row.precision]
    axes.plot([latency.p50, latency.p90], [value, value], color=color, linewidth=1.5)
    axes.plot(
        latency.p50, value, _MARKERS.get(row.backend, _OTHER_MARKER), color=color, markersize=8
    )
    axes.annotate(
        row.name,
        (latency.p50, value),
        textcoords="offset points",
        xytext=(0, 8 if is_label_above else -8),
        ha="center",
        va="bottom" if is_label_above else "top",
    )


def _agreement(row: CompareRow) -> float | None:
    if row.check is None or row.check.results is None:
        return None
    return row.check.results.share * 100


def _sqnr_db(row: CompareRow) -> float | None:
    """Return None for equal outputs, which have no noise to draw."""
    if row.check is None or row.check.outputs is None:
        return None
    sqnr_db = row.check.outputs.sqnr_db
    return sqnr_db if math.isfinite(sqnr_db) else None
