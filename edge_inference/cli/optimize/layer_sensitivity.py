"""``edge-inference optimize sensitivity``: the noise that a precision adds in each layer."""

from __future__ import annotations

import argparse
import json
import math
import sys
from typing import TYPE_CHECKING

from edge_inference.cli import arguments as given
from edge_inference.cli.arguments import Commands

if TYPE_CHECKING:
    from edge_inference.core.models.model import ModelDescription
    from edge_inference.engines.cache.artifacts import Cancelled, Progress
    from edge_inference.engines.precision.calibration import Calibration
    from edge_inference.optimize.bisect import BisectReport
    from edge_inference.optimize.sensitivity import LayerNoise

_EXAMPLES = """\
examples:
  edge-inference optimize sensitivity nanodet
  edge-inference optimize sensitivity nanodet --calibration drive.mp4 --method percentile
  edge-inference optimize sensitivity my_model --precision fp16 --json

Every layer with its operator and the SQNR of its input and output, the layer that adds most
noise first. "added" is the noise over signal of the layer's own arithmetic. A later layer can
mask noise: edge-inference bisect finds the layers that must stay in fp32.

exit codes: 0 measured; 1 failed; 2 wrong usage; 130 interrupted."""

_PIPE_WIDTH = 140


def add(actions: Commands) -> None:
    """Add the action."""
    parser = given.add_command(
        actions,
        "sensitivity",
        _start,
        help="list the noise that a precision adds in each layer",
        description="List the SQNR of every layer of a model in a lower precision.",
        epilog=_EXAMPLES,
    )
    parser.add_argument("model", metavar="MODEL", help="model, by name or path")
    parser.add_argument(
        "--precision", choices=("int8", "fp16"), default="int8", help="default: int8"
    )
    parser.add_argument(
        "--for",
        dest="target",
        choices=("onnxruntime", "tensorrt"),
        default="onnxruntime",
        help="engine that the model is derived for; default: onnxruntime",
    )
    parser.add_argument(
        "--calibration",
        type=given.non_empty_text,
        metavar="SOURCE",
        help="images to measure the ranges on: an image, a folder, a video or a recorded bag; "
        "default: the ranges of the model folder",
    )
    parser.add_argument(
        "--topic", default="", help="topic of the bag; needed if several topics have images"
    )
    parser.add_argument(
        "--method",
        choices=("minmax", "percentile", "mse", "entropy"),
        help="calibration method; default: mse",
    )
    given.add_model_path(parser)
    given.add_bounds(parser, "model", timeout_s=3600)
    parser.add_argument(
        "--json", action="store_true", help="one JSON object a line: each layer, last a summary"
    )


def _start(options: argparse.Namespace, started_s: float) -> int:
    from edge_inference.cli.exit_status import UsageError
    from edge_inference.cli.perception.run_options import search_path
    from edge_inference.cli.progress import show_progress
    from edge_inference.cli.signals import cancel_on_signal
    from edge_inference.core.models.model_search import find_model
    from edge_inference.optimize.bisect import BisectRequest, measure_layers
    from edge_inference.optimize.images.image_set import golden_image_set

    if options.calibration is not None and options.precision != "int8":
        raise UsageError(f"--calibration is for int8; {options.precision} has no ranges")
    for option, value in (("--topic", options.topic), ("--method", options.method)):
        if value and options.calibration is None:
            raise UsageError(f"{option} needs --calibration")
    model = find_model(options.model, search_path(options.model_path))
    with (
        cancel_on_signal() as cancelled,
        show_progress(f"measuring {model.name}", sys.stdout, options.json) as progress,
    ):
        calibration = None
        if options.calibration is not None:
            calibration = _calibrate(options, model, progress, cancelled)
        request = BisectRequest(
            model,
            options.precision,
            golden_image_set(model),
            options.target,
            calibration=calibration,
        )
        report = measure_layers(request, progress, cancelled)
    _print(report, options.json)
    return 0


def _calibrate(
    options: argparse.Namespace, model: ModelDescription, progress: Progress, cancelled: Cancelled
) -> Calibration:
    from edge_inference.cli.exit_status import print_error
    from edge_inference.optimize.calibrate import DEFAULT_METHOD, calibrate_model
    from edge_inference.optimize.images.calibration_images import calibration_images
    from edge_inference.optimize.quantize import DEFAULT_IMAGES

    return calibrate_model(
        model,
        calibration_images(options.calibration, options.topic, DEFAULT_IMAGES, print_error),
        options.calibration,
        options.method or DEFAULT_METHOD,
        lambda count: progress(f"calibrating, {count} images", None),
        cancelled=cancelled,
    )


def _print(report: BisectReport, as_json: bool) -> None:
    from edge_inference.cli.console_table import new_console, new_table, print_table
    from edge_inference.cli.models.bisect_model import finite_or_none, format_db, layer_as_json

    layers = sorted(report.sensitivity.layers, key=_noise, reverse=True)
    request = report.request
    if as_json:
        for layer in layers:
            entry = {**layer_as_json(layer), "added_noise": finite_or_none(layer.added_noise)}
            sys.stdout.write(json.dumps(entry) + "\n")
        summary = {
            "model": request.model.name,
            "precision": request.precision,
            "target": request.target,
            "images": len(request.images),
            "layers": len(layers),
            "passed": report.before.passed,
            **report.before.figures(),
        }
        sys.stdout.write(json.dumps({"summary": summary}) + "\n")
        return
    sys.stdout.write(
        f"{request.model.name} in {request.precision} for {request.target}, on "
        f"{request.images.description}; {report.convertible} of {len(layers)} layers converted\n"
    )
    table = new_table("layer", "operator", "input dB", "output dB", "added")
    for layer in layers:
        noise = layer.added_noise
        added = "" if noise is None else f"{noise:.2%}" if math.isfinite(noise) else "overflow"
        table.add_row(
            layer.name,
            layer.operator,
            format_db(layer.input_sqnr_db),
            format_db(layer.output_sqnr_db),
            added,
        )
    print_table(new_console(sys.stdout, _PIPE_WIDTH), table)
    sys.stdout.write(f"{report.before.summary()}\n")


def _noise(layer: LayerNoise) -> float:
    return -1.0 if layer.added_noise is None else layer.added_noise
