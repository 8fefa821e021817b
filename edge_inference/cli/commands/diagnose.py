"""``edge-inference diagnose``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from edge_inference.cli import arguments as given
from edge_inference.cli.arguments import Commands

_EXAMPLES = """\
examples:
  edge-inference diagnose
  edge-inference diagnose --namespace /ai_2 --seconds 60 --json
  edge-inference diagnose --pipeline perception --source video.mp4
  edge-inference diagnose --pipeline voice --source command.wav

Without --pipeline the pipeline that runs on this robot is observed through its topics.
The causes are ranked by how much longer a frame took because of them, each with its
evidence and what to do; docs/diagnosing.md explains them.

exit codes: 0 nothing held the frames up; 3 something did, or they stopped; 1 nothing arrived, or it
failed; 2 wrong usage; 130 interrupted."""


def add(commands: Commands, arguments: Sequence[str]) -> None:
    """Add the command."""
    parser = given.add_command(
        commands,
        "diagnose",
        _start,
        help="say what holds the frames of a pipeline up",
        description="Observe a pipeline for some seconds, and say what held its frames up.",
        epilog=_EXAMPLES,
    )
    parser.add_argument(
        "--namespace",
        default="",
        metavar="NAME",
        help="namespace of the running pipeline, such as /ai; needed where several run",
    )
    parser.add_argument(
        "--seconds",
        type=given.number_between(1.0, 3600.0),
        default=10.0,
        metavar="N",
        help="how long it is observed; default: %(default)g",
    )
    parser.add_argument(
        "--pipeline", choices=("perception", "voice"), default="", help="start it in this process"
    )
    parser.add_argument(
        "--source",
        type=given.non_empty_text,
        help="what the started pipeline processes, as for `edge-inference run`; files are repeated",
    )
    parser.add_argument("--model", default="", metavar="NAME|PATH", help="its model")
    given.add_model_path(parser)
    parser.add_argument(
        "--params-file", default="", metavar="FILE", help="ROS parameters of its nodes"
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="one JSON object a line: one for each cause, then a summary",
    )
    parser.add_argument("--verbose", action="store_true", help="the nodes' own log on stderr")


def _start(options: argparse.Namespace, started_s: float) -> int:
    from edge_inference.cli.diagnose.diagnose_options import DiagnoseOptions
    from edge_inference.cli.diagnose.diagnose_pipeline import diagnose_pipeline

    del started_s
    values = {
        name: value
        for name, value in vars(options).items()
        if name in DiagnoseOptions.__dataclass_fields__ and value is not None
    }
    return diagnose_pipeline(DiagnoseOptions(**values))
