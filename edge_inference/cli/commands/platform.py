"""``edge-inference platform``: a machine's sensors, and the recommended settings for a robot."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from edge_inference.cli import arguments as given
from edge_inference.cli.arguments import Commands
from edge_inference.cli.platform import tune

_EXAMPLES = """\
examples:
  edge-inference platform show
  edge-inference platform record -o my_robot.jsonl.gz
  edge-inference platform show --recording my_robot.jsonl.gz
  edge-inference platform tune"""

_SHOW_EXAMPLES = """\
examples:
  edge-inference platform show
  edge-inference platform show --once --json
  edge-inference platform show --recording my_robot.jsonl.gz --speed 10

Temperatures, power, clocks, load, throttling and batteries, each with its value or
the reason why it has none. No root is needed; a sensor that only root may read shows
that as its reason."""

_RECORD_EXAMPLES = """\
examples:
  edge-inference platform record -o my_robot.jsonl.gz
  edge-inference platform record -o idle.jsonl --duration 0 --note "idle, fan off"
  edge-inference platform record -o climb.jsonl.gz --duration 3600 --period 1

The contents and the read errors of the sensors' files, for a report or a test. Only
these files are read; serial numbers, addresses and the host name are removed. Ctrl-C
stops early and leaves a valid recording."""

_ROOT_HELP = "folder where the machine's root is mounted, in a container; default: /"


def add(commands: Commands, arguments: Sequence[str]) -> None:
    """Add the command."""
    parser = given.add_command(
        commands,
        "platform",
        None,
        help="show or record the machine's sensors; set the machine up for a robot",
        description="Temperatures, power, clocks and load of a machine, and its settings.",
        epilog=_EXAMPLES,
    )
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)
    _add_show(actions)
    _add_record(actions)
    _add_tune(actions)


def _add_show(actions: Commands) -> None:
    parser = given.add_command(
        actions,
        "show",
        _start_show,
        help="show the sensors",
        description="Show the readings of the sensors periodically; Ctrl-C stops.",
        epilog=_SHOW_EXAMPLES,
    )
    parser.add_argument(
        "--recording",
        type=given.non_empty_text,
        metavar="FILE",
        help="show a recording instead of this machine",
    )
    parser.add_argument(
        "--speed",
        type=given.number_between(0.01, 1000),
        default=1.0,
        metavar="X",
        help="playback speed of the recording; default: 1",
    )
    parser.add_argument("--loop", action="store_true", help="repeat the recording")
    parser.add_argument("--once", action="store_true", help="show a single sample")
    parser.add_argument(
        "--period",
        type=given.number_between(0.05, 3600),
        default=1.0,
        metavar="S",
        help="seconds between samples; default: 1",
    )
    _add_board_options(parser)
    parser.add_argument(
        "--root", type=given.non_empty_text, default="/", metavar="DIR", help=_ROOT_HELP
    )
    parser.add_argument(
        "--json", action="store_true", help="one JSON object a line, one for each sample"
    )


def _add_record(actions: Commands) -> None:
    parser = given.add_command(
        actions,
        "record",
        _start_record,
        help="record the sensors",
        description="Record the sensors' files, to show or replay them on another machine.",
        epilog=_RECORD_EXAMPLES,
    )
    parser.add_argument(
        "-o",
        "--output",
        type=given.non_empty_text,
        required=True,
        metavar="FILE",
        help="a new file; compressed if its name ends in .gz",
    )
    parser.add_argument(
        "--duration",
        type=given.number_between(0, 86400 * 30),
        default=60.0,
        metavar="S",
        help="seconds to record; 0 records a single sample; default: 60",
    )
    parser.add_argument(
        "--period",
        type=given.number_between(0.05, 3600),
        default=0.5,
        metavar="S",
        help="seconds between samples; default: 0.5",
    )
    parser.add_argument("--note", default="", metavar="TEXT", help="stored in the recording")
    _add_board_options(parser)
    parser.add_argument(
        "--root", type=given.non_empty_text, default="/", metavar="DIR", help=_ROOT_HELP
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def _add_board_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--board", default="", metavar="NAME", help="board of a machine that is not recognized"
    )
    parser.add_argument(
        "--platform-path",
        default="",
        metavar="DIRS",
        help="folders with your own board files, searched before the shipped ones; colon-separated",
    )


def _add_tune(actions: Commands) -> None:
    parser = given.add_command(
        actions,
        "tune",
        _start_tune,
        help="show, set or undo the recommended settings of the machine",
        description="Power mode, locked clocks, CPU governor, swapping and real-time limits.",
        epilog=tune.EXAMPLES,
    )
    tune.add_arguments(parser)


def _start_show(options: argparse.Namespace, started_s: float) -> int:
    from edge_inference.cli.platform.show import ShowOptions, show

    show_options = ShowOptions(
        recording=options.recording,
        root=options.root,
        board=options.board,
        platform_path=options.platform_path,
        period_s=options.period,
        speed=options.speed,
        loop=options.loop,
        once=options.once,
    )
    return show(show_options, as_json=options.json)


def _start_record(options: argparse.Namespace, started_s: float) -> int:
    from edge_inference.cli.platform.record import RecordOptions, record_platform

    record_options = RecordOptions(
        output=options.output,
        root=options.root,
        duration_s=options.duration,
        period_s=options.period,
        note=options.note,
        board=options.board,
        platform_path=options.platform_path,
    )
    return record_platform(record_options, as_json=options.json)


def _start_tune(options: argparse.Namespace, started_s: float) -> int:
    return tune.run(options)
