"""``edge-inference optimize tradeoff``, and the options of measuring that ``recommend`` shares."""

from __future__ import annotations

import argparse
import re

from edge_inference.cli import arguments as given
from edge_inference.cli.arguments import Commands

_EXAMPLES = """\
examples:
  edge-inference optimize tradeoff nanodet
  edge-inference optimize tradeoff mine mine_pruned mine_small --images by_class/ --plot points.png
  edge-inference optimize tradeoff mine --data digits --batch 1 4 --save mine.json --write

Every model is measured in every backend and precision, on this machine, all interleaved. A
sparsity is a model folder of its own; so is an input size, unless the graph has a dynamic
height and width (--size). With labels (--labels, --data, or a folder with one subfolder for
each class), accuracy is the share of images whose class is named first. Without, it is the
agreement with the same model in fp32, which says nothing about two different models.

The time of an engine on the CPU with one thread is its CPU time. Of a batch, the latency is
that of all its images, and the speed counts per image. Energy is measured where the machine has
a power sensor: the whole machine's, with its idle power.

--save writes a file that `optimize recommend` reads. --write lists the Pareto front of what a
node can serve, one image at a time in the model's own input size, in model.yaml of the first
model (operating_points); with labels the other models' points, too. The inference node and the
governor choose among them; what they cost stays in the cache of this machine.

exit codes: 0 measured; 1 failed, or no point can be used; 2 wrong usage; 130 interrupted."""

_SIZE = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", re.ASCII)


def add(actions: Commands) -> None:
    """Add the action."""
    parser = given.add_command(
        actions,
        "tradeoff",
        _start,
        help="measure accuracy, latency, size and energy of operating points",
        description="Measure accuracy, latency, size and energy of models' operating points.",
        epilog=_EXAMPLES,
    )
    parser.add_argument("models", nargs="+", metavar="MODEL", help="model, by name or path")
    add_measuring(parser)
    parser.add_argument(
        "--over",
        type=given.comma_names,
        default=("accuracy", "latency"),
        metavar="NAMES",
        help="what the Pareto front weighs: accuracy, latency, size, energy; default: the first "
        "two",
    )
    for flag, text in (
        ("--plot", "plot accuracy against latency into a .png or .svg file; needs matplotlib"),
        ("--html", "write plot and table as one page; needs matplotlib"),
        ("--save", "write the points as JSON, for `optimize recommend`"),
    ):
        parser.add_argument(flag, type=given.non_empty_text, metavar="FILE", help=text)
    parser.add_argument(
        "--write", action="store_true", help="list the front's points in the first model.yaml"
    )


def add_measuring(parser: argparse.ArgumentParser) -> None:
    """Add the options of what is measured, on which images, and how long."""
    for flag, text in (
        ("--backends", "such as ort,trt; default: all"),
        ("--precisions", "such as fp32,int8; default: all"),
        ("--int8-modes", "on an x86 CPU without VNNI: exact, fast; default: both"),
    ):
        parser.add_argument(flag, type=given.comma_names, metavar="NAMES", help=text)
    parser.add_argument(
        "--size",
        nargs="+",
        type=_size,
        default=[],
        metavar="WxH",
        help="further input sizes in pixels, such as 160x160",
    )
    parser.add_argument(
        "--batch",
        nargs="+",
        type=given.whole_number(1),
        default=[1],
        metavar="N",
        help="further numbers of images of one inference; default: 1",
    )
    given.add_images(parser)
    parser.add_argument(
        "--labels", type=given.non_empty_text, metavar="FILE", help="lines of image,label"
    )
    parser.add_argument(
        "--data",
        type=given.non_empty_text,
        metavar="SOURCE",
        help="labeled images instead of --images: digits, or a folder with one subfolder for each "
        "class",
    )
    parser.add_argument(
        "--seed",
        type=given.whole_number(0, given.MAX_SEED),
        metavar="N",
        help="of --data only the images that a training with this --seed, and with --images as "
        "--limit here, held out: others give too high an accuracy; default: all",
    )
    parser.add_argument(
        "--runs",
        type=given.whole_number(10),
        default=50,
        metavar="N",
        help="timed runs of each engine; default: 50",
    )
    given.add_threads(parser)
    given.add_gpu(parser)
    given.add_model_path(parser)
    # One process measures all models, so that their times are interleaved.
    parser.set_defaults(subject="the models")
    given.add_bounds(parser, "subject", timeout_s=4 * 3600, grace_s=given.REPORTING_GRACE_S)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def _size(text: str) -> tuple[int, int]:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"expected width x height such as 160x160, got {text!r}")
    return int(match[1]), int(match[2])


def _start(options: argparse.Namespace, started_s: float) -> int:
    from edge_inference.cli.optimize.run_tradeoff import run_tradeoff

    return run_tradeoff(options)
