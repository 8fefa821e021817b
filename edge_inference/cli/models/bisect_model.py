"""``edge-inference bisect``: the layers that break a precision."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from edge_inference.cli.models.image_choice import choose_images
from edge_inference.cli.perception.run_options import search_path
from edge_inference.cli.perception.summary_table import new_table
from edge_inference.cli.progress import show_progress
from edge_inference.cli.signals import cancel_on_signal
from edge_inference.core.models.golden import SelfCheck
from edge_inference.core.models.model import find_model
from edge_inference.core.models.self_check import SelfCheckReport
from edge_inference.core.settings import change
from edge_inference.optimize.bisect import DEFAULT_TRIES, BisectReport, BisectRequest, bisect
from edge_inference.optimize.sensitivity import RankedLayer

_PIPE_WIDTH = 140
_LAYERS_SHOWN = 10
#: With more of the layers than that in fp32, the layers are not what is wrong.
_SPREAD = 1 / 3


@dataclass(frozen=True)
class BisectOptions:
    """What ``bisect`` was asked for; None is "not given"."""

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

    def thresholds(self, own: SelfCheck) -> SelfCheck:
        """Return the model's thresholds with those that were given."""
        given = {name: getattr(self, name) for name in ("agreement", "cosine", "sqnr_db")}
        return change(own, {name: value for name, value in given.items() if value is not None})


def bisect_model(options: BisectOptions, as_json: bool) -> int:
    """Search, print what was found, and return the exit code."""
    model = find_model(options.model, search_path(options.model_path))
    order = BisectRequest(
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
        report = bisect(order, progress, cancelled)
    if as_json:
        for layer in report.screening.layers:
            sys.stdout.write(json.dumps(_layer_as_json(layer)) + "\n")
        sys.stdout.write(json.dumps({"summary": _summary_as_json(report)}) + "\n")
    else:
        _print(report, sys.stdout)
    if not report.is_complete:
        return cancelled.exit_code
    return 0 if report.found.members is not None else 1


def _print(report: BisectReport, stream: TextIO) -> None:
    console = Console(
        file=stream,
        width=None if stream.isatty() else _PIPE_WIDTH,
        color_system="auto" if stream.isatty() else None,
    )
    order = report.order
    console.print(
        Text(
            f"{order.model.name} in {order.precision} for {order.target}, on "
            f"{order.images.described}; {report.movable} layers can be in either precision"
        ),
        soft_wrap=True,
    )
    console.print(_layer_table(report))
    for line in _conclusion(report):
        console.print(Text(line), soft_wrap=True)


def _layer_table(report: BisectReport) -> Table:
    kept = set(report.found.members or ())
    table = new_table("noisiest layers", "operator", "takes dB", "gives dB", "stays in fp32")
    shown = dict.fromkeys(name for one in report.screening.culprits for name in one.layers)
    layers = {layer.name: layer for layer in report.screening.layers}
    for name in [*list(shown)[:_LAYERS_SHOWN], *(k for k in kept if k not in list(shown)[:10])]:
        layer = layers[name]
        given = _decibels(layer.given_db) if layer.is_finite else "NaN or overflow"
        mark = "yes" if name in kept else ""
        table.add_row(name, layer.operator, _decibels(layer.taken_db), given, mark)
    return table


def _conclusion(report: BisectReport) -> Iterator[str]:
    already = f" with {len(report.kept_already)} nodes in fp32" if report.kept_already else ""
    yield f"as it is{already}: {_figures(report.before)}"
    found = report.found
    if report.before.passed:
        yield "it passes its self-check; nothing needs to stay in fp32"
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
    least = "none of them can be given back" if found.is_minimal else "a smaller set may do"
    yield (
        f"passes with {len(found.members)} of {report.movable} layers in fp32 ({least}; "
        f"{report.tries} derived models tried): {_figures(report.after)}"
    )
    if len(found.members) > report.movable * _SPREAD:
        yield (
            "so many layers mean that the loss is spread over the network: calibrate with more "
            "images or another method, or use a higher precision"
        )
    yield "into model.yaml, section derive:"
    yield report.yaml()


def _figures(check: SelfCheckReport) -> str:
    figures = check.figures()
    words = []
    if "agreement" in figures:
        words.append(f"agreement {figures['agreement']:.1%}")
    if "cosine" in figures:
        words.append(f"cosine {figures['cosine']:.4f}")
    if "sqnr_db" in figures:
        words.append(f"SQNR {figures['sqnr_db']:.1f} dB")
    broken = int(figures.get("nan", 0) + figures.get("inf", 0))
    return ", ".join([*words, *([f"{broken} values NaN or infinite"] if broken else [])])


def _decibels(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.1f}" if math.isfinite(value) else "exact" if value > 0 else "-inf"


def _layer_as_json(layer: RankedLayer) -> dict[str, Any]:
    return {
        "layer": layer.name,
        "nodes": list(layer.nodes),
        "operator": layer.operator,
        "takes_db": _finite(layer.taken_db),
        "gives_db": _finite(layer.given_db),
        "is_finite": layer.is_finite,
    }


def _summary_as_json(report: BisectReport) -> dict[str, Any]:
    order, found = report.order, report.found
    return {
        "model": order.model.name,
        "precision": order.precision,
        "for": order.target,
        "images": len(order.images),
        "thresholds": vars(order.wanted),
        "before": {"passed": report.before.passed, **report.before.figures()},
        "after": None
        if report.after is None
        else {"passed": report.after.passed, **report.after.figures()},
        "layers": None if found.members is None else list(found.members),
        "keep_fp32": None if found.members is None else list(report.keep_fp32),
        "is_minimal": found.is_minimal,
        "is_complete": report.is_complete,
        "movable_layers": report.movable,
        "models_tried": report.tries,
        "culprits": [
            {"layers": list(one.layers), "tensor": one.tensor or None, "born": _finite(one.born)}
            for one in report.screening.culprits[:_LAYERS_SHOWN]
        ],
    }


def _finite(value: float | None) -> float | None:
    """JSON has no infinity."""
    return value if value is not None and math.isfinite(value) else None
