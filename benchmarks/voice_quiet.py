"""Half an hour of sound without a command: silence, something like music, and many people at once.

The container hears it, its real nodes in a process of their own, faster than it sounds: the stamps
start in the past, and the next sound waits until voice activity has heard the last. Where people
talk it is played slowly enough for the recogniser, and every utterance is checked to have been
recognised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.report import Report
from benchmarks.sides import Side, resident_mib
from benchmarks.voice_container import MEMORY_BOUND_MIB, contained, peak_mib
from benchmarks.voice_events import of_topic
from benchmarks.voice_outside import Event
from benchmarks.voice_sound import Sound, babble, music
from edge_inference.core.audio import SAMPLE_RATE
from edge_inference.core.voice import Transcript
from edge_inference.speech.language.stop_phrases import is_stop

_PIECE_S = 20.0
#: Many times faster than it sounds.
_SPEEDS = {"silence": 20.0, "music": 12.0, "babble": 2.0}
_GROWTH_BOUND_MIB = 5.0
_SPEAKERS = 5
#: Pieces of each kind before memory counts; in as many there is each number of speakers once.
_WARM_UP = 5
_LATEST_S = 60
#: The stamps begin so much before the sound does, so that none lies in the future.
_MARGIN_S = 1200.0


@dataclass
class Quiet:
    """What came of one kind of sound."""

    seconds: float = 0.0
    utterances: int = 0
    recognised: int = 0
    commands: list[str] = field(default_factory=list)
    stops_early: list[str] = field(default_factory=list)
    moves: int = 0

    def add(self, seconds: float, events: Sequence[Event]) -> None:
        """Count what the pipeline published."""
        transcripts: list[Transcript] = of_topic(events, "/ai/transcript")
        self.seconds += seconds
        self.utterances += sum(final for _, final in of_topic(events, "/ai/speech"))
        self.recognised += sum(each.is_final for each in transcripts)
        self.commands += [each.text for each in transcripts if each.is_final and each.text]
        # Of what is half said only stop is obeyed.
        self.stops_early += [
            each.text for each in transcripts if not each.is_final and is_stop(each.text)
        ]
        self.moves += sum(any(velocity) for velocity in of_topic(events, "/cmd_vel"))

    def line(self) -> str:
        """Return the counts in words."""
        return (
            f"{self.seconds / 60:.1f} min: {self.utterances} utterances, {self.recognised} "
            f"recognised, commands {self.commands}, stops before the end {self.stops_early}, "
            f"velocities that are not zero {self.moves}"
        )


def measure(report: Report, speakers: Sequence[Sequence[Sound]], minutes: float) -> None:
    """Play all kinds of sound and claim what was promised; ``speakers`` may be none."""
    makers = _makers(speakers)
    found = {kind: Quiet() for kind in makers}
    seconds = 60 * minutes / len(makers)
    with contained() as (process, outside):
        outside.ask("listen_to_speech")
        outside.ask("set_clock_back", 60 * minutes + _MARGIN_S)
        report.figure("quiet, memory before the first sound", resident_mib(process.pid), "MiB")
        for kind, make in makers.items():  # all that grows once has grown then
            _play(outside, kind, make, range(_WARM_UP), Quiet())
        before = resident_mib(process.pid)
        report.figure("quiet, memory once all has been heard", before, "MiB")
        grown = []
        for kind, make in makers.items():
            pieces = max(1, round(seconds / _PIECE_S))
            _play(outside, kind, make, range(_WARM_UP, _WARM_UP + pieces), found[kind])
            grown.append(resident_mib(process.pid) - before)
        peak = peak_mib(process.pid)
    for kind, quiet in found.items():
        report.figure(f"quiet, {kind}", quiet.line())
    report.figure("quiet, memory after each kind of sound", _signed(grown), "MiB")
    commands = sum(len(q.commands) + len(q.stops_early) + q.moves for q in found.values())
    names = "-".join(makers)
    missed = sum(quiet.utterances - quiet.recognised for quiet in found.values())
    report.claim(f"voice-quiet-{names}-commands", commands, at_most=0)
    report.claim(f"voice-quiet-{names}-utterances-not-looked-at", missed, at_most=0)
    report.claim("voice-quiet-memory-growth-MiB", grown[-1], at_most=_GROWTH_BOUND_MIB)
    report.claim("voice-quiet-memory-peak-MiB", peak, at_most=MEMORY_BOUND_MIB)


def _makers(speakers: Sequence[Sequence[Sound]]) -> dict[str, Callable[[int], Sound]]:
    """Return what makes a piece of each kind, from its number."""
    samples = round(_PIECE_S * SAMPLE_RATE)
    makers: dict[str, Callable[[int], Sound]] = {
        "silence": lambda number: np.zeros(samples, np.float32),
        "music": lambda number: music(_PIECE_S, number),
    }
    if speakers:
        makers["babble"] = lambda number: babble(_some(speakers, number), samples, number)
    return makers


def _some(speakers: Sequence[Sequence[Sound]], number: int) -> list[Sequence[Sound]]:
    """Return some of the speakers, others for every piece: from one alone to five at once."""
    rng = np.random.default_rng(number)
    count = 1 + number % min(_SPEAKERS, len(speakers))
    return [speakers[place] for place in rng.permutation(len(speakers))[:count]]


def _play(
    outside: Side, kind: str, make: Callable[[int], Sound], numbers: Iterable[int], to: Quiet
) -> None:
    """Play pieces of sound, and silence behind them until all utterances have been recognised."""
    for number in numbers:
        events: list[Event] = outside.ask("play_faster", make(number), _SPEEDS[kind])
        to.add(_PIECE_S, events)
    silence = np.zeros(SAMPLE_RATE, np.float32)
    for _ in range(_LATEST_S):
        to.add(1.0, outside.ask("play_faster", silence, 1.0))
        if to.recognised >= to.utterances:
            break


def _signed(values: Sequence[float]) -> str:
    return " ".join(f"{value:+.1f}" for value in values)
