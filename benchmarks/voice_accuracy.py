"""What the voice pipeline makes of commands and of other speech, in quiet and in noise.

``python -m benchmarks.voice_accuracy --set tuning`` is for those who set thresholds; the set
``reported`` is what ``benchmarks.voice`` reports on. Voice activity, recogniser, command mode and
understanding are called one after the other, as fast as they go. In quiet every voice says
everything; in noise each sentence is said by one voice, in turn.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from benchmarks.report import Report, Samples
from benchmarks.voice_cores import Cores, meaning
from benchmarks.voice_scores import RIGHT, Tally, outcome, word_errors
from benchmarks.voice_sentences import SETS, SentenceSet, Voice
from benchmarks.voice_sound import (
    Sound,
    babble,
    between_silence,
    golden,
    missing,
    mixed,
    people,
    pink,
    program_of,
    speak,
    white,
)
from edge_inference.core.voice import NO, YES
from edge_inference.speech.language.grammar import GrammarSentence

CLEAN = "clean"
_BEFORE_S, _AFTER_S = 0.6, 0.8
_NOISE_SAMPLES = 16_000 * 20
_BABBLERS = 4

_T = TypeVar("_T")


@dataclass
class Accuracy:
    """What was counted, by condition; ``details`` tells each case that was not as it should be."""

    tallies: dict[str, Tally] = field(default_factory=dict)
    details: list[str] = field(default_factory=list)
    word_errors: int = 0
    words: int = 0
    stops_early: int = 0

    @property
    def word_error_rate(self) -> float:
        """Word errors for each word of the commands in free mode; NaN without any."""
        return self.word_errors / self.words if self.words else float("nan")


class Trial:
    """One set of sentences, said to the cores."""

    def __init__(self, cores: Cores, sentences: SentenceSet, every: int = 1) -> None:
        """``every`` n-th sentence is said only."""
        self.cores = cores
        self.set = sentences
        self.voices = [voice for voice in sentences.voices if program_of(voice)]
        self.commands = sentences.commands(cores.grammar.sentences())[::every]
        self.others = sentences.others[::every]
        self.result = Accuracy()
        self._babbling: Sound | None = None

    def conditions(self) -> dict[str, Callable[[Sound], Sound]]:
        """Return what is done to speech, by the name of the condition."""
        return {
            CLEAN: lambda sound: sound,
            "white 20 dB": lambda sound: mixed(sound, white(len(sound), 1), 20),
            "pink 20 dB": lambda sound: mixed(sound, pink(len(sound), 2), 20),
            "white 10 dB": lambda sound: mixed(sound, white(len(sound), 3), 10),
            "pink 10 dB": lambda sound: mixed(sound, pink(len(sound), 4), 10),
            "babble 10 dB": lambda sound: mixed(sound, self._babble(), 10),
        }

    def run(self, condition: str) -> Tally:
        """Say everything under one condition."""
        spoil = self.conditions()[condition]
        tally = self.result.tallies.setdefault(condition, Tally())
        for voice, sentence, _ in self._said(self.commands, condition):
            sound = spoil(_padded(speak(sentence.text, voice)))
            self._run_command(condition, voice, sentence, sound, tally)
        for voice, text, is_first in self._said(self.others, condition):
            sound = spoil(_padded(speak(text, voice)))
            # Speech that goes on costs several recognitions; one voice a sentence is enough.
            heard = self.cores.transcribe(sound, partial=condition == CLEAN and is_first)
            tally.add_other(heard.intents)
            self.result.stops_early += heard.stops_early
            if heard.meanings or heard.stops_early:
                early = " (stop before its end)" if heard.stops_early else ""
                self._tell(f"{condition}: {voice} {text!r} accepted: {heard.texts}{early}")
        return tally

    def _run_command(
        self, condition: str, who: object, sentence: GrammarSentence, sound: Sound, tally: Tally
    ) -> None:
        # Answers are listened for after a question only.
        heard = self.cores.transcribe(sound, expects_answer=sentence.intent in (YES, NO))
        found = outcome(meaning(sentence), heard.meanings)
        tally.add_command(found)
        if found != RIGHT:
            what = heard.texts or heard.refused or ["no speech"]
            self._tell(f"{condition}: {who} {sentence.text!r} {found}: {what}")
        if condition == CLEAN:
            errors, words = word_errors(sentence.text, self.cores.write_down(sound))
            self.result.word_errors += errors
            self.result.words += words

    def run_golden(self) -> Tally:
        """Listen to the recording that is shipped, of a person who says a command."""
        recording = golden()
        sentences = self.cores.grammar.sentences()
        sentence = next(each for each in sentences if each.text == recording.text)
        tally = Tally()
        self._run_command("golden", "a person", sentence, _padded(recording.sound), tally)
        return tally

    def run_people(self) -> Tally:
        """Listen to people's recordings, none of which is a command; there may be none."""
        tally = Tally()
        for recording in people()[0]:
            heard = self.cores.transcribe(_padded(recording.sound))
            tally.add_other(heard.intents)
            if heard.meanings:
                self._tell(f"people: {recording.name} {recording.text!r} accepted: {heard.texts}")
        return tally

    def _said(self, said: Sequence[_T], condition: str) -> Iterator[tuple[Voice, _T, bool]]:
        """Yield who says what, and whether this voice is the one whose turn it is."""
        for number, each in enumerate(said):
            whose_turn = self.voices[number % len(self.voices)]
            for voice in self.voices if condition == CLEAN else [whose_turn]:
                yield voice, each, voice == whose_turn

    def _babble(self) -> Sound:
        if self._babbling is None:
            speakers = (self.voices * _BABBLERS)[:_BABBLERS]
            said = [
                [speak(text, voice) for text in self.set.others[number::_BABBLERS]]
                for number, voice in enumerate(speakers)
            ]
            self._babbling = babble(said, _NOISE_SAMPLES, 5)
        return self._babbling

    def _tell(self, text: str) -> None:
        self.result.details.append(text)


def _padded(sound: Sound) -> Sound:
    return between_silence(sound, _BEFORE_S, _AFTER_S)[0]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    report = Report("voice_accuracy", argv, __doc__, _add_arguments)
    arguments = report.arguments
    cores = Cores()
    trial = Trial(cores, SETS[arguments.set], every=4 if report.quick else 1)
    for problem in missing(trial.set.voices):
        print(problem)
    if not trial.voices:
        return 2
    print(f"set {trial.set.name}: voices {', '.join(map(str, trial.voices))}")
    for condition in arguments.condition or trial.conditions():
        report.figure(condition, trial.run(condition).line())
        for detail in trial.result.details:
            print(f"    {detail}")
        trial.result.details.clear()
    if trial.result.words:
        report.figure("word error rate in free mode, clean", trial.result.word_error_rate)
        report.figure("others taken for stop before their end", trial.result.stops_early)
    report.samples("recognition of an utterance", Samples(cores.took_ns))
    report.samples("processor time of it", Samples(cores.worked_ns))
    cores.close()
    return report.finish()


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--set", choices=sorted(SETS), default="tuning", help="what is said")
    parser.add_argument(
        "--condition", action="append", help="such as 'white 20 dB'; may be repeated; default all"
    )


if __name__ == "__main__":
    sys.exit(main())
