"""``edge-inference models``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from edge_inference.cli import arguments as given
from edge_inference.cli.arguments import Commands

_EXAMPLES = """\
examples:
  edge-inference models
  edge-inference models --json
  edge-inference models check nanodet
  edge-inference models check my_models/mine --backend ort --precision fp32"""

_CHECK_EXAMPLES = """\
examples:
  edge-inference models check nanodet
  edge-inference models check nanodet --backend ort --precision int8

Missing files of the engine are made first, in the cache. The golden check compares the
results with those of the model folder; the self-check compares the numbers with those of
ONNX Runtime in fp32."""


def add(commands: Commands, arguments: Sequence[str]) -> None:
    """Add the command."""
    parser = given.add_command(
        commands,
        "models",
        _start_list,
        help="list models, or check one",
        description="List the models on the search path, or check some of them.",
        epilog=_EXAMPLES,
    )
    given.add_model_path(parser)
    parser.add_argument(
        "--json", action="store_true", help="one JSON object a line, one for each model"
    )
    actions = parser.add_subparsers(dest="action", metavar="check")
    check = given.add_command(
        actions,
        "check",
        _start_check,
        help="verify a model's files and check its results",
        description="Verify the files, open the model and check its results.",
        epilog=_CHECK_EXAMPLES,
    )
    check.add_argument("names", nargs="+", metavar="NAME|PATH", help="models to check")
    given.add_model_path(check, argparse.SUPPRESS)
    given.add_engine(check)
    given.add_bounds(check, "names", timeout_s=600)


def _start_list(options: argparse.Namespace, started_s: float) -> int:
    from edge_inference.cli.models.show_models import list_models

    return list_models(options.model_path, as_json=options.json)


def _start_check(options: argparse.Namespace, started_s: float) -> int:
    from edge_inference.cli.models.check_models import check_models

    return check_models(
        options.names, options.model_path, options.backend, options.precision, options.int8_mode
    )
