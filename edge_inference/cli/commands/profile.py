"""``edge-inference profile``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from edge_inference.cli import arguments as given
from edge_inference.cli.arguments import Commands
from edge_inference.cli.exit_status import UsageError

_EXAMPLES = """\
examples:
  edge-inference profile --model nanodet --backend ort --precision int8
  edge-inference profile --model nanodet --top 20 --trace layers.html
  edge-inference profile --pipeline perception --source sample --seconds 10 --trace run.html
  edge-inference profile --pipeline voice --source sample --trace run.json.gz
  edge-inference profile --live --seconds 10 --trace robot.html

With --model: the time of each layer in one engine, and what to change. With --pipeline:
a pipeline runs in this process, and its stages and threads are measured; --live watches
one that runs already.

A trace that ends in .html is a page that shows itself, without a network. One that ends
in .json or .json.gz is for ui.perfetto.dev or chrome://tracing.

exit codes: 0 profiled; 1 failed, or no frame came; 2 wrong usage; 130 interrupted."""

#: Options that observe a pipeline, and do not load a model in this command.
_PIPELINE = ("--pipeline", "--live")


def add(commands: Commands, arguments: Sequence[str]) -> None:
    """Add the command."""
    parser = given.add_command(
        commands,
        "profile",
        _start,
        help="show where the time of a model or a pipeline goes",
        description="Measure the layers of a model, or the stages and threads of a pipeline.",
        epilog=_EXAMPLES,
    )
    parser.add_argument(
        "--model", type=given.non_empty_text, metavar="NAME|PATH", help="model, by name or path"
    )
    given.add_engine(parser)
    given.add_model_path(parser)
    parser.add_argument(
        "--trace",
        type=given.non_empty_text,
        metavar="FILE",
        help="write a trace: .html, .json or .json.gz",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    _add_model_options(parser)
    _add_pipeline_options(parser)
    if not any(word.partition("=")[0] in _PIPELINE for word in arguments):
        given.add_bounds(parser, "model", timeout_s=3600)


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("layers of a model")
    group.add_argument(
        "--runs", type=given.whole_number(1), metavar="N", help="measured runs; default: 20"
    )
    group.add_argument(
        "--top", type=given.whole_number(1), metavar="N", help="layers to show; default: 10"
    )
    group.add_argument(
        "--threads",
        type=given.whole_number(1),
        metavar="N",
        help="threads of an engine on the CPU; default: 1",
    )
    group.add_argument(
        "--gpu", type=given.whole_number(0), metavar="N", help="GPU index; default: 0"
    )
