"""``edge-inference extensions``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from edge_inference.cli.arguments import Commands, add_command

_EXAMPLES = """\
examples:
  edge-inference extensions
  edge-inference extensions --json

Every package is imported. An entry point that cannot be used is an error with its
reason, and the exit code is 1."""


def add(commands: Commands, arguments: Sequence[str]) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "extensions",
        _start,
        help="list what installed packages add",
        description="List what other installed packages add, such as decoders and backends.",
        epilog=_EXAMPLES,
    )
    parser.add_argument(
        "--json", action="store_true", help="one JSON object a line, one for each entry point"
    )


def _start(options: argparse.Namespace, started_s: float) -> int:
    from edge_inference.cli.extension_list import list_extensions

    return list_extensions(as_json=options.json)
