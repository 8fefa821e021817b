"""Accuracy of the voice pipeline for commands and other speech, in quiet and in noise.

``python -m benchmarks.voice_accuracy --set tuning`` is for setting thresholds; ``benchmarks.voice``
reports on the set ``reported``. Voice activity, recognizer, command mode and understanding run one
after the other at full speed. In quiet every voice says every sentence; in noise the voices take
turns.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from benchmarks.report import Report, Samples
from benchmarks.voice_audio import (
    Audio,
    add_noise,
    find_program,
    list_missing_programs,
    load_golden,
    load_recordings,
    make_babble,
    make_pink_noise,
    make_white_noise,
    pad_with_silence,
    synthesize,
)
from benchmarks.voice_offline import OfflinePipeline, meaning_of
from benchmarks.voice_scores import RIGHT, ScoreCounts, count_word_errors, score_command
from benchmarks.voice_sentences import SETS, SentenceSet, Voice
from edge_inference.core.voice import NO, YES
from edge_inference.speech.language.grammar import GrammarSentence

CLEAN = "clean"
_BEFORE_S, _AFTER_S = 0.6, 0.8
_NOISE_SAMPLES = 16_000 * 20
_BABBLERS = 4

_T = TypeVar("_T")


@dataclass
class Accuracy:
    """Counts by condition; ``details`` lists each case with a wrong result."""

    tallies: dict[str, ScoreCounts] = field(default_factory=dict)
    details: list[str] = field(default_factory=list)
    word_errors: int = 0
    words: int = 0
    stops_early: int = 0

    @property
    def word_error_rate(self) -> float:
        """Word error rate of the commands in free mode; NaN without any."""
        return self.word_errors / self.words if self.words else float("nan")


class Trial:
    """One set of sentences, synthesised and recognized."""

    def __init__(self, pipeline: OfflinePipeline, sentences: SentenceSet, every: int = 1) -> None:
        """Use only every n-th sentence, with n = ``every``."""
        self.pipeline = pipeline
        self.set = sentences
        self.voices = [voice for voice in sentences.voices if find_program(voice)]
        self.commands = sentences.commands(pipeline.grammar.sentences())[::every]
        self.others = sentences.others[::every]
        self.result = Accuracy()
        self._babbling: Audio | None = None

    def conditions(self) -> dict[str, Callable[[Audio], Audio]]:
        """Return the function that adds the noise of each condition, by name."""
        return {
            CLEAN: lambda sound: sound,
            "white 20 dB": lambda sound: add_noise(sound, make_white_noise(len(sound), 1), 20),
            "pink 20 dB": lambda sound: add_noise(sound, make_pink_noise(len(sound), 2), 20),
            "white 10 dB": lambda sound: add_noise(sound, make_white_noise(len(sound), 3), 10),
            "pink 10 dB": lambda sound: add_noise(sound, make_pink_noise(len(sound), 4), 10),
            "babble 10 dB": lambda sound: add_noise(sound, self._babble(), 10),
        }

    def run(self, condition: str) -> ScoreCounts:
        """Run all sentences under one condition."""
        add_condition = self.conditions()[condition]
        tally = self.result.tallies.setdefault(condition, ScoreCounts())
        for voice, sentence, _ in self._assign_voices(self.commands, condition):
            sound = add_condition(_padded(synthesize(sentence.text, voice)))
            self._run_command(condition, voice, sentence, sound, tally)
        for voice, text, is_first in self._assign_voices(self.others, condition):
            sound = add_condition(_padded(synthesize(text, voice)))
            # Partial speech needs several recognitions, so only one voice per sentence uses it.
            result = self.pipeline.transcribe(sound, partial=condition == CLEAN and is_first)
            tally.add_other(result.intents)
            self.result.stops_early += result.stops_early
            if result.meanings or result.stops_early:
                early = " (stop before its end)" if result.stops_early else ""
                self._add_detail(f"{condition}: {voice} {text!r} accepted: {result.texts}{early}")
        return tally

    def _run_command(
        self,
        condition: str,
        who: object,
        sentence: GrammarSentence,
        sound: Audio,
        tally: ScoreCounts,
    ) -> None:
        # Answers are recognized only after a question.
        result = self.pipeline.transcribe(sound, expects_answer=sentence.intent in (YES, NO))
        outcome = score_command(meaning_of(sentence), result.meanings)
        tally.add_command(outcome)
        if outcome != RIGHT:
            content = result.texts or result.refused or ["no speech"]
            self._add_detail(f"{condition}: {who} {sentence.text!r} {outcome}: {content}")
        if condition == CLEAN:
            errors, words = count_word_errors(sentence.text, self.pipeline.transcribe_freely(sound))
            self.result.word_errors += errors
            self.result.words += words

    def run_golden(self) -> ScoreCounts:
        """Recognize the shipped recording of a person with a command."""
        recording = load_golden()
        sentences = self.pipeline.grammar.sentences()
        sentence = next(each for each in sentences if each.text == recording.text)
        tally = ScoreCounts()
        self._run_command("golden", "a person", sentence, _padded(recording.sound), tally)
        return tally

    def run_people(self) -> ScoreCounts:
        """Recognize recordings of people without a command; there may be none."""
        tally = ScoreCounts()
        for recording in load_recordings()[0]:
            result = self.pipeline.transcribe(_padded(recording.sound))
            tally.add_other(result.intents)
            if result.meanings:
                self._add_detail(
                    f"people: {recording.name} {recording.text!r} accepted: {result.texts}"
                )
        return tally

    def _assign_voices(
        self, said: Sequence[_T], condition: str
    ) -> Iterator[tuple[Voice, _T, bool]]:
        """Yield the voice of each sentence, and whether it is this voice's turn."""
        for number, each in enumerate(said):
            whose_turn = self.voices[number % len(self.voices)]
            for voice in self.voices if condition == CLEAN else [whose_turn]:
                yield voice, each, voice == whose_turn

    def _babble(self) -> Audio:
        if self._babbling is None:
            speakers = (self.voices * _BABBLERS)[:_BABBLERS]
            said = [
                [synthesize(text, voice) for text in self.set.others[number::_BABBLERS]]
                for number, voice in enumerate(speakers)
            ]
            self._babbling = make_babble(said, _NOISE_SAMPLES, 5)
        return self._babbling

    def _add_detail(self, text: str) -> None:
        self.result.details.append(text)


