"""``edge-inference``: parses the command line and starts what was asked for.

Nothing heavy is imported before it is known to be needed.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import NoReturn

import edge_inference
from edge_inference.errors import EdgeInferenceError
from edge_inference.tools.usage import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, UsageError

_RUN_EXAMPLES = """\
examples:
  edge-inference run perception --source sample
  edge-inference run perception --source pictures/ --model efficientnet_lite0 --json
  edge-inference run perception --source video.mp4 --frames 100 --save-overlay overlays
  edge-inference run perception --source /dev/video0
  edge-inference run perception --source /camera/image_raw

Of files every picture is processed; with --real-time, and of cameras and topics,
the newest one, and what comes too fast is dropped and counted.

exit codes: 0 results came; 1 none came, or something failed; 2 wrong usage;
130 interrupted before the first result. Ctrl-C ends a run with its summary."""

_MODELS_EXAMPLES = """\
examples:
  edge-inference models
  edge-inference models --json
  edge-inference models check nanodet
  edge-inference models check my_models/mine --backend ort --precision fp32"""


def run(arguments: Sequence[str]) -> int:
    """Run the command line and return the exit code; errors are one line on stderr."""
    started_s = time.monotonic()
    try:
        options = make_parser().parse_args(arguments)
    except SystemExit as end:
        return int(end.code or 0)
    # What goes wrong is told in one line of ours; OpenCV's warnings would stand beside it.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    try:
        return _COMMANDS[options.command](options, started_s)
    except EdgeInferenceError as error:
        sys.stderr.write(f"edge-inference: {error}\n")
        return EXIT_USAGE if isinstance(error, UsageError) else EXIT_FAILED
    except KeyboardInterrupt:
        sys.stderr.write("edge-inference: interrupted\n")
        return EXIT_INTERRUPTED


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = _Parser(
        prog="edge-inference",
        description="Real-time inference for ROS 2 robots.",
        epilog="example: edge-inference run perception --source sample",
    )
    parser.add_argument(
        "--version", action="version", version=f"edge-inference {edge_inference.__version__}"
    )
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    _add_run(commands)
    _add_models(commands)
    return parser


class _Parser(argparse.ArgumentParser):
    """Argparse with errors in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"edge-inference: {message}; see {self.prog} --help\n")


def _add_run(commands: argparse._SubParsersAction[_Parser]) -> None:
    parser = commands.add_parser(
        "run",
        help="run a pipeline on files, a camera or a topic",
        description="Run a pipeline in this process, through the same ROS 2 nodes as on a robot.",
        epilog=_RUN_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("pipeline", choices=("perception",), help="which pipeline")
    parser.add_argument(
        "--source",
        type=_name,
        required=True,
        help="picture, folder of pictures, video, V4L2 device (/dev/video0 or 0), image topic "
        "(/camera/image_raw), or sample",
    )
    _add_model_path(parser)
    parser.add_argument("--model", default="nanodet", metavar="NAME|PATH", help="default: nanodet")
    _add_engine(parser)
    parser.add_argument(
        "--confidence",
        type=_number(0.0, 1.0),
        metavar="X",
        help="leave out results below it, 0 to 1",
    )
    parser.add_argument("--frames", type=_count, metavar="N", help="stop after N results")
    parser.add_argument(
        "--rate",
        type=_number(0.001, 1000.0),
        metavar="HZ",
        help="pictures a second from files, instead of the file's own or as fast as possible",
    )
    parser.add_argument(
        "--real-time",
        action="store_true",
        help="play files at their own rate and drop what comes too fast, as a camera would",
    )
    parser.add_argument(
        "--image-topic",
        type=_topic,
        metavar="TOPIC",
        help="where files and cameras are published; default: /camera/image_raw",
    )
    parser.add_argument(
        "--image-transport",
        choices=("raw", "compressed"),
        help="of a topic; compressed listens on TOPIC/compressed",
    )
    parser.add_argument(
        "--params-file", default="", metavar="FILE", help="ROS parameters of the nodes"
    )
    parser.add_argument(
        "--save-overlay",
        type=_name,
        metavar="DIR",
        help="write the pictures with their results drawn on them",
    )
    parser.add_argument(
        "--json", action="store_true", help="one JSON object a line: each frame, last a summary"
    )
    parser.add_argument("--verbose", action="store_true", help="the nodes' own log on stderr")


def _add_models(commands: argparse._SubParsersAction[_Parser]) -> None:
    parser = commands.add_parser(
        "models",
        help="list models, or check one",
        description="List the models on the search path, or check some of them.",
        epilog=_MODELS_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_model_path(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object a line and model")
    actions = parser.add_subparsers(dest="action", metavar="check")
    check = actions.add_parser(
        "check",
        help="verify a model's files and what it finds on its golden pictures",
        description="Verify the files, open the model, compare what it finds on golden pictures.",
        epilog="example: edge-inference models check nanodet",
    )
    check.add_argument("names", nargs="+", metavar="NAME|PATH", help="models to check")
    _add_model_path(check, argparse.SUPPRESS)
    _add_engine(check)


def _add_model_path(parser: argparse.ArgumentParser, default: str = "") -> None:
    parser.add_argument(
        "--model-path",
        default=default,
        metavar="DIRS",
        help="folders to look for models in first, separated by colons",
    )


def _add_engine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backend", default="auto", help="auto (default), ort, ort-cuda or trt")
    parser.add_argument(
        "--precision", default="auto", help="auto (default) or one of the model's: fp32, fp16, int8"
    )


def _run(options: argparse.Namespace, started_s: float) -> int:
    from edge_inference.tools.run_options import RunOptions
    from edge_inference.tools.run_perception import run_perception

    asked = {
        name: value
        for name, value in vars(options).items()
        if name in RunOptions.__dataclass_fields__
    }
    return run_perception(RunOptions(**asked), started_s)


def _models(options: argparse.Namespace, started_s: float) -> int:
    from edge_inference.tools.show_models import check_models, list_models

    if options.action == "check":
        return check_models(options.names, options.model_path, options.backend, options.precision)
    return list_models(options.model_path, as_json=options.json)


_COMMANDS: dict[str, Callable[[argparse.Namespace, float], int]] = {"run": _run, "models": _models}


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a whole number of 1 or more, got {text!r}")
    return int(text)


def _number(low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(
                f"expected a number from {low:g} to {high:g}, got {text!r}"
            )
        return value

    return parse


def _name(text: str) -> str:
    """Refuse what a shell makes of an unset variable, and what ROS cannot carry."""
    if not text:
        raise argparse.ArgumentTypeError("expected a name, got an empty one")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError(
            f"{text!a} is not UTF-8; rename it, or name the folder that it is in"
        ) from None
    return text


def _topic(text: str) -> str:
    from edge_inference.tools.perception_source import is_topic_name

    if not is_topic_name(text):
        raise argparse.ArgumentTypeError(
            f"expected a topic such as /camera/image_raw, got {text!r}"
        )
    return text
