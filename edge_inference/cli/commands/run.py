"""``edge-inference run``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from edge_inference.cli import arguments as given
from edge_inference.cli.arguments import Commands
from edge_inference.cli.commands import run_voice

_EXAMPLES = """\
examples:
  edge-inference run perception --source sample
  edge-inference run voice --source command.wav"""

_PERCEPTION_EXAMPLES = """\
examples:
  edge-inference run perception --source sample
  edge-inference run perception --source images/ --model efficientnet_lite0 --json
  edge-inference run perception --source video.mp4 --frames 100 --save-overlay overlays
  edge-inference run perception --source /dev/video0 --backend trt --precision int8
  edge-inference run perception --source /camera/image_raw

Of files every image is processed; with --real-time, and of cameras and topics,
the newest one, and what comes too fast is dropped and counted.

A backend or precision that is named is waited for: where it has to be built, that
is shown, and where it cannot run, so is the reason. With auto, ONNX Runtime serves
until a better engine is ready.

exit codes: 0 results came; 1 none came, or something failed; 2 wrong usage;
130 interrupted before the first result. Ctrl-C ends a run with its summary."""


def add(commands: Commands, arguments: Sequence[str]) -> None:
    """Add the verb."""
    parser = given.add_command(
        commands,
        "run",
        None,
        help="run a pipeline on files, a camera, a microphone or a topic",
        description="Run a pipeline in this process, through the same ROS 2 nodes as on a robot.",
        epilog=_EXAMPLES,
    )
    pipelines = parser.add_subparsers(dest="pipeline", metavar="pipeline", required=True)
    _add_perception(pipelines)
    run_voice.add(pipelines)


def _add_perception(pipelines: Commands) -> None:
    parser = given.add_command(
        pipelines,
        "perception",
        _start,
        help="find objects or classes in images",
        description="Find objects, classes or masks in images, videos, or what a camera sees.",
        epilog=_PERCEPTION_EXAMPLES,
    )
    parser.add_argument(
        "--source",
        type=given.non_empty_text,
        required=True,
        help="image, folder of images, video, V4L2 device (/dev/video0 or 0), image topic "
        "(/camera/image_raw), or sample",
    )
    given.add_model_path(parser)
    parser.add_argument("--model", default="nanodet", metavar="NAME|PATH", help="default: nanodet")
    given.add_engine(parser)
    _add_images(parser)
    parser.add_argument(
        "--params-file", default="", metavar="FILE", help="ROS parameters of the nodes"
    )
    parser.add_argument(
        "--save-overlay",
        type=given.non_empty_text,
        metavar="DIR",
        help="write the images with their results drawn on them",
    )
    parser.add_argument(
        "--json", action="store_true", help="one JSON object a line: each frame, last a summary"
    )
    parser.add_argument("--verbose", action="store_true", help="the nodes' own log on stderr")


def _add_images(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--confidence",
        type=given.number_between(0.0, 1.0),
        metavar="X",
        help="leave out results below it, 0 to 1",
    )
    parser.add_argument(
        "--frames", type=given.whole_number(1), metavar="N", help="stop after N results"
    )
    parser.add_argument(
        "--rate",
        type=given.number_between(0.001, 1000.0),
        metavar="HZ",
        help="images a second from files, instead of the file's own or as fast as possible",
    )
    parser.add_argument(
        "--real-time",
        action="store_true",
        help="play files at their own rate and drop what comes too fast, as a camera would",
    )
    parser.add_argument(
        "--image-topic",
        type=given.topic_name,
        metavar="TOPIC",
        help="where files and cameras are published; default: /camera/image_raw",
    )
    parser.add_argument(
        "--image-transport",
        choices=("raw", "compressed"),
        help="of a topic; compressed listens on TOPIC/compressed",
    )


def _start(options: argparse.Namespace, started_s: float) -> int:
    from edge_inference.cli.perception.run import run_perception
    from edge_inference.cli.perception.run_options import RunOptions

    asked = {
        name: value
        for name, value in vars(options).items()
        if name in RunOptions.__dataclass_fields__
    }
    return run_perception(RunOptions(**asked), started_s)
