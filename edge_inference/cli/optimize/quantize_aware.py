"""``edge-inference optimize quantize-aware``: quantization-aware training of a PyTorch model."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edge_inference.cli import arguments as given
from edge_inference.cli.arguments import Commands
from edge_inference.cli.optimize.optimize_options import (
    add_torch_model,
    add_training,
    read_dataset,
    read_torch_model,
    read_training,
)

if TYPE_CHECKING:
    from edge_inference.optimize.quantization.quantization_aware import QuantizedTraining

_EXAMPLES = """\
examples:
  edge-inference optimize quantize-aware net.py:make --weights net.pt --data digits \\
    --output ./digits_int8
  edge-inference optimize quantize-aware net.py:make --weights net.pt --data by_class/ \\
    --input width=96 --input height=96 --weight-bits 7 --epochs 5 --output ./mine
  edge-inference optimize quantize-aware net.py:make --weights net.pt --data digits \\
    --weight-bits 4 --per-tensor

The module is trained on with the rounding of int8 where the engine rounds. The output is a
model folder with the rounded weights in fp32 and the ranges of the training; each engine derives
its int8 file from it when needed. 70 % of the images train, and the accuracy is that of 15 % that
nothing was chosen on. Try "optimize quantize --report" first: without a training int8 often
loses nothing.

7-bit weights are for x86 CPUs without VNNI, and every engine then has them (int8_reduce_range).
4 and 3 bits are for study: they need no --output, since no engine computes faster with them.

exit codes: 0 trained; 1 failed; 2 wrong usage; 130 interrupted."""

_EPOCHS = 3


def add(actions: Commands) -> None:
    """Add the action."""
    parser = given.add_command(
        actions,
        "quantize-aware",
        _start,
        help="train a PyTorch model on with the rounding of int8",
        description="Train a PyTorch model on with the rounding of int8, and make a model folder.",
        epilog=_EXAMPLES,
    )
    add_torch_model(parser)
    parser.add_argument(
        "--weight-bits", type=int, choices=(8, 7, 4, 3), default=8, help="default: 8"
    )
    parser.add_argument(
        "--activation-bits", type=int, choices=(8, 4, 3), default=8, help="default: 8"
    )
    parser.add_argument(
        "--per-tensor",
        action="store_true",
        help="one scale for all weights of a layer, for study; default: one for each channel",
    )
    parser.add_argument(
        "--observer",
        choices=("moving_average", "fixed"),
        default="moving_average",
        help="whether the ranges of activations follow the training; default: moving_average",
    )
    parser.add_argument(
        "--method",
        choices=("minmax", "percentile", "mse", "entropy"),
        default="mse",
        help="how the ranges are first estimated; default: mse",
    )
    parser.add_argument(
        "--for",
        dest="target",
        choices=("onnxruntime", "tensorrt"),
        default="onnxruntime",
        help="engine whose rounding is trained with; default: onnxruntime",
    )
    add_training(parser, _EPOCHS)
    parser.add_argument(
        "--output", type=given.non_empty_text, metavar="FOLDER", help="the new model folder"
    )
    given.add_bounds(parser, "module", timeout_s=24 * 3600)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def _start(options: argparse.Namespace, started_s: float) -> int:
    from edge_inference.cli.bounded_run import remove_with_child
    from edge_inference.cli.progress import show_progress
    from edge_inference.cli.signals import cancel_on_signal
    from edge_inference.optimize.quantization.quantization_aware import train_quantized
    from edge_inference.optimize.quantization.quantized_export import (
        check_deployed,
        export_quantized,
    )
    from edge_inference.optimize.training.labeled_dataset import split_dataset

    settings = _read_settings(options)
    dataset = read_dataset(options)
    model = read_torch_model(options, dataset)
    split = split_dataset(dataset, options.seed)
    check = None
    with (
        cancel_on_signal() as cancelled,
        show_progress(f"training {model.name}", sys.stdout, options.json) as progress,
    ):
        report = train_quantized(model, split, settings, progress, cancelled)
        if options.output is not None:
            folder = Path(options.output).expanduser()
            described = export_quantized(
                report, split, folder, progress, cancelled, before_staging=remove_with_child
            )
            check = check_deployed(report, described, split.test, progress, cancelled)
    if options.json:
        summary = report.to_json() | ({} if check is None else {"deployed": check.to_json()})
        sys.stdout.write(json.dumps({"summary": summary}) + "\n")
        return 0
    sys.stdout.write(f"{report.summary()}\n")
    if check is not None:
        sys.stdout.write(f"{check.summary()}\nmodel folder: {options.output}\n")
    return 0


def _read_settings(options: argparse.Namespace) -> QuantizedTraining:
    """Return the settings. Raises UsageError for options that do not fit together."""
    from edge_inference.cli.exit_status import UsageError
    from edge_inference.optimize.quantization.quantization_aware import QuantizedTraining

    settings = QuantizedTraining(
        weight_bits=options.weight_bits,
        activation_bits=options.activation_bits,
        per_channel=not options.per_tensor,
        training=read_training(options),
        observer=options.observer,
        method=options.method,
        target=options.target,
    )
    if options.output is None and settings.is_deployable:
        raise UsageError("--output FOLDER is needed: the new model folder")
    if options.output is not None:
        if not settings.is_deployable:
            raise UsageError(f"--output: {settings.describe()} are for study and not deployed")
        if Path(options.output).expanduser().exists():
            raise UsageError(f"--output {options.output}: it exists already; name a new folder")
    return settings
