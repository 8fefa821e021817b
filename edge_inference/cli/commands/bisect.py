"""``edge-inference bisect``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from edge_inference.cli import arguments as given
from edge_inference.cli.arguments import Commands

_EXAMPLES = """\
examples:
  edge-inference bisect my_model --precision int8
  edge-inference bisect my_model --precision int8 --for tensorrt --images drive.mp4
  edge-inference bisect my_model --precision fp16 --sqnr 30

Prints the layers that must stay in fp32 so that the model passes its self-check in a
lower precision, and the lines for its model.yaml. The thresholds are those of the
section self_check in model.yaml, unless options replace them.

exit codes: 0 the model passes without changes, or a set was found; 1 no set was found,
or the search failed; 2 wrong usage; 130 interrupted, with the best set so far."""


def add(commands: Commands, arguments: Sequence[str]) -> None:
    """Add the command."""
    parser = given.add_command(
        commands,
        "bisect",
        _start,
        help="find the layers that break a precision",
        description="Find the layers that break a precision, and a minimal set to keep in fp32.",
        epilog=_EXAMPLES,
    )
    parser.add_argument("model", metavar="MODEL", help="model, by name or path")
    parser.add_argument(
        "--precision", choices=("int8", "fp16"), required=True, help="precision that does not pass"
    )
    parser.add_argument(
        "--for",
        dest="target",
        choices=("onnxruntime", "tensorrt"),
        default="onnxruntime",
        help="engine that the model is derived for; default: onnxruntime",
    )
    given.add_images(parser)
    parser.add_argument(
        "--tries",
        type=given.whole_number(1),
        metavar="N",
        help="maximum number of derived models; default: 80",
    )
    _add_thresholds(parser)
    given.add_model_path(parser)
    given.add_bounds(parser, "model", timeout_s=4 * 3600, grace_s=given.REPORTING_GRACE_S)
    parser.add_argument(
        "--json", action="store_true", help="one JSON object a line: each layer, last a summary"
    )


def _add_thresholds(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--agreement",
        type=given.number_between(0.0, 1.0),
        metavar="X",
        help="minimum share of results that agree with fp32, 0 to 1",
    )
    parser.add_argument(
        "--cosine",
        type=given.number_between(-1.0, 1.0),
        metavar="X",
        help="minimum cosine similarity",
    )
    parser.add_argument(
        "--sqnr",
        dest="sqnr_db",
        type=given.number_between(-100.0, 200.0),
        metavar="DB",
        help="minimum SQNR",
    )


def _start(options: argparse.Namespace, started_s: float) -> int:
    from edge_inference.cli.models.bisect_model import BisectOptions, bisect_model

    given_options = {
        name: value
        for name, value in vars(options).items()
        if name in BisectOptions.__dataclass_fields__ and value is not None
    }
    return bisect_model(BisectOptions(**given_options), as_json=options.json)
