"""``edge-inference optimize prune``."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edge_inference.cli import arguments as given
from edge_inference.cli.arguments import Commands
from edge_inference.cli.exit_status import UsageError
from edge_inference.cli.optimize import optimize_options as shared

if TYPE_CHECKING:
    from edge_inference.engines.cache.artifacts import Cancelled, Progress
    from edge_inference.optimize.pruning.pruning_report import PruningReport
    from edge_inference.optimize.training.labeled_dataset import DatasetSplit
    from edge_inference.optimize.training.torch_model import TorchModel
    from edge_inference.optimize.training.train import TrainingSettings

_EXAMPLES = """\
examples:
  edge-inference optimize prune net.py:make --weights net.pt --data images/ --output pruned
  edge-inference optimize prune net.py:make --weights net.pt --data images/ --speedup 1.8 \\
      --fine-tune-epochs 10 --output pruned.onnx
  edge-inference optimize prune net.py:make --weights net.pt --data images/ --iterative 5 \\
      --ratio 0.6 --min-accuracy 0.95 --output pruned.pt

structured removes channels and neurons, so that every engine computes less. unstructured and
2:4 set single weights to zero, which no CPU engine gains time from; TensorRT gains from 2:4 on
GPUs since Ampere with sparse_weights: true in the section engine of model.yaml.

A part of the images is held out: --min-accuracy is judged on it, and the reported accuracy is
that of another part. The times are measured on this machine, in ONNX Runtime on one thread.

--output is a new model folder, an .onnx file, or a .pt file with the whole module, which
--save-module writes beside the others. A .pt file loads with torch.load(file, weights_only=False),
only where the code of its classes can be imported; loading one runs code from it: load only your
own.

