"""``edge-inference recording``: the MCAP files of ``edge-inference run … --mcap``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge_inference.cli import arguments as given
from edge_inference.cli.arguments import Commands
from edge_inference.core.text_line import one_line

if TYPE_CHECKING:
    from edge_inference.observe.recording.mcap_recovery import RecordingContents

_EXAMPLES = """\
examples:
  edge-inference run perception --source sample --mcap run.mcap
  edge-inference recording info run.mcap
  edge-inference recording recover killed.mcap run.mcap"""

_RECOVER_EXAMPLES = """\
examples:
  edge-inference recording recover killed.mcap run.mcap

A recording whose process was killed, or whose disk was full, has no index, and most
programs refuse it. This copies every whole message into a new file with an index; the
broken file stays as it is. Chunks with a wrong checksum are left out.

exit codes: 0 messages were found; 1 there is none, or a file cannot be used; 2 wrong
usage."""


def add(commands: Commands, arguments: Sequence[str]) -> None:
    """Add the command."""
    parser = given.add_command(
        commands,
        "recording",
        None,
        help="show or recover the MCAP file of a run",
        description="What a recording of a run holds, and how to recover one that is broken.",
        epilog=_EXAMPLES,
    )
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)
    info = given.add_command(
        actions,
        "info",
        _start_info,
        help="show the topics of a recording",
        description="Topics, types and numbers of messages, and whether the file is complete.",
        epilog=_EXAMPLES,
    )
    info.add_argument("file", type=given.non_empty_text, metavar="FILE", help="an MCAP file")
    recover = given.add_command(
        actions,
        "recover",
        _start_recover,
        help="make a whole file of a broken one",
        description="Copy what can be read of a broken recording into a new file.",
        epilog=_RECOVER_EXAMPLES,
    )
    recover.add_argument("broken", type=given.non_empty_text, metavar="BROKEN")
    recover.add_argument("fixed", type=given.non_empty_text, metavar="FIXED", help="a new file")
    for each in (info, recover):
        each.add_argument("--json", action="store_true", help="one JSON object")


def _start_info(options: argparse.Namespace, started_s: float) -> int:
    from edge_inference.observe.recording.mcap_recovery import read_contents

    contents = read_contents(Path(options.file))
    if options.json:
        _print_json(contents)
        return 0
    print(f"{contents.file}: {_measure(contents)}")
    for topic, type_name in sorted(contents.types.items()):
        # A file from others may have any characters in its names.
        print(one_line(f"  {topic}  {type_name}  {contents.counts[topic]}"))
    for line in _faults(contents):
        print(line)
    if not contents.is_finished or contents.damaged:
        name = contents.file
        print(f"`edge-inference recording recover {name} FIXED.mcap` makes a whole file of it")
    return 0


def _start_recover(options: argparse.Namespace, started_s: float) -> int:
    from edge_inference.cli.exit_status import EXIT_FAILED
    from edge_inference.observe.recording.mcap_recovery import recover

    contents = recover(Path(options.broken), Path(options.fixed))
    if options.json:
        _print_json(contents)
    else:
        print(f"{options.fixed}: {_measure(contents)}, from {contents.file}")
        for line in _faults(contents):
            print(line)
    return 0 if contents.counts else EXIT_FAILED


def _print_json(contents: RecordingContents) -> None:
    print(json.dumps(contents.to_json(), allow_nan=False))


def _measure(contents: RecordingContents) -> str:
    duration_s = contents.duration_s
    text = f"{contents.counts.total()} messages of {len(contents.counts)} topics"
    return text if duration_s is None else f"{text} in {duration_s:.1f} s"


def _faults(contents: RecordingContents) -> list[str]:
    """Return what is not as in a recording that was closed."""
    found = []
    if contents.is_finished:
        found.append("it was complete, with its index")
    else:
        found.append(f"it was not closed; its last {contents.cut_bytes} bytes are no whole record")
    if contents.damaged:
        found.append(f"damaged, and left out: {contents.damaged} chunks or records")
    if contents.unknown:
        found.append(f"of topics that it does not describe: {contents.unknown} messages")
    if contents.others:
        found.append(f"left out: {contents.others} attachments or entries of metadata")
    return found
