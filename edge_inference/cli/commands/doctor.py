"""``edge-inference doctor``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from edge_inference.cli import arguments as given
from edge_inference.cli.arguments import Commands

_EXAMPLES = """\
examples:
  edge-inference doctor
  edge-inference doctor --json | grep -e problem -e warning

Clocks, CPU governors and limits, load, memory, swap, shared memory, network buffers,
permissions, power mode, heat, GPU, engines and ROS 2: each finding with its value, and
where something is wrong why it matters and what to do. What the machine does not say
is unknown. Nothing is changed, and no root is needed.

exit codes: 0 no problem (there may be warnings); 1 a problem; 2 wrong usage."""


def add(commands: Commands, arguments: Sequence[str]) -> None:
    """Add the command."""
    parser = given.add_command(
        commands,
        "doctor",
        _start,
        help="find out why this machine is slow, or why its figures are unreliable",
        description="Examine this machine before a measurement, or because a robot is slow.",
        epilog=_EXAMPLES,
    )
    parser.add_argument(
        "--json", action="store_true", help="one JSON object a line: each finding, last a summary"
    )
    parser.add_argument(
        "--no-graph",
        action="store_true",
        help="do not look at the ROS 2 graph, which takes a second or two",
    )


def _start(options: argparse.Namespace, started_s: float) -> int:
    from edge_inference.cli.doctor.examine_machine import run_doctor

    return run_doctor(options.json, with_graph=not options.no_graph)
