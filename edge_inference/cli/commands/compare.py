"""``edge-inference compare``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from edge_inference.cli import arguments as given
from edge_inference.cli.arguments import Commands

_EXAMPLES = """\
examples:
  edge-inference compare nanodet
  edge-inference compare nanodet --backends ort,trt --precisions fp16,int8 --plot nanodet.png
  edge-inference compare efficientnet_lite0 --images photos/ --labels labels.csv
  edge-inference compare efficientnet_lite0 --images by_class/ --json
  edge-inference compare nanodet --video drive.mp4 --rate 30

Every backend in every precision is compared with ONNX Runtime in fp32 on the CPU. The
inferences of all engines are interleaved, so that a busy machine slows all of them alike.
Engines that cannot run here are listed with the reason. Missing files are built first,
into the cache.

labels.csv has lines of image,label. Instead, a folder may have one subfolder for each
class, named like its label. Accuracy is measured for classification.

With --video, the recording is played in real time to every engine, and the newest result at
each frame instant is scored against what fp32 finds offline on that frame: accuracy and latency
in one figure. Then --labels is a JSON file in COCO's format, for streaming average precision.

exit codes: 0 compared; 1 failed, nothing passes the self-check, or no engine has a
streaming score; 2 wrong usage; 130 interrupted."""


def add(commands: Commands, arguments: Sequence[str]) -> None:
    """Add the command."""
    parser = given.add_command(
        commands,
        "compare",
        _start,
        help="compare a model's backends and precisions",
        description="Compare the closeness to fp32 and the speed of all engines for a model.",
        epilog=_EXAMPLES,
    )
    parser.add_argument("model", metavar="MODEL", help="model, by name or path")
    parser.add_argument(
        "--backends", type=given.comma_names, metavar="NAMES", help="such as ort,trt; default: all"
    )
    parser.add_argument(
        "--precisions",
        type=given.comma_names,
        metavar="NAMES",
        help="such as fp32,int8; default: all",
    )
    parser.add_argument(
        "--int8-modes",
        type=given.comma_names,
        metavar="NAMES",
        help="on an x86 CPU without VNNI: exact, fast; default: both",
    )
    given.add_images(parser)
    parser.add_argument(
        "--labels",
        type=given.non_empty_text,
        metavar="FILE",
        help="lines of image,label; with --video: labelled boxes, a JSON file in COCO's format",
    )
    parser.add_argument(
        "--video",
        type=given.non_empty_text,
        metavar="FILE",
        help="a recording to play to every engine for its streaming agreement, or sample",
    )
    parser.add_argument(
        "--rate",
        type=given.number_between(0.1, 1000.0),
        metavar="HZ",
        help="images per second of --video; default: its own rate",
    )
    parser.add_argument(
        "--runs",
        type=given.whole_number(1),
        metavar="N",
        help="timed runs of each engine; default: 50",
    )
    given.add_threads(parser)
    given.add_gpu(parser)
    given.add_model_path(parser)
    given.add_bounds(parser, "model", timeout_s=3600, grace_s=given.REPORTING_GRACE_S)
    parser.add_argument(
        "--json", action="store_true", help="one JSON object a line: each row, last a summary"
    )
    parser.add_argument(
        "--plot",
        type=given.non_empty_text,
        metavar="FILE",
        help="plot latency against closeness to fp32 into a .png or .svg file; needs matplotlib",
    )


def _start(options: argparse.Namespace, started_s: float) -> int:
    from edge_inference.cli.compare.compare_model import CompareOptions, compare_model

    given_options = {
        name: value
        for name, value in vars(options).items()
        if name in CompareOptions.__dataclass_fields__ and value is not None
    }
    return compare_model(CompareOptions(**given_options), as_json=options.json)
