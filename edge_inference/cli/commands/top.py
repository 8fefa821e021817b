"""``edge-inference top``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from edge_inference.cli import arguments as given
from edge_inference.cli.arguments import Commands

_EXAMPLES = """\
examples:
  edge-inference top
  edge-inference top --namespace /ai_2 --interval 0.5
  edge-inference top --once
  edge-inference top --json > robot.jsonl

On a terminal: 1 to 4 or Tab choose the page, arrows scroll, p pauses, ? shows the keys,
q quits. Without a terminal, and with --plain, a block of lines is written in each interval.
docs/top.md explains the figures.

exit codes: 0 shown; 1 with --once where no pipeline runs, or it failed; 2 wrong usage; 129 or
143 ended by a signal."""


def add(commands: Commands, arguments: Sequence[str]) -> None:
    """Add the command."""
    parser = given.add_command(
        commands,
        "top",
        _start,
        help="watch a running robot in the terminal",
        description="Show latencies, drops, load, heat, power and decisions of a running robot.",
        epilog=_EXAMPLES,
    )
    parser.add_argument(
        "--namespace",
        default="",
        metavar="NAME",
        help="namespace of the pipeline, such as /ai; needed where several run",
    )
    parser.add_argument(
        "--interval",
        type=given.number_between(0.5, 3600.0),
        default=1.0,
        metavar="S",
        help="seconds between two states; default: %(default)g",
    )
    parser.add_argument("--once", action="store_true", help="show one state, and end")
    parser.add_argument("--json", action="store_true", help="one JSON object a line for each state")
    parser.add_argument(
        "--plain", action="store_true", help="lines one below the other, also on a terminal"
    )
    parser.add_argument("--verbose", action="store_true", help="the observing node's log on stderr")


def _start(options: argparse.Namespace, started_s: float) -> int:
    from edge_inference.cli.top.show_top import TopOptions, show_top

    del started_s
    return show_top(
        TopOptions(**{name: getattr(options, name) for name in TopOptions.__dataclass_fields__})
    )
