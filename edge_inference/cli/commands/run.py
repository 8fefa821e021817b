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
  edge-inference run perception --source video.mp4 --mcap run.mcap --mcap-images

From files every image is processed. With --real-time, and from cameras and topics,
only the newest image is processed; the others are dropped and counted.

The run waits for a backend or precision that is named: it shows the progress of a
build, and the reason if the engine cannot run. With auto, ONNX Runtime serves until
a better engine is ready.

exit codes: 0 there are results; 1 there are none, or something failed; 2 wrong usage;
130 interrupted before the first result. Ctrl-C ends a run with its summary."""


def add(commands: Commands, arguments: Sequence[str]) -> None:
    """Add the command."""
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
        help="find objects, classes or masks in images",
        description="Find objects, classes or masks in images, videos or the images of a camera.",
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
    given.add_deadline(parser, "from capture to result")
    parser.add_argument(
        "--params-file", default="", metavar="FILE", help="ROS parameters of the nodes"
    )
    parser.add_argument(
        "--save-overlay",
        type=given.non_empty_text,
        metavar="DIR",
        help="write the images with their results drawn on them",
    )
    given.add_recording(parser)
    parser.add_argument(
        "--mcap-images",
        action="store_true",
        help="record the images and the overlays too, as JPEG; the overlays cost time to draw",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="one JSON object a line: one for each frame, then a summary",
    )
    parser.add_argument("--verbose", action="store_true", help="the nodes' own log on stderr")


def _add_images(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--confidence",
        type=given.number_between(0.0, 1.0),
        metavar="X",
        help="lowest confidence of a result, 0 to 1",
    )
    parser.add_argument(
        "--frames", type=given.whole_number(1), metavar="N", help="stop after N results"
    )
    parser.add_argument(
        "--rate",
        type=given.number_between(0.001, 1000.0),
        metavar="HZ",
        help="images per second from files; default: as fast as possible, or with --real-time the "
        "rate of the video (1 for images)",
    )
    parser.add_argument(
        "--real-time",
        action="store_true",
        help="play files at their own rate and drop images that come too fast, as from a camera",
    )
    parser.add_argument(
        "--image-topic",
        type=given.topic_name,
        metavar="TOPIC",
        help="topic on which files and cameras are published; default: /camera/image_raw",
    )
    parser.add_argument(
        "--image-transport",
        choices=("raw", "compressed"),
        help="transport of a topic; compressed subscribes to TOPIC/compressed",
    )


def _start(options: argparse.Namespace, started_s: float) -> int:
    from edge_inference.cli.perception.run import run_perception
    from edge_inference.cli.perception.run_options import RunOptions

    values = {
        name: value
        for name, value in vars(options).items()
        if name in RunOptions.__dataclass_fields__
    }
    return run_perception(RunOptions(**values), started_s)
