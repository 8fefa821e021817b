"""``edge-inference``: parses the command line and runs the command.

Heavy modules are imported only by the command that needs them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

import edge_inference
from edge_inference.cli.arguments import OneLineParser
from edge_inference.cli.commands import (
    benchmark,
    bisect,
    compare,
    dashboard,
    diagnose,
    doctor,
    engine,
    export,
    extensions,
    models,
    optimize,
    platform,
    profile,
    quantize,
    recording,
    speech,
    top,
    validate,
)
from edge_inference.cli.commands import run as run_command_module
from edge_inference.cli.exit_status import EXIT_FAILED, print_error, run_command
from edge_inference.cli.library_memory import library_memory_problem

_COMMANDS = (
    run_command_module,
    models,
    engine,
    quantize,
    optimize,
    compare,
    bisect,
    profile,
    speech,
    top,
    diagnose,
    dashboard,
    export,
    benchmark,
    validate,
    recording,
    platform,
    doctor,
    extensions,
)


def run(arguments: Sequence[str], *, owns_process: bool = False) -> int:
    """Run the command line and return the exit code; errors are one line on stderr.

    ``owns_process`` states that this process runs nothing else, so that it may fork.
    """
    started_s = time.monotonic()
    try:
        options = make_parser(arguments).parse_args(arguments)
    except SystemExit as end:
        return int(end.code or 0)
    # Errors are reported in one line; OpenCV's warnings would repeat them.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    problem = library_memory_problem() if owns_process else None
    if problem is not None:
        print_error(problem)
        return EXIT_FAILED
    if owns_process and hasattr(options, "bounded"):
        from edge_inference.cli.bounded_run import run_bounded

        return run_bounded(options, started_s)
    return run_command(lambda: int(options.start(options, started_s)))


def make_parser(arguments: Sequence[str] = ()) -> OneLineParser:
    """Return the parser of the command line; ``arguments`` are what it will parse."""
    parser = OneLineParser(
        prog="edge-inference",
        description="Real-time inference for ROS 2 robots.",
        epilog="example: edge-inference run perception --source sample",
    )
    parser.add_argument(
        "--version", action="version", version=f"edge-inference {edge_inference.__version__}"
    )
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    for command in _COMMANDS:
        command.add(commands, arguments)
    return parser
