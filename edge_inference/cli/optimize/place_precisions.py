"""``edge-inference optimize mixed-precision``."""

from __future__ import annotations

import argparse

from edge_inference.cli import arguments as given
from edge_inference.cli.arguments import Commands

_EXAMPLES = """\
examples:
  edge-inference optimize mixed-precision nanodet --images drive.mp4 --output ./fast
  edge-inference optimize mixed-precision mine --calibration images/ --images test/ --output ./fast
  edge-inference optimize mixed-precision mine --backend trt --min-sqnr-db 20 --output ./fast

Finds the fastest precision of each part of a network that is accurate enough, by measured time:
whole networks first (fp32, fp16, int8, int8 in one operator or in all but one), then single
regions of the fastest. The cost is printed before the search starts. The result is never slower
than fp32, fp16 and int8 that keep the floors; of equally fast ones it is the most accurate.

The output is a model folder whose int8 is the result (derive.int8_keep_fp32, int8_reduce_range
and int8_rest in model.yaml); serve it with the precision that is printed. What was measured is
kept in the cache, so that the same search goes on there after an interruption.

exit codes: 0 found; 1 failed; 2 wrong usage; 130 interrupted."""


def add(actions: Commands) -> None:
    """Add the action."""
    parser = given.add_command(
        actions,
        "mixed-precision",
        _start,
        help="find the fastest precision of each part of a network",
        description="Find the fastest precision of each part of a network by measured time.",
        epilog=_EXAMPLES,
    )
    parser.add_argument("model", metavar="MODEL", help="model, by name or path")
    parser.add_argument(
        "--calibration",
        type=given.non_empty_text,
        metavar="SOURCE",
        help="images as the model will see them, to measure the ranges for int8 on; default: the "
        "model's own ranges",
    )
    given.add_images(parser)
    parser.add_argument(
        "--output",
        required=True,
        type=given.non_empty_text,
        metavar="FOLDER",
        help="the new model folder",
    )
    parser.add_argument(
        "--backend",
        choices=("ort", "trt"),
        default="ort",
        help="ONNX Runtime on the CPU, or TensorRT; default: ort",
    )
    parser.add_argument(
        "--min-agreement",
        type=given.number_between(0.0, 1.0),
        default=0.95,
        metavar="SHARE",
        help="least share of results that agree with fp32; default: 0.95",
    )
    parser.add_argument(
        "--min-sqnr-db",
        type=given.number_between(-100.0, 200.0),
        default=14.0,
        metavar="DB",
        help="least SQNR of each output against fp32; default: 14",
    )
    parser.add_argument(
        "--max-seconds",
        type=given.number_between(1.0, 86400.0),
        default=120.0,
        metavar="S",
        help="time for the search; default: 120",
    )
    given.add_model_path(parser)
    given.add_bounds(parser, "model", timeout_s=4 * 3600, grace_s=given.REPORTING_GRACE_S)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def _start(options: argparse.Namespace, started_s: float) -> int:
    from edge_inference.cli.optimize.place_model import place_model

    return place_model(options)
