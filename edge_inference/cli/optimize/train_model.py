"""``edge-inference optimize train``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edge_inference.cli import arguments as given
from edge_inference.cli.arguments import Commands
from edge_inference.cli.optimize import optimize_options as shared

if TYPE_CHECKING:
    from edge_inference.optimize.comparison import MeasuredAccuracy
    from edge_inference.optimize.training.train import TrainingReport

_EXAMPLES = """\
examples:
  edge-inference optimize train net.py:make_net --data digits --epochs 10 --output net.pt
  edge-inference optimize train net.py:make_net --weights net.pt --data photos/ \\
      --input width=96 --input height=96 --input std=255 --amp --output better.pt

Trains on 70 % of the images, chosen by --seed, and measures on the 15 % that nothing is
trained or chosen on. The output is a state dict, as torch.save writes it. The same seed
gives the same file on the same machine.

exit codes: 0 trained; 1 failed, and nothing was written; 2 wrong usage; 130 interrupted."""

_DEFAULT_EPOCHS = 10


def add(actions: Commands) -> None:
    """Add the action."""
    parser = given.add_command(
        actions,
        "train",
        _start,
        help="train a PyTorch model on labeled images",
        description="Train a PyTorch classifier, or continue to train one.",
        epilog=_EXAMPLES,
    )
    shared.add_torch_model(parser)
    shared.add_training(parser, _DEFAULT_EPOCHS)
    parser.add_argument(
        "--output",
        required=True,
        type=Path,
        metavar="FILE",
        help="the file of the trained weights",
    )
    given.add_bounds(parser, "module", timeout_s=24 * 3600)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _start(options: argparse.Namespace, started_s: float) -> int:
    from edge_inference.cli.progress import show_progress
    from edge_inference.cli.signals import cancel_on_signal
    from edge_inference.core.disk import check_new_file
    from edge_inference.optimize.training.evaluate import evaluate
    from edge_inference.optimize.training.labeled_dataset import split_dataset
    from edge_inference.optimize.training.torch_model import save_weights
    from edge_inference.optimize.training.train import train

    check_new_file(options.output, "--output")
    dataset = shared.read_dataset(options)
    model = shared.read_torch_model(options, dataset)
    split = split_dataset(dataset, options.seed)
    with cancel_on_signal() as cancelled:
        title = f"training {model.name}"
        with show_progress(title, sys.stdout, options.json) as progress:
            report = train(model, split.train, shared.read_training(options), progress, cancelled)
            accuracy = evaluate(report.model, split.test, cancelled=cancelled)
    save_weights(report.model.module, options.output)
    sys.stdout.write(_text(options, report, accuracy))
    return 0


def _text(options: argparse.Namespace, report: TrainingReport, accuracy: MeasuredAccuracy) -> str:
    if options.json:
        result = {
            "model": report.model.name,
            "file": str(options.output),
            "parameters": report.model.parameter_count(),
            "epochs": [{"epoch": each.epoch, "loss": each.loss} for each in report.epochs],
            "skipped_steps": report.skipped_steps,
            "accuracy": {"value": accuracy.share, "samples": accuracy.total},
        }
        return json.dumps(result) + "\n"
    lines = [f"epoch {each.epoch}: loss {each.loss:.4f}" for each in report.epochs]
    lines += [
        f"accuracy: {accuracy.share:.1%} of {accuracy.total} held-out images",
        f"{options.output}: {report.model.parameter_count()} parameters",
    ]
    return "".join(f"{line}\n" for line in lines)
