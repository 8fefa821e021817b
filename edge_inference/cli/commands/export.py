"""``edge-inference export``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from edge_inference.cli import arguments as given
from edge_inference.cli.arguments import Commands
from edge_inference.cli.export.export_options import ExportOptions, listen_address, otlp_url

_EXAMPLES = """\
examples:
  edge-inference export --prometheus 9464
  edge-inference export --json robot.jsonl --seconds 3600
  edge-inference export --json - --period-s 5 | jq .engines
  edge-inference export --otlp http://127.0.0.1:4318 --namespace /ai

What the stages, processes, engines and sensors of a running robot do, for other programs.
It goes on while no pipeline runs, and when one starts again. docs/exporting.md lists the
metrics.

exit codes: 0 ended by the user or after --seconds; 1 no pipeline was seen within --seconds, or an
output cannot be opened or has failed; 2 wrong usage."""


def add(commands: Commands, arguments: Sequence[str]) -> None:
    """Add the command."""
    parser = given.add_command(
        commands,
        "export",
        _start,
        help="pass on what a robot does: Prometheus, JSON lines, OpenTelemetry",
        description="Observe the pipeline of a robot, and pass on what it does.",
        epilog=_EXAMPLES,
    )
    parser.add_argument(
        "--namespace",
        default="",
        metavar="NAME",
        help="namespace of the running pipeline, such as /ai; needed where several run",
    )
    parser.add_argument(
        "--prometheus",
        type=listen_address,
        metavar="[HOST:]PORT",
        help="serve the metrics for Prometheus at /metrics; without a host only to this machine",
    )
    parser.add_argument(
        "--json",
        type=given.non_empty_text,
        metavar="FILE",
        help="append a JSON object a line to a file; -: write them on stdout",
    )
    parser.add_argument(
        "--otlp",
        type=otlp_url,
        metavar="URL",
        help="send the metrics to a collector of OpenTelemetry by OTLP over HTTP",
    )
    parser.add_argument(
        "--period-s",
        type=given.number_between(0.1, 3600.0),
        default=1.0,
        metavar="N",
        help="seconds between two JSON lines, and between two sendings; default: %(default)g",
    )
    parser.add_argument(
        "--seconds",
        type=given.number_between(0.1, 1e9),
        metavar="N",
        help="how long to export; default: until Ctrl-C",
    )
    parser.add_argument("--verbose", action="store_true", help="the observer's own log on stderr")


def _start(options: argparse.Namespace, started_s: float) -> int:
    from edge_inference.cli.export.export_robot import export_robot

    del started_s
    values = {name: vars(options)[name] for name in ExportOptions.__dataclass_fields__}
    return export_robot(ExportOptions(**values))
