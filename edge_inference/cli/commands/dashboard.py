"""``edge-inference dashboard``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from edge_inference.cli import arguments as given
from edge_inference.cli.arguments import Commands

_EXAMPLES = """\
examples:
  edge-inference dashboard
  edge-inference dashboard --allow-changes --port 9000
  edge-inference dashboard --host 0.0.0.0
  edge-inference dashboard --namespace /ai_2 --host 0.0.0.0 --token-file ~/.dashboard_token

Shows the pipeline that runs on this robot in a browser, whenever one runs. Only this machine
reaches the page, unless --host says otherwise; from another one, `ssh -L 8080:localhost:8080 robot`
does too. Pages only show, unless --allow-changes is given. docs/dashboard.md explains them.

exit codes: 0 ended by Ctrl-C; 1 it failed; 2 wrong usage."""


def add(commands: Commands, arguments: Sequence[str]) -> None:
    """Add the command."""
    parser = given.add_command(
        commands,
        "dashboard",
        _start,
        help="show the robot in a browser",
        description="Serve a page that shows the running pipeline and the machine, live.",
        epilog=_EXAMPLES,
    )
    parser.add_argument(
        "--namespace",
        default="",
        metavar="NAME",
        help="namespace of the pipeline, such as /ai; needed where several run",
    )
    parser.add_argument(
        "--host",
        type=given.non_empty_text,
        default="127.0.0.1",
        metavar="ADDRESS",
        help="address to serve on; 0.0.0.0 is all of this machine, and needs a token; "
        "default: %(default)s, only this machine",
    )
    parser.add_argument(
        "--port",
        type=given.port_number,
        default=8080,
        metavar="N",
        help="port to serve on; 0: any free one; default: %(default)s",
    )
    parser.add_argument(
        "--token-file",
        type=given.non_empty_text,
        metavar="FILE",
        help="file, readable by its owner only, with the token that pages must have; "
        "without it one is made and printed where --host needs it",
    )
    parser.add_argument(
        "--allow-changes", action="store_true", help="let pages change parameters of the nodes"
    )
    parser.add_argument("--verbose", action="store_true", help="the observer's own log on stderr")


def _start(options: argparse.Namespace, started_s: float) -> int:
    from edge_inference.cli.dashboard.run_dashboard import DashboardOptions, run_dashboard

    return run_dashboard(
        DashboardOptions(
            namespace=options.namespace,
            host=options.host,
            port=options.port,
            token_file=options.token_file or "",
            allow_changes=options.allow_changes,
            verbose=options.verbose,
        )
    )
