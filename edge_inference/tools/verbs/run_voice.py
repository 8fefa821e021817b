"""``edge-inference run voice``."""

from __future__ import annotations

import argparse

from edge_inference.tools.verbs import arguments as given
from edge_inference.tools.verbs.arguments import Commands

_EXAMPLES = """\
examples:
  edge-inference run voice --source sample
  edge-inference run voice --source command.wav
  edge-inference run voice --source recordings/ --json
  edge-inference run voice --source device --mode free
  edge-inference run voice --source device --cmd-vel /cmd_vel

Files are played as slowly as they sound. Velocities go to /ai/cmd_vel, where no robot
listens, unless --cmd-vel names another topic.

exit codes: 0 something was understood; 1 nothing was, or something failed; 2 wrong
usage; 130 interrupted before anything was understood."""


def add(pipelines: Commands) -> None:
    """Add the pipeline."""
    parser = given.add_verb(
        pipelines,
        "voice",
        _start,
        help="turn speech into robot commands",
        description="Turn speech from files or a microphone into plans and velocities, offline.",
        epilog=_EXAMPLES,
    )
    parser.add_argument(
        "--source",
        type=given.name,
        required=True,
        help="sound file, folder of sound files, device, device:<name or number>, or sample",
    )
    given.add_model_path(parser)
    parser.add_argument("--model", default="", metavar="NAME|PATH", help="of the recogniser")
    parser.add_argument(
        "--mode",
        choices=("command", "free"),
        default="",
        help="command (default) hears only phrases of the grammar; free whatever is said",
    )
    parser.add_argument("--grammar", default="", metavar="FILE", help="instead of the shipped one")
    parser.add_argument("--limits", default="", metavar="FILE", help="instead of the shipped ones")
    parser.add_argument("--cmd-vel", type=given.topic, metavar="TOPIC", help="drive a robot")
    parser.add_argument("--json", action="store_true", help="one JSON object a line and utterance")
    parser.add_argument("--verbose", action="store_true", help="the nodes' own log on stderr")


def _start(options: argparse.Namespace, started_s: float) -> int:
    from edge_inference.tools.run_voice import VoiceOptions, run_voice

    asked = {
        name: value
        for name, value in vars(options).items()
        if name in VoiceOptions.__dataclass_fields__
    }
    return run_voice(VoiceOptions(**asked))
