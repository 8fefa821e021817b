"""``edge-inference platform tune``: shows what a robot wants of its machine, sets it, undoes it."""

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

Without --apply nothing is changed. The originals are kept in /var/lib/edge_inference
before anything is, and --undo puts them back. A power mode that needs a reboot is
left to you; the fan is never touched.

exit codes: 0 done, or shown; 1 something could not be set or put back; 2 wrong usage."""

_PIPE_WIDTH = 140


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``platform tune``."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--apply", action="store_true", help="set it; needs root")
    what.add_argument("--undo", action="store_true", help="put back what --apply has set")
    parser.add_argument(
        "--user",
        type=given.non_empty_text,
        metavar="NAME",
        help="who gets the real-time limits, a user or @group; default: who calls, also by sudo",
    )
    parser.add_argument(
        "--root",
        type=given.non_empty_text,
        default="/",
        metavar="DIR",
        help="set the files below another folder, and run no tools; default: /",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def run(options: argparse.Namespace) -> int:
    """Show, set or undo; returns the exit code, raises EdgeInferenceError."""
    from edge_inference.platforms.actuators.machine import Machine
    from edge_inference.platforms.tuning import Tuning

    root = Path(options.root).absolute()
    if not root.is_dir():
        raise UsageError(f"--root {options.root}: expected a folder")
    tuning = Tuning(Machine(root), options.user or _caller())
    if not (options.apply or options.undo):
        return _show(tuning.look(), options.json)
    if root == Path("/") and os.geteuid() != 0:
        verb = "--apply" if options.apply else "--undo"
        raise UsageError(f"{verb} needs root; run: {_with_sudo()} platform tune {verb}")
    outcomes = tuning.apply() if options.apply else tuning.undo()
    _tell(outcomes, options.json)
    if options.apply:
        _show(tuning.look(), options.json)
    elif not outcomes and not options.json:
        sys.stdout.write("nothing to undo\n")
    return EXIT_FAILED if any(outcome.is_problem for outcome in outcomes) else 0


def _with_sudo() -> str:
    """Return the start of the command for root, who knows neither our paths nor Python's."""
    modules = 'env "PYTHONPATH=$PYTHONPATH" ' if os.environ.get("PYTHONPATH") else ""
    return f"sudo {modules}{Path(sys.argv[0]).absolute()}"


def _caller() -> str:
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError) as error:  # a number without a name, as in a container
        raise UsageError("who calls has no name here; give one with --user") from error


def _show(advice: Sequence[Recommendation], as_json: bool) -> int:
    if as_json:
        for each in advice:
            sys.stdout.write(json.dumps(each.__dict__) + "\n")
        return 0
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else _PIPE_WIDTH)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("what", "now", "wanted", "how"):
        table.add_column(name)
    for each in advice:
        cells = (each.what, each.now or "-", each.wanted or "-", _how(each))
        table.add_row(*(Text(cell) for cell in cells))
    console.print(table)
    return 0


def _how(advice: Recommendation) -> str:
    if advice.problem:
        return f"not possible: {advice.problem}"
    return "; ".join(advice.steps) or "is so"


def _tell(outcomes: Sequence[ActuatorOutcome], as_json: bool) -> None:
    for outcome in outcomes:
        if as_json:
            content = {**outcome.__dict__, "result": outcome.result.value}
            sys.stdout.write(json.dumps(content) + "\n")
        elif outcome.is_problem:
            print_error(outcome.message)
        else:
            sys.stdout.write(f"{outcome.message}\n")
