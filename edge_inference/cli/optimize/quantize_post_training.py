"""``edge-inference quantize`` and ``edge-inference optimize quantize``: one command, two names."""

from __future__ import annotations

import argparse

from edge_inference.cli import arguments as given
from edge_inference.cli.arguments import Commands

_EXAMPLES = """\
examples:
  {command} nanodet --calibration images/ --output ~/models/nanodet_int8
  {command} nanodet --calibration drive.mp4 --images 200 --output ./mine
  {command} nanodet --calibration my_bag --topic /camera/image_raw --output ./mine
  {command} nanodet --precision fp16 --output ./mine
  {command} my_classifier --calibration images/ --report --data by_class/

The output is a complete model folder: a copy of the model with the measured ranges and
the layers that stay in fp32. Each engine derives its int8 or fp16 file from it when
needed. Every fifth image is held out of the calibration; the result is checked on the
held-out images and on the model's golden images.

--report writes nothing: it compares fp32 with int8 by every calibration method, and with
both int8 modes where this CPU has two: agreement and SQNR on the held-out images, CPU
time interleaved on one thread, size, and accuracy with --data.

exit codes: 0 quantized and close enough to fp32, or reported; 1 failed, or not close
enough: the folder is kept only with --force; 2 wrong usage; 130 interrupted."""

DEFAULT_IMAGES = 128


def add(actions: Commands) -> None:
    """Add the action ``optimize quantize``."""
    add_quantize(actions, "edge-inference optimize quantize")


def add_quantize(commands: Commands, command: str) -> None:
    """Add ``quantize``; ``command`` is how examples call it."""
    parser = given.add_command(
        commands,
        "quantize",
        _start,
        help="make a model folder for int8 or fp16",
        description="Measure a model on your images, and make a model folder for int8 or fp16.",
        epilog=_EXAMPLES.format(command=command),
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
        help="an ONNX node that stays in fp32, in addition to those of the model: a name, an "
        "operator such as Softmax, or a pattern such as '/model.22/*'; may be repeated",
    )
    results = parser.add_mutually_exclusive_group(required=True)
    results.add_argument(
        "--output", type=given.non_empty_text, metavar="FOLDER", help="the new model folder"
    )
    results.add_argument(
        "--report",
        action="store_true",
        help="compare fp32 and int8 by every method, or that of --method, and write nothing",
    )
    parser.add_argument(
        "--data",
        type=given.non_empty_text,
        metavar="SOURCE",
        help="labeled images for the accuracy in --report: a folder with one subfolder for each "
        "class, a torch Dataset as package.module:name, or digits",
    )
    parser.add_argument(
        "--export-onnx",
        type=given.non_empty_text,
        metavar="FILE",
        help="also write the derived ONNX file",
    )
    parser.add_argument(
        "--for",
        dest="target",
        choices=("onnxruntime", "tensorrt"),
        help="engine that the exported file is for; default: onnxruntime",
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
        "default for fp16: the golden images",
    )
    parser.add_argument(
        "--topic", default="", help="topic of the bag; needed if several topics have images"
    )
    parser.add_argument(
        "--images",
        type=given.whole_number(1),
        default=DEFAULT_IMAGES,
        metavar="N",
        help=f"maximum number of calibration images; default: {DEFAULT_IMAGES}",
    )
    parser.add_argument(
        "--method",
        metavar="NAME",
        help="calibration method: minmax, percentile, mse (default) or entropy",
    )


def _start(options: argparse.Namespace, started_s: float) -> int:
    from edge_inference.cli.models.quantize_model import (
        QuantizeOptions,
        quantize_model,
        report_quantization,
    )

    quantize_options = QuantizeOptions(
        model=options.model,
        model_path=options.model_path,
        precision=options.precision,
        calibration=options.calibration,
        topic=options.topic,
        images=options.images,
        method=options.method,
        keep_fp32=tuple(options.keep_fp32),
        output=options.output or "",
        export=options.export_onnx,
        target=options.target,
        force=options.force,
        data=options.data,
    )
    run = report_quantization if options.report else quantize_model
    return run(quantize_options, as_json=options.json)
