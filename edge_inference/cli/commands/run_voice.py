"""``edge-inference run voice``."""

from __future__ import annotations

import argparse

from edge_inference.cli import arguments as given
from edge_inference.cli.arguments import Commands

_EXAMPLES = """\
examples:
  edge-inference run voice --source sample
  edge-inference run voice --source command.wav --play
  edge-inference run voice --source recordings/ --json
  edge-inference run voice --source recordings/ --expect
  edge-inference run voice --list-devices
  edge-inference run voice --source device --mode both
  edge-inference run voice --source device:2 --cmd-vel /cmd_vel

Files are fed as slowly as they sound, with --play aloud. Velocities go to /ai/cmd_vel,
where no robot listens, unless --cmd-vel names another topic. Stage times are
milliseconds from the last word to the end of the stage.

--expect compares text, intent, plan and velocities with a file (expected.yaml beside
the sound, where none is named) such as models/moonshine_tiny/golden/expected.yaml.

exit codes: 0 something was understood, with --expect everything as expected; 1 it was
not, or something failed; 2 wrong usage; 130 interrupted before."""


#: Those of speech/recognition/transcription.py, which is too heavy to import for a list of options.
MODES = ("command", "free", "both")


def add(pipelines: Commands) -> None:
    """Add the pipeline."""
    parser = given.add_command(
        pipelines,
        "voice",
        _start,
        help="turn speech into robot commands",
        description="Turn speech from files or a microphone into plans and velocities, offline.",
        epilog=_EXAMPLES,
    )
    sources = parser.add_mutually_exclusive_group(required=True)
    sources.add_argument(
        "--source",
        type=given.non_empty_text,
        help="sound file, folder of sound files, device, device:<name or number>, or sample",
    )
    sources.add_argument(
        "--list-devices", action="store_true", help="list the devices that record, and end"
    )
    given.add_model_path(parser)
    parser.add_argument("--model", default="", metavar="NAME|PATH", help="of the recogniser")
    parser.add_argument(
        "--mode",
        choices=MODES,
        default="",
        help="command (default) hears only phrases of the grammar; free writes down whatever is "
        "said; both writes down what is none of the phrases",
    )
    parser.add_argument("--grammar", default="", metavar="FILE", help="instead of the shipped one")
    parser.add_argument("--limits", default="", metavar="FILE", help="instead of the shipped ones")
    parser.add_argument("--cmd-vel", type=given.topic_name, metavar="TOPIC", help="drive a robot")
    parser.add_argument(
        "--play", action="store_true", help="play the files on the default output as they are fed"
    )
    parser.add_argument(
        "--pause",
        type=given.number_between(0.0, 600.0),
        metavar="S",
        help="seconds of silence after each file; default: 1, or what --expect's file says",
    )
    parser.add_argument(
        "--expect",
        nargs="?",
        default="",
        const="beside",
        metavar="FILE",
        help="check what becomes of each file",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line and utterance")
    parser.add_argument("--verbose", action="store_true", help="the nodes' own log on stderr")


def _start(options: argparse.Namespace, started_s: float) -> int:
    if options.list_devices:
        return _list_devices(options.json)
    from edge_inference.cli.voice.run import VoiceOptions, run_voice

    asked = {
        name: value
        for name, value in vars(options).items()
        if name in VoiceOptions.__dataclass_fields__
    }
    return run_voice(VoiceOptions(**asked))


def _list_devices(as_json: bool) -> int:
    from edge_inference.cli.voice.sound_devices import list_inputs

    for line in list_inputs(as_json):
        print(line)
    return 0
