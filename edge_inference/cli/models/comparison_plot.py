"""A comparison as an image: how long each way takes against how close it comes."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edge_inference.cli.exit_status import UsageError
from edge_inference.errors import ConfigError
from edge_inference.optimize.compare import CompareRow, Comparison

SUFFIXES = (".png", ".svg")

# Told apart by people who do not see red and green apart, too (Okabe and Ito).
_COLOURS = {"fp32": "#0072B2", "fp16": "#E69F00", "int8": "#009E73"}
_MARKERS = {"ort": "o", "ort-cuda": "s", "trt": "^"}


def check(file: Path) -> None:
    """Raise UsageError where the file could not be drawn later, before anything is measured."""
    if file.suffix.lower() not in SUFFIXES:
        raise UsageError(f"--plot {file}: expected a name that ends in {' or '.join(SUFFIXES)}")
    if not file.absolute().parent.is_dir():
        raise UsageError(f"--plot {file}: its folder does not exist")
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError("--plot needs the package matplotlib: pip install matplotlib")


def draw(comparison: Comparison, file: Path) -> None:
    """Write the plot; needs no display. Raises ConfigError where the file cannot be written."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 7), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    wanted = comparison.model.self_check
    panels: Mapping[str, tuple[Any, Callable[[CompareRow], float | None], float]] = {
        "agreement with fp32, %": (above, _agreement, wanted.agreement * 100),
        "SQNR against fp32, dB": (below, _sqnr_db, wanted.sqnr_db),
    }
    for label, (axes, value_of, threshold) in panels.items():
        axes.set_ylabel(label)
        axes.axhline(threshold, color="0.5", linestyle="--", linewidth=1)
        axes.annotate("needed", (0.995, threshold), xycoords=("axes fraction", "data"),
                      ha="right", va="bottom", color="0.4", fontsize=8)  # fmt: skip
        axes.grid(alpha=0.25)
        for index, row in enumerate(comparison.rows):
            _point(axes, row, value_of(row), is_label_above=index % 2 == 0)
        axes.margins(x=0.2, y=0.2)
    above.set_title(f"{comparison.model.name}: {comparison.images.described}", fontsize=10)
    below.set_xlabel("milliseconds of one inference: p50, line to p90")
    below.set_xlim(left=0)
    try:
        figure.savefig(file, dpi=150)
    except OSError as error:
        raise ConfigError(f"--plot {file}: cannot be written ({error.strerror})") from error


def _point(axes: Any, row: CompareRow, value: float | None, is_label_above: bool) -> None:
    latency = row.latency
    if value is None or latency is None or latency.p50 is None or latency.p90 is None:
        return
    colour = _COLOURS[row.precision]
    axes.plot([latency.p50, latency.p90], [value, value], color=colour, linewidth=1.5)
    axes.plot(latency.p50, value, _MARKERS[row.backend], color=colour, markersize=8)
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
    """Leave out what is equal: it has no noise to draw."""
    if row.check is None or row.check.outputs is None:
        return None
    found = row.check.outputs.sqnr_db
    return found if math.isfinite(found) else None