exit codes: 0 pruned; 1 failed, or the target is out of reach; 2 wrong usage; 130 interrupted."""

_KINDS = ("structured", "unstructured", "2:4")
_DEFAULT_RATIO = 0.5
_DEFAULT_INITIAL = 0.1
_DEFAULT_EPOCHS = 5
_MODULE_FILE = ".pt"
_ONNX_FILE = ".onnx"


def add(actions: Commands) -> None:
    """Add the action."""
    parser = given.add_command(
        actions,
        "prune",
        _start,
        help="remove channels or weights, fine-tune, and measure what it gains",
        description="Prune a PyTorch model, fine-tune it, and measure both on this machine.",
        epilog=_EXAMPLES,
    )
    shared.add_torch_model(parser)
    shared.add_training(parser, _DEFAULT_EPOCHS, "--fine-tune-epochs", minimum=0)
    parser.add_argument("--kind", choices=_KINDS, default=_KINDS[0], help="default: structured")
    _add_amount(parser)
    _add_choice(parser)
    _add_steps(parser)
    parser.add_argument(
        "--output",
        required=True,
        type=given.non_empty_text,
        metavar="PATH",
        help="new model folder, FILE.onnx, or FILE.pt with the module",
    )
    parser.add_argument(
        "--save-module",
        type=given.non_empty_text,
        metavar="FILE.pt",
        help="also write the whole module, to train or prune it further",
    )
    given.add_bounds(parser, "module", timeout_s=24 * 3600)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def _add_amount(parser: argparse.ArgumentParser) -> None:
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument(
        "--ratio",
        type=given.number_between(0.01, 0.99),
        metavar="SHARE",
        help=f"share of the channels or weights to remove; default: {_DEFAULT_RATIO}",
    )
    amount.add_argument(
        "--speedup",
        type=given.number_between(1.0, 100.0),
        metavar="FACTOR",
        help="remove as few channels as make it so many times faster here",
    )
    amount.add_argument(
        "--latency-ms",
        type=given.number_between(1e-6, 1e6),
        metavar="MS",
        help="remove as few channels as bring one image below this time here",
    )


def _add_choice(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--scope",
        choices=("global", "layer"),
        default="global",
        help="rank all layers together (default), or remove the same share of each",
    )
    parser.add_argument(
        "--importance",
        choices=("l2", "l1", "bn_scale", "taylor"),
        help="how to rank channels; default: l2",
    )
    parser.add_argument(
        "--round-to",
        type=given.whole_number(1),
        metavar="N",
        help="keep a multiple of N channels; default: 8, as vector units want it",
    )
    parser.add_argument(
        "--ignore",
        action="append",
        default=[],
        type=given.non_empty_text,
        metavar="LAYER",
        help="layer that stays as it is: a name, or a pattern such as 'stem.*'; may be repeated",
    )


def _add_steps(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--iterative",
        type=given.whole_number(2),
        metavar="STEPS",
        help="prune in so many steps, with a fine-tuning after each",
    )
    parser.add_argument(
        "--initial",
        type=given.number_between(0.01, 0.99),
        metavar="SHARE",
        help="share to remove in the first of several steps; default: 0.1",
    )
    parser.add_argument(
        "--schedule",
        choices=("cubic", "linear"),
        help="how the share grows over the steps; default: cubic, most at first",
    )
    parser.add_argument(
        "--min-accuracy",
        type=given.number_between(0.0, 1.0),
        metavar="SHARE",
        help="undo the step that falls below this accuracy, and stop",
    )


def _start(options: argparse.Namespace, started_s: float) -> int:
    from edge_inference.cli.progress import show_progress
    from edge_inference.cli.signals import cancel_on_signal
    from edge_inference.optimize.training.labeled_dataset import split_dataset

    _check(options)
    dataset = shared.read_dataset(options)
    model = shared.read_torch_model(options, dataset)
    split = split_dataset(dataset, options.seed)
    title = f"pruning {model.name}"
    with (
        cancel_on_signal() as cancelled,
        show_progress(title, sys.stdout, options.json) as progress,
    ):
        report = _prune(options, model, split, progress, cancelled)
        progress(f"writing {options.output}", None)
        _write(report, options, split, progress, cancelled)
    if options.json:
        print(json.dumps({**report.to_json(), "output": options.output}))
    else:
        _print_report(report, options.output)
    return 0


def _check(options: argparse.Namespace) -> None:
    """Raise UsageError for options that exclude each other or would have no effect."""
    is_structured = options.kind == _KINDS[0]
    for name in ("speedup", "latency_ms", "importance", "round_to"):
        if getattr(options, name) is not None and not is_structured:
            raise UsageError(f"--{name.replace('_', '-')} is for --kind structured")
    if options.kind == _KINDS[2]:
        if options.ratio not in (None, _DEFAULT_RATIO):
            raise UsageError("--ratio: 2:4 always removes half of the weights")
        if options.iterative is not None:
            raise UsageError("--iterative: 2:4 has one step; choose structured or unstructured")
    for name in ("initial", "schedule", "min_accuracy"):
        if getattr(options, name) is not None and options.iterative is None:
            raise UsageError(f"--{name.replace('_', '-')} needs --iterative STEPS")
    if options.iterative is not None and not options.epochs:
        raise UsageError("--iterative needs --fine-tune-epochs of 1 or more")
    for option, value in (("--output", options.output), ("--save-module", options.save_module)):
        if value is not None:
            _check_output(option, Path(value))


def _check_output(option: str, output: Path) -> None:
    from edge_inference.core.disk import check_new_file

    if option == "--save-module" and output.suffix != _MODULE_FILE:
        raise UsageError(f"{option} {output}: expected a name that ends in .pt")
    if output.suffix in (_MODULE_FILE, _ONNX_FILE):
        check_new_file(output, option)  # such as the weights that the module starts from
    elif not output.absolute().parent.is_dir():
        raise UsageError(f"{option} {output}: its folder does not exist")
    elif output.exists():
        raise UsageError(f"{option} {output}: it exists already; name a new folder")


def _prune(
    options: argparse.Namespace,
    model: TorchModel,
    split: DatasetSplit,
    progress: Progress,
    cancelled: Cancelled,
) -> PruningReport:
    from edge_inference.optimize.pruning import iterative, latency_table, structured, unstructured

    training: TrainingSettings | None = shared.read_training(options) if options.epochs else None
    ratio = _DEFAULT_RATIO if options.ratio is None else options.ratio
    channels = structured.StructuredPruning(
        ratio,
        options.scope,
        options.importance or "l2",
        8 if options.round_to is None else options.round_to,
        tuple(options.ignore),
    )
    pattern = options.kind if options.kind in unstructured.PATTERNS else _KINDS[1]
    weights = unstructured.UnstructuredPruning(ratio, options.scope, pattern, tuple(options.ignore))
    report = None
    if options.speedup is not None or options.latency_ms is not None:
        target = latency_table.LatencyTarget(options.latency_ms, options.speedup)
        report = latency_table.prune_to_latency(
            model,
            target,
            channels,
            progress,
            cancelled,
            dataset=split.train,
            evaluated=split.test,
        )
        ratio = report.ratio
    if options.iterative is not None and training is not None:
        settings = iterative.IterativePruning(
            min(_DEFAULT_INITIAL, ratio) if options.initial is None else options.initial,
            ratio,
            options.iterative,
            options.schedule or "cubic",
            options.kind,
            options.min_accuracy,
            channels,
            weights,
        )
        stepwise = iterative.prune_iteratively(
            model, split, settings, training, progress, cancelled
        )
        return replace(stepwise, latency_table=report.latency_table if report else ())
    if options.kind != _KINDS[0]:
        return unstructured.prune_unstructured(
            model,
            weights,
            progress,
            cancelled,
            split=split,
            training=training,
            evaluated=split.test,
        )
    if report is None:
        report = structured.prune_structured(
            model, channels, progress, cancelled, dataset=split.train, evaluated=split.test
        )
    if training is None:
        return report
    return iterative.fine_tune(report, split, training, progress, cancelled)


def _write(
    report: PruningReport,
    options: argparse.Namespace,
    split: DatasetSplit,
    progress: Progress,
    cancelled: Cancelled,
) -> None:
    from edge_inference.cli.bounded_run import remove_with_child
    from edge_inference.optimize.export.model_folder import export_folder
    from edge_inference.optimize.export.onnx_export import export_onnx
    from edge_inference.optimize.training.torch_model import save_module

    output = Path(options.output)
    if options.save_module is not None:
        save_module(report.model.module, Path(options.save_module))
    if output.suffix == _MODULE_FILE:
        save_module(report.model.module, output)
    elif output.suffix == _ONNX_FILE:
        export_onnx(report.model, output)
    else:
        export_folder(
            report.model,
            output,
            calibration=split.train,
            evaluation=split.test,
            golden=split.validation,
            description=f"{report.model.name}, {report.kind} pruning of {report.pruned:.0%}",
            progress=progress,
            cancelled=cancelled,
            before_staging=remove_with_child,
        )


def _print_report(report: PruningReport, output: str) -> None:
    for row in report.latency_table:
        print(
            f"ratio {row.ratio:.2f}: {row.time.median_s * 1e3:.3f} ms, {row.speedup:.2f} times the "
            "speed"
        )
    for step in report.steps:
        outcome = "" if step.kept else ", rolled back"
        print(f"{step.pruned:.0%} pruned: validation accuracy {step.accuracy.share:.1%}{outcome}")
    for layer in report.layers:
        if layer.channels_after != layer.channels_before:
            print(f"{layer.name}: {layer.channels_before} → {layer.channels_after} channels")
    for kept in report.kept:
        print(f"{kept.name} was not pruned: {kept.reason}")
    print(report.summary())
    print(f"written to {output}")
