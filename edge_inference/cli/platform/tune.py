"""``edge-inference platform tune``: shows, sets and undoes the recommended settings."""

from __future__ import annotations

import argparse
import getpass
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge_inference.cli import arguments as given
from edge_inference.cli.exit_status import EXIT_FAILED, UsageError, print_error

if TYPE_CHECKING:
    from edge_inference.platforms.actuators.actuator import ActuatorOutcome
    from edge_inference.platforms.tuning import Recommendation

EXAMPLES = """\
examples:
  edge-inference platform tune
  sudo edge-inference platform tune --apply
  sudo edge-inference platform tune --undo

Without --apply nothing is changed. --apply first saves the originals in
/var/lib/edge_inference, and --undo restores them. A power mode that needs a reboot
must be set by hand; the fan is never changed.

exit codes: 0 done, or shown; 1 a setting was not set or not restored; 2 wrong usage."""

_PIPE_WIDTH = 140


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``platform tune``."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--apply", action="store_true", help="set the recommended values; needs root")
    what.add_argument("--undo", action="store_true", help="restore what --apply has set")
    parser.add_argument(
        "--user",
        type=given.non_empty_text,
        metavar="NAME",
        help="user or @group that gets the real-time limits; default: the caller, also with sudo",
    )
    parser.add_argument(
        "--root",
        type=given.non_empty_text,
        default="/",
        metavar="DIR",
        help="folder with the files to set; tools are run only if it is /; default: /",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def run(options: argparse.Namespace) -> int:
    """Show, set or undo; returns the exit code. Raises EdgeInferenceError."""
    from edge_inference.platforms.actuators.machine import Machine
    from edge_inference.platforms.tuning import Tuning

    root = Path(options.root).absolute()
    if not root.is_dir():
        raise UsageError(f"--root {options.root}: expected a folder")
    tuning = Tuning(Machine(root), options.user or _find_caller())
    if not (options.apply or options.undo):
        return _show(tuning.compare(), options.json)
    if root == Path("/") and os.geteuid() != 0:
        option = "--apply" if options.apply else "--undo"
        raise UsageError(f"{option} needs root; run: {_sudo_command()} platform tune {option}")
    outcomes = tuning.apply() if options.apply else tuning.undo()
    _print_outcomes(outcomes, options.json)
    if options.apply:
        _show(tuning.compare(), options.json)
    elif not outcomes and not options.json:
        sys.stdout.write("nothing to undo\n")
    return EXIT_FAILED if any(outcome.is_problem for outcome in outcomes) else 0


def _sudo_command() -> str:
    """Return the start of the command with sudo, which drops the caller's paths."""
    modules = 'env "PYTHONPATH=$PYTHONPATH" ' if os.environ.get("PYTHONPATH") else ""
    return f"sudo {modules}{Path(sys.argv[0]).absolute()}"


def _find_caller() -> str:
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError) as error:  # a user id without a name, as in a container
        raise UsageError("the calling user has no name; give one with --user") from error


def _show(recommendations: Sequence[Recommendation], as_json: bool) -> int:
    if as_json:
        for each in recommendations:
            sys.stdout.write(json.dumps(each.__dict__) + "\n")
        return 0
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from edge_inference.cli.console_table import new_console

    console = new_console(sys.stdout, _PIPE_WIDTH)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("setting", "current", "recommended", "steps"):
        table.add_column(name)
    for each in recommendations:
        cells = (
            each.description,
            each.current or "-",
            each.recommended or "-",
            _format_steps(each),
        )
        table.add_row(*(Text(cell) for cell in cells))
    console.print(table)
    return 0


def _format_steps(recommendation: Recommendation) -> str:
    if recommendation.problem:
        return f"not available: {recommendation.problem}"
    return "; ".join(recommendation.steps) or "already set"


def _print_outcomes(outcomes: Sequence[ActuatorOutcome], as_json: bool) -> None:
    for outcome in outcomes:
        if as_json:
            content = {**outcome.__dict__, "result": outcome.result.value}
            sys.stdout.write(json.dumps(content) + "\n")
        elif outcome.is_problem:
            print_error(outcome.message)
        else:
            sys.stdout.write(f"{outcome.message}\n")