def _padded(sound: Audio) -> Audio:
    return pad_with_silence(sound, _BEFORE_S, _AFTER_S)[0]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    report = Report("voice_accuracy", argv, __doc__, _add_arguments)
    arguments = report.arguments
    pipeline = OfflinePipeline()
    trial = Trial(pipeline, SETS[arguments.set], every=4 if report.quick else 1)
    for problem in list_missing_programs(trial.set.voices):
        print(problem)
    if not trial.voices:
        return 2
    print(f"set {trial.set.name}: voices {', '.join(map(str, trial.voices))}")
    for condition in arguments.condition or trial.conditions():
        report.figure(condition, trial.run(condition).summary())
        for detail in trial.result.details:
            print(f"    {detail}")
        trial.result.details.clear()
    if trial.result.words:
        report.figure("word error rate in free mode, clean", trial.result.word_error_rate)
        report.figure("others taken for stop before their end", trial.result.stops_early)
    report.samples("recognition of an utterance", Samples(pipeline.elapsed_ns))
    report.samples("processor time of it", Samples(pipeline.cpu_ns))
    pipeline.close()
    return report.finish()


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--set", choices=sorted(SETS), default="tuning", help="set of sentences")
    parser.add_argument(
        "--condition", action="append", help="such as 'white 20 dB'; may be repeated; default all"
    )


if __name__ == "__main__":
    sys.exit(main())
