"""``edge-inference quantize``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from edge_inference.cli import arguments as given
from edge_inference.cli.arguments import Commands

_EXAMPLES = """\
examples:
  edge-inference quantize nanodet --calibration images/ --output ~/models/nanodet_int8
  edge-inference quantize nanodet --calibration drive.mp4 --images 200 --output ./mine
  edge-inference quantize nanodet --calibration my_bag --topic /camera/image_raw --output ./mine
  edge-inference quantize nanodet --precision fp16 --output ./mine

The output is a complete model folder: a copy, with the ranges that were measured and
which layers stay in fp32 written into it. int8 and fp16 files are derived from it for
each engine where they are needed. Every fifth image is held out of the calibration
and used to check what came of it, as the model's golden images are.

exit codes: 0 quantised and close enough to fp32; 1 failed, or not close enough: the
folder is kept only with --force; 2 wrong usage; 130 interrupted."""

DEFAULT_IMAGES = 128


def add(commands: Commands, arguments: Sequence[str]) -> None:
    """Add the verb."""
    parser = given.add_command(
        commands,
        "quantize",
        _start,
        help="make a model folder that also computes in int8 or fp16",
        description="Measure ranges on images of yours, and make a model folder with them.",
        epilog=_EXAMPLES,
    )
    parser.add_argument("model", metavar="MODEL", help="model, by name or path")
    _add_calibration(parser)
    parser.add_argument(
        "--precision", choices=("int8", "fp16"), default="int8", help="default: int8"
    )
    parser.add_argument(
        "--keep-fp32",
        action="append",
        default=[],
        type=given.non_empty_text,
        metavar="NODE",
        help="an ONNX node that stays in fp32, besides those of the model; may be repeated",
    )
    parser.add_argument(
        "--output",
        required=True,
        type=given.non_empty_text,
        metavar="FOLDER",
        help="the new model folder",
    )
    parser.add_argument(
        "--export-onnx",
        type=given.non_empty_text,
        metavar="FILE",
        help="also write the ONNX file here",
    )
    parser.add_argument(
        "--for",
        dest="target",
        choices=("onnxruntime", "tensorrt"),
        help="which engine the exported file is for; default: onnxruntime",
    )
    parser.add_argument("--force", action="store_true", help="keep a folder that fails its check")
    given.add_model_path(parser)
    given.add_bounds(parser, "model", timeout_s=4 * 3600)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def _add_calibration(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--calibration",
        type=given.non_empty_text,
        metavar="SOURCE",
        help="images as the model will see them: an image, a folder, a video or a recorded bag; "
        "for fp16 the golden images do",
    )
    parser.add_argument("--topic", default="", help="the bag's topic; needed where it has several")
    parser.add_argument(
        "--images",
        type=given.whole_number(1),
        default=DEFAULT_IMAGES,
        metavar="N",
        help=f"calibrate on at most so many; default: {DEFAULT_IMAGES}",
    )
    parser.add_argument(
        "--method",
        metavar="NAME",
        help="how ranges follow from values: minmax, percentile, mse (default) or entropy",
    )


def _start(options: argparse.Namespace, started_s: float) -> int:
    from edge_inference.cli.models.quantize import QuantizeOptions, quantize

    order = QuantizeOptions(
        model=options.model,
        model_path=options.model_path,
        precision=options.precision,
        calibration=options.calibration,
        topic=options.topic,
        images=options.images,
        method=options.method,
        keep_fp32=tuple(options.keep_fp32),
        output=options.output,
        export=options.export_onnx,
        target=options.target,
        force=options.force,
    )
    return quantize(order, as_json=options.json)
