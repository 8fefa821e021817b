"""``edge-inference bisect``: reads the options, runs the search, prints the report."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TextIO

from rich.table import Table
from rich.text import Text

from edge_inference.cli.console_table import new_console, new_table
from edge_inference.cli.models.image_choice import choose_images
from edge_inference.cli.perception.run_options import search_path
from edge_inference.cli.progress import show_progress
from edge_inference.cli.signals import cancel_on_signal
from edge_inference.core.models.golden import SelfCheckThresholds
from edge_inference.core.models.model_search import find_model
from edge_inference.core.models.self_check import SelfCheckReport
from edge_inference.core.settings import change
from edge_inference.optimize.bisect import DEFAULT_TRIES, BisectReport, BisectRequest, bisect
from edge_inference.optimize.sensitivity import LayerNoise

_PIPE_WIDTH = 140
_LAYERS_SHOWN = 10


@dataclass(frozen=True)
class BisectOptions:
    """Options of ``bisect``; None for an option that was not given."""

    model: str
    precision: str
    model_path: str = ""
    target: str = "onnxruntime"
    images: str | None = None
    topic: str = ""
    limit: int | None = None
    tries: int = DEFAULT_TRIES
    agreement: float | None = None
    cosine: float | None = None
    sqnr_db: float | None = None

    def thresholds(self, of_model: SelfCheckThresholds) -> SelfCheckThresholds:
        """Return the model's thresholds, replaced by those that were given."""
        given = {name: getattr(self, name) for name in ("agreement", "cosine", "sqnr_db")}
        return change(of_model, {name: value for name, value in given.items() if value is not None})


def bisect_model(options: BisectOptions, as_json: bool) -> int:
    """Search, print the report, and return the exit code."""
    model = find_model(options.model, search_path(options.model_path))
    request = BisectRequest(
        model,
        options.precision,
        choose_images(model, options.images, None, options.topic, options.limit),
        options.target,
        options.thresholds(model.self_check),
        options.tries,
    )
    stream = sys.stderr if as_json else sys.stdout
    title = f"bisecting {model.name}"
    with cancel_on_signal() as cancelled, show_progress(title, stream) as progress:
        report = bisect(request, progress, cancelled)
    if as_json:
        for layer in report.sensitivity.layers:
            sys.stdout.write(json.dumps(layer_as_json(layer)) + "\n")
        sys.stdout.write(json.dumps({"summary": _summary_as_json(report)}) + "\n")
    else:
        _print_report(report, sys.stdout)
    if not report.is_complete:
        return cancelled.exit_code
    return 0 if report.minimal_set.members is not None else 1


def _print_report(report: BisectReport, stream: TextIO) -> None:
    console = new_console(stream, _PIPE_WIDTH)
    request = report.request
    console.print(
        Text(
            f"{request.model.name} in {request.precision} for {request.target}, on "
            f"{request.images.description}; {report.convertible} layers can be in either precision"
        ),
        soft_wrap=True,
    )
    console.print(_layer_table(report))
    for line in _conclusion(report):
        console.print(Text(line), soft_wrap=True)


def _layer_table(report: BisectReport) -> Table:
    in_fp32 = report.minimal_set.members or ()
    table = new_table("noisiest layers", "operator", "input dB", "output dB", "stays in fp32")
    sources = report.sensitivity.noise_sources
    noisiest = list(dict.fromkeys(name for source in sources for name in source.layers))
    noisiest = noisiest[:_LAYERS_SHOWN]
    layers = {layer.name: layer for layer in report.sensitivity.layers}
    for name in [*noisiest, *(name for name in in_fp32 if name not in noisiest)]:
        layer = layers[name]
        output = format_db(layer.output_sqnr_db) if layer.is_finite else "NaN or overflow"
        mark = "yes" if name in in_fp32 else ""
        table.add_row(name, layer.operator, format_db(layer.input_sqnr_db), output, mark)
    return table


def _conclusion(report: BisectReport) -> Iterator[str]:
    already = f" with {len(report.already_fp32)} nodes in fp32" if report.already_fp32 else ""
    yield f"before{already}: {_format_figures(report.before)}"
    found = report.minimal_set
    if report.before.passed:
        yield "the self-check passes; no further layer needs to stay in fp32"
        return
    yield f"fails: {'; '.join(report.before.reasons)}"
    if not report.is_complete:
        yield f"interrupted after {report.tries} derived models"
    if found.members is None and not report.is_complete:
        return
    if found.members is None or report.after is None:
        yield (
            f"no set of layers was found that passes, in {report.tries} tries: calibrate with "
            "other images, allow more with --tries, or use a higher precision"
        )
        return
    minimal = "each of them is needed" if found.is_minimal else "a smaller set may be enough"
    yield (
        f"passes with {len(found.members)} of {report.convertible} layers in fp32 ({minimal}; "
        f"{report.tries} derived models tried): {_format_figures(report.after)}"
    )
    if report.is_spread:
        yield (
            "so many layers mean that the loss is spread over the network: calibrate with more "
            "images or another method, or use a higher precision"
        )
    yield "put these lines into model.yaml:"
    yield report.yaml()


def _format_figures(check: SelfCheckReport) -> str:
    figures = check.figures()
    parts = []
    if "agreement" in figures:
        parts.append(f"agreement {figures['agreement']:.1%}")
    if "cosine" in figures:
        parts.append(f"cosine {figures['cosine']:.4f}")
    if "sqnr_db" in figures:
        parts.append(f"SQNR {figures['sqnr_db']:.1f} dB")
    not_finite = int(figures.get("nan", 0) + figures.get("inf", 0))
    if not_finite:
        parts.append(f"{not_finite} values NaN or infinite")
    return ", ".join(parts)


def format_db(value: float | None) -> str:
    """Return decibels as text, with no digits for None."""
    if value is None:
        return ""
    return f"{value:.1f}" if math.isfinite(value) else "exact" if value > 0 else "-inf"


def layer_as_json(layer: LayerNoise) -> dict[str, Any]:
    """Return the object of a layer for ``--json``."""
    return {
        "layer": layer.name,
        "nodes": list(layer.nodes),
        "operator": layer.operator,
        "input_sqnr_db": finite_or_none(layer.input_sqnr_db),
        "output_sqnr_db": finite_or_none(layer.output_sqnr_db),
        "is_finite": layer.is_finite,
    }


def _summary_as_json(report: BisectReport) -> dict[str, Any]:
    request, found = report.request, report.minimal_set
    return {
        "model": request.model.name,
        "precision": request.precision,
        "target": request.target,
        "images": len(request.images),
        "thresholds": vars(request.effective_thresholds),
        "before": {"passed": report.before.passed, **report.before.figures()},
        "after": None
        if report.after is None
        else {"passed": report.after.passed, **report.after.figures()},
        "layers": None if found.members is None else list(found.members),
        "keep_fp32": None if found.members is None else list(report.keep_fp32),
        "is_minimal": found.is_minimal,
        "is_complete": report.is_complete,
        "convertible_layers": report.convertible,
        "models_tried": report.tries,
        "noise_sources": [
            {
                "layers": list(source.layers),
                "tensor": source.tensor or None,
                "noise": finite_or_none(source.noise),
            }
            for source in report.sensitivity.noise_sources[:_LAYERS_SHOWN]
        ],
    }


def finite_or_none(value: float | None) -> float | None:
    """Return the value, None where it is infinite: JSON has no infinity."""
    return value if value is not None and math.isfinite(value) else None
