"""The voice pipeline: delays, errors, memory, and half an hour without a command.

There are three parts. ``accuracy`` runs the algorithms of the nodes offline at full speed;
``delays`` runs the shipped pipeline in a container, in real time; ``quiet`` runs the same container
with half an hour of audio without a command, faster than real time.
``benchmarks/voice_sentences.py`` has the sentences and voices: thresholds are not set with the
reported ones.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from benchmarks import voice_delays, voice_quiet
from benchmarks.report import Report, Samples
from benchmarks.voice_accuracy import CLEAN, Trial
from benchmarks.voice_audio import (
    Audio,
    list_missing_programs,
    load_golden,
    load_recordings,
    synthesize,
)
from benchmarks.voice_delays import SpokenCommand
from benchmarks.voice_offline import OfflinePipeline
from benchmarks.voice_scores import WRONG, ScoreCounts
from benchmarks.voice_sentences import SETS, Voice
from edge_inference.core.voice import NO, YES
from edge_inference.speech.actions.table import may_move
from edge_inference.speech.language.grammar import GrammarSentence

_PARTS = ("accuracy", "delays", "quiet")
_ACCURACY_BOUND = 0.97
_MOVING = ("move", "turn")
_NOISE = "white 20 dB"
_STOP_ROUNDS = 3
_GOLDEN_ROUNDS = 10


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    report = Report("voice", argv, __doc__, _add_arguments)
    parts = report.arguments.part or _PARTS
    trial = Trial(OfflinePipeline(), SETS[report.arguments.set], every=6 if report.quick else 1)
    label = _introduce(report, trial)
    report.figure("processes at work on the machine before", os.getloadavg()[0])
    if "accuracy" in parts:
        _accuracy(report, label, trial)
    trial.pipeline.close()  # to free memory for the container
    if "delays" in parts:
        _delays(report, label, trial)
    if "quiet" in parts:
        voice_quiet.measure(report, _speakers(trial), 3.0 if report.quick else 30.0)
    report.figure("processes at work on the machine at the end", os.getloadavg()[0])
    return report.finish()


def _introduce(report: Report, trial: Trial) -> str:
    """Print the set and its missing parts; return its name in the claims."""
    absent = list_missing_programs(trial.set.voices)
    for problem in (*absent, load_recordings()[1]):
        if problem:
            print(problem)
    if not trial.voices:
        report.figure("set", "golden: the shipped recording of a person")
        return "golden"
    left_out = sorted({v.program for v in trial.set.voices} - {v.program for v in trial.voices})
    label = "-without-".join([trial.set.name, *left_out])
    voices = ", ".join(map(str, trial.voices))
    said = f"{len(trial.commands)} commands and {len(trial.others)} other sentences"
    report.figure("set", f"{label}: {said}, said by {voices}")
    return label


def _accuracy(report: Report, label: str, trial: Trial) -> None:
    report.figure("golden recording", trial.run_golden().summary())
    recordings = trial.run_people()
    if recordings.others:
        report.figure("people's recordings", recordings.summary())
    tallies = trial.result.tallies
    for condition in trial.conditions() if trial.voices else ():
        report.figure(f"{label}, {condition}", trial.run(condition).summary())
    for detail in trial.result.details:
        print(f"    {detail}")
    report.samples("recognition of an utterance by the cores", Samples(trial.pipeline.elapsed_ns))
    report.samples("processor time of it", Samples(trial.pipeline.cpu_ns))
    if not trial.voices:
        tallies = {CLEAN: trial.run_golden()}
    report.figure("word error rate in free mode, clean", trial.result.word_error_rate)
    report.claim(
        f"voice-{label}-clean-frame-accuracy", tallies[CLEAN].accuracy, at_least=_ACCURACY_BOUND
    )
    wrong = tallies[CLEAN].outcomes[WRONG]
    report.claim(f"voice-{label}-clean-wrong-actions", wrong, at_most=0)
    if tallies[CLEAN].others:
        false_accepts = tallies[CLEAN].false_accepts
        report.claim(f"voice-{label}-clean-false-accepts", false_accepts, at_most=0)
        # A needless stop, look or deny causes no motion.
        moving = _moving(tallies[CLEAN])
        report.claim(f"voice-{label}-clean-false-accepts-that-move", moving, at_most=0)
        early = trial.result.stops_early
        report.claim(f"voice-{label}-clean-stops-before-the-end", early, at_most=0)
    noisy = [tally for condition, tally in tallies.items() if condition != CLEAN]
    if noisy:
        wrong = sum(tally.outcomes[WRONG] for tally in noisy)
        false_accepts = sum(tally.false_accepts for tally in noisy)
        report.claim(f"voice-{label}-noise-wrong-actions", wrong, at_most=0)
        report.claim(f"voice-{label}-noise-false-accepts", false_accepts, at_most=0)
        moving = sum(map(_moving, noisy))
        report.claim(f"voice-{label}-noise-false-accepts-that-move", moving, at_most=0)
    if recordings.others:
        report.claim("voice-people-false-accepts", recordings.false_accepts, at_most=0)


def _moving(tally: ScoreCounts) -> int:
    """Return the number of intents in non-commands that would have moved the robot or its arm."""
    answers = (YES, NO)
    return sum(
        count
        for intent, count in tally.false_intents.items()
        if intent not in answers and may_move(intent)
    )


def _delays(report: Report, label: str, trial: Trial) -> None:
    sentences = {sentence.text: sentence for sentence in trial.pipeline.grammar.sentences()}
    commands: list[SpokenCommand] = []
    stops: list[SpokenCommand] = []
    if trial.voices:
        moving = [sentence for sentence in trial.commands if sentence.intent in _MOVING]
        commands = _said(moving, trial.voices)
        halting = [sentence for sentence in sentences.values() if sentence.intent == "stop"]
        rounds = 1 if report.quick else _STOP_ROUNDS
        stops = _said(halting, trial.voices[:2] if report.quick else trial.voices) * rounds
    else:
        recording = load_golden()
        assert recording.text is not None
        commands = [
            SpokenCommand("a person", sentences[recording.text], recording.sound)
        ] * _GOLDEN_ROUNDS
    conditions = {name: trial.conditions()[name] for name in (_NOISE,)}
    voice_delays.measure(report, label, commands, stops, conditions)


def _said(sentences: Sequence[GrammarSentence], voices: Sequence[Voice]) -> list[SpokenCommand]:
    # Rotate the voices, so that every fourth command in noise does not always have the same voice.
    return [
        SpokenCommand(str(voice), sentence, synthesize(sentence.text, voice))
        for number, sentence in enumerate(sentences)
        for voice in (voices[(number + turn) % len(voices)] for turn in range(len(voices)))
    ]


def _speakers(trial: Trial) -> list[list[Audio]]:
    """Return every speaker with sentences that are no commands."""
    speakers = [[synthesize(text, voice) for text in trial.others] for voice in trial.voices]
    recordings, _ = load_recordings()
    for number in range(2 if len(recordings) > 1 else len(recordings)):
        speakers.append([recording.sound for recording in recordings[number::2]])
    return speakers


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--set", choices=sorted(SETS), default="reported", help="set of sentences")
    parser.add_argument(
        "--part", action="append", choices=_PARTS, help="run only this part; may be repeated"
    )


if __name__ == "__main__":
    sys.exit(main())
