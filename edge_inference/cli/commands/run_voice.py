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

Files are played in real time, aloud with --play. Velocities are published on
/ai/cmd_vel, where no robot listens, unless --cmd-vel names another topic. Stage times
are milliseconds from the last word to the end of the stage.

--expect compares text, intent, plan and velocities with a file (by default
expected.yaml beside the audio) such as models/moonshine_tiny/golden/expected.yaml.

exit codes: 0 an utterance was understood, with --expect all results are as expected;
1 none was understood, a result differs, or something failed; 2 wrong usage;
130 interrupted before."""


#: The modes of speech/recognition/transcription.py; that module is too slow to import for --help.
MODES = ("command", "free", "both")


def add(pipelines: Commands) -> None:
    """Add the command."""
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
        help="audio file, folder of audio files, device, device:<name or number>, or sample",
    )
    sources.add_argument(
        "--list-devices", action="store_true", help="list the input devices and exit"
    )
    given.add_model_path(parser)
    parser.add_argument("--model", default="", metavar="NAME|PATH", help="model of the recognizer")
    parser.add_argument(
        "--mode",
        choices=MODES,
        default="",
        help="command (default) recognizes only phrases of the grammar; free transcribes any "
        "speech; both transcribes speech that matches no phrase",
    )
    parser.add_argument(
        "--grammar", default="", metavar="FILE", help="grammar file; default: the shipped one"
    )
    parser.add_argument(
        "--limits", default="", metavar="FILE", help="limits file; default: the shipped one"
    )
    parser.add_argument(
        "--cmd-vel",
        type=given.topic_name,
        metavar="TOPIC",
        help="topic of the velocities, to drive a robot",
    )
    parser.add_argument(
        "--play", action="store_true", help="play the files on the default output device"
    )
    parser.add_argument(
        "--pause",
        type=given.number_between(0.0, 600.0),
        metavar="S",
        help="seconds of silence after each file; default: pause_s of the --expect file, else 1",
    )
    given.add_deadline(parser, "from the last word to the command")
    given.add_recording(parser)
    parser.add_argument(
        "--expect",
        nargs="?",
        default="",
        const="beside",
        metavar="FILE",
        help="compare the result of each file with the expected one",
    )
    parser.add_argument(
        "--json", action="store_true", help="one JSON object a line, one for each utterance"
    )
    parser.add_argument("--verbose", action="store_true", help="the nodes' own log on stderr")


def _start(options: argparse.Namespace, started_s: float) -> int:
    if options.list_devices:
        return _list_devices(options.json)
    from edge_inference.cli.voice.run import VoiceOptions, run_voice

    values = {
        name: value
        for name, value in vars(options).items()
        if name in VoiceOptions.__dataclass_fields__
    }
    return run_voice(VoiceOptions(**values))


def _list_devices(as_json: bool) -> int:
    from edge_inference.cli.voice.audio_devices import list_inputs

    for line in list_inputs(as_json):
        print(line)
    return 0
