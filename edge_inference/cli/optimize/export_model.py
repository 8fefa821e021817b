"""``edge-inference optimize export``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_inference.cli import arguments as given
from edge_inference.cli.arguments import Commands
from edge_inference.cli.optimize import optimize_options as shared

if TYPE_CHECKING:
    from edge_inference.core.models.model import ModelDescription

_EXAMPLES = """\
examples:
  edge-inference optimize export net.py:make_net --weights net.pt --data digits --output digits
  edge-inference optimize export my_package.nets:make_net --argument width=32 --weights net.pt \\
      --data photos/ --input width=224 --input height=224 --input std=255 --output ./my_model

The output is a complete model folder: the ONNX file, checked against PyTorch; the names of
the classes; the accuracy on the images held out by --seed; the ranges of the training
images, so that int8 can be derived; two golden images, which every engine is checked with.

exit codes: 0 exported; 1 failed, and nothing was written; 2 wrong usage; 130 interrupted."""


def add(actions: Commands) -> None:
    """Add the action."""
    parser = given.add_command(
        actions,
        "export",
        _start,
        help="make a model folder from a PyTorch model",
        description="Make a complete model folder from a PyTorch classifier.",
        epilog=_EXAMPLES,
    )
    shared.add_torch_model(parser)
    parser.add_argument(
        "--output",
        required=True,
        type=given.non_empty_text,
        metavar="FOLDER",
        help="the new model folder",
    )
    parser.add_argument(
        "--opset",
        type=given.whole_number(1),
        metavar="N",
        help="ONNX opset, 13 to 21; default: 17",
    )
    parser.add_argument(
        "--fixed-batch",
        action="store_true",
        help="one image at a time only; default: any number of images",
    )
    parser.add_argument("--license", default="", metavar="TEXT", help="license of the weights")
    parser.add_argument("--description", default="", metavar="TEXT", help="what the model is")
    given.add_bounds(parser, "module", timeout_s=4 * 3600)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _start(options: argparse.Namespace, started_s: float) -> int:
    from edge_inference.cli.bounded_run import remove_with_child
    from edge_inference.cli.progress import show_progress
    from edge_inference.cli.signals import cancel_on_signal
    from edge_inference.optimize.export.model_folder import export_folder
    from edge_inference.optimize.export.model_yaml import UNKNOWN_LICENSE
    from edge_inference.optimize.export.onnx_export import DEFAULT_OPSET
    from edge_inference.optimize.training.labeled_dataset import split_dataset

    dataset = shared.read_dataset(options)
    model = shared.read_torch_model(options, dataset)
    split = split_dataset(dataset, options.seed)
    with cancel_on_signal() as cancelled:
        title = f"exporting {model.name}"
        with show_progress(title, sys.stdout, options.json) as progress:
            folder = export_folder(
                model,
                Path(options.output),
                opset=options.opset or DEFAULT_OPSET,
                dynamic_batch=not options.fixed_batch,
                calibration=split.train,
                evaluation=split.test,
                license=options.license or UNKNOWN_LICENSE,
                description=options.description,
                progress=progress,
                cancelled=cancelled,
                before_staging=remove_with_child,
            )
    if options.json:
        sys.stdout.write(json.dumps(_to_json(folder)) + "\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in _lines(folder))
    return 0


def _to_json(model: ModelDescription) -> dict[str, Any]:
    from edge_inference.core.models.model import DESCRIPTION_FILE

    variant = model.variants["fp32"]
    return {
        "model": model.name,
        "file": str(model.folder / DESCRIPTION_FILE),
        "bytes": variant.file.stat().st_size,
        "classes": len(model.labels),
        "accuracy": [
            {"dataset": each.dataset, "value": each.value, "samples": each.samples}
            for each in variant.accuracy
        ],
        "golden_images": len(model.golden),
    }


def _lines(model: ModelDescription) -> list[str]:
    from edge_inference.core.models.model_search import as_argument

    variant = model.variants["fp32"]
    lines = [f"{model.name}: {model.folder}, {variant.file.stat().st_size / 1e6:.2f} MB"]
    lines += [
        f"accuracy in ONNX Runtime: {each.value:.1%} of {each.samples} held-out images of "
        f"{each.dataset}"
        for each in variant.accuracy
    ]
    golden = ", ".join(each.image.name for each in model.golden)
    lines.append(f"golden images: {golden or 'none: the model is sure of no image'}")
    return [*lines, f"next: edge-inference models check {as_argument(model.folder)}"]
