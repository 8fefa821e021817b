"""Half an hour of audio without a command: silence, synthetic music, and many people at once.

The audio goes to the container faster than real time: the stamps start in the past, and the
playback waits until voice activity has processed earlier chunks. Speech is played slowly enough for
the recognizer, and the benchmark checks that every utterance was recognized.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.report import Report
from benchmarks.sides import Side, resident_mib
from benchmarks.voice_audio import Audio, make_babble, make_music
from benchmarks.voice_container import MAX_MEMORY_MIB, peak_memory_mib, run_container
from benchmarks.voice_events import select_topic
from benchmarks.voice_observer import Event
from edge_inference.core.audio import SAMPLE_RATE
from edge_inference.core.voice import Transcript
from edge_inference.speech.language.stop_phrases import is_stop

_PIECE_S = 20.0
#: Playback speed relative to real time.
_SPEEDS = {"silence": 20.0, "music": 12.0, "babble": 2.0}
_GROWTH_BOUND_MIB = 5.0
_SPEAKERS = 5
#: Warm-up clips of each kind before memory counts; they include each number of speakers once.
_WARM_UP = 5
_LATEST_S = 60
#: The stamps start this much earlier, so that none is in the future.
_MARGIN_S = 1200.0


@dataclass
class NoCommandResult:
    """The results for one kind of audio."""

    seconds: float = 0.0
    utterances: int = 0
    recognized: int = 0
    commands: list[str] = field(default_factory=list)
    stops_early: list[str] = field(default_factory=list)
    moves: int = 0

    def add(self, seconds: float, events: Sequence[Event]) -> None:
        """Count the messages of the pipeline."""
        transcripts: list[Transcript] = select_topic(events, "/ai/transcript")
        self.seconds += seconds
        self.utterances += sum(final for _, final in select_topic(events, "/ai/speech"))
        self.recognized += sum(each.is_final for each in transcripts)
        self.commands += [each.text for each in transcripts if each.is_final and each.text]
        # In partial speech only a stop counts.
        self.stops_early += [
            each.text for each in transcripts if not each.is_final and is_stop(each.text)
        ]
        self.moves += sum(any(velocity) for velocity in select_topic(events, "/cmd_vel"))

    def summary(self) -> str:
        """Return the counts as text."""
        return (
            f"{self.seconds / 60:.1f} min: {self.utterances} utterances, {self.recognized} "
            f"recognized, commands {self.commands}, stops before the end {self.stops_early}, "
            f"velocities that are not zero {self.moves}"
        )


def measure(report: Report, speakers: Sequence[Sequence[Audio]], minutes: float) -> None:
    """Play all kinds of audio and check the claims; ``speakers`` may be empty."""
    makers = _makers(speakers)
    outcome = {kind: NoCommandResult() for kind in makers}
    seconds = 60 * minutes / len(makers)
    with run_container() as (process, outside):
        outside.ask("listen_to_speech")
        outside.ask("set_clock_back", 60 * minutes + _MARGIN_S)
        report.figure("quiet, memory before the first sound", resident_mib(process.pid), "MiB")
        for kind, make in makers.items():  # warm-up: one-time allocations happen here
            _play(outside, kind, make, range(_WARM_UP), NoCommandResult())
        before = resident_mib(process.pid)
        report.figure("quiet, memory after the warm-up", before, "MiB")
        grown = []
        for kind, make in makers.items():
            pieces = max(1, round(seconds / _PIECE_S))
            _play(outside, kind, make, range(_WARM_UP, _WARM_UP + pieces), outcome[kind])
            grown.append(resident_mib(process.pid) - before)
        peak = peak_memory_mib(process.pid)
    for kind, quiet in outcome.items():
        report.figure(f"quiet, {kind}", quiet.summary())
    report.figure("quiet, memory after each kind of sound", _signed(grown), "MiB")
    commands = sum(len(q.commands) + len(q.stops_early) + q.moves for q in outcome.values())
    names = "-".join(makers)
    missed = sum(quiet.utterances - quiet.recognized for quiet in outcome.values())
    report.claim(f"voice-quiet-{names}-commands", commands, at_most=0)
    report.claim(f"voice-quiet-{names}-utterances-not-looked-at", missed, at_most=0)
    report.claim("voice-quiet-memory-growth-MiB", grown[-1], at_most=_GROWTH_BOUND_MIB)
    report.claim("voice-quiet-memory-peak-MiB", peak, at_most=MAX_MEMORY_MIB)


def _makers(speakers: Sequence[Sequence[Audio]]) -> dict[str, Callable[[int], Audio]]:
    """Return a generator function for each kind of audio; its argument is the clip number."""
    samples = round(_PIECE_S * SAMPLE_RATE)
    makers: dict[str, Callable[[int], Audio]] = {
        "silence": lambda number: np.zeros(samples, np.float32),
        "music": lambda number: make_music(_PIECE_S, number),
    }
    if speakers:
        makers["babble"] = lambda number: make_babble(_some(speakers, number), samples, number)
    return makers


def _some(speakers: Sequence[Sequence[Audio]], number: int) -> list[Sequence[Audio]]:
    """Return some of the speakers, different ones for every clip: one to five at once."""
    rng = np.random.default_rng(number)
    count = 1 + number % min(_SPEAKERS, len(speakers))
    return [speakers[place] for place in rng.permutation(len(speakers))[:count]]


def _play(
    outside: Side,
    kind: str,
    make: Callable[[int], Audio],
    numbers: Iterable[int],
    to: NoCommandResult,
) -> None:
    """Play clips, and then silence until all utterances have been recognized."""
    for number in numbers:
        events: list[Event] = outside.ask("play_faster", make(number), _SPEEDS[kind])
        to.add(_PIECE_S, events)
    silence = np.zeros(SAMPLE_RATE, np.float32)
    for _ in range(_LATEST_S):
        to.add(1.0, outside.ask("play_faster", silence, 1.0))
        if to.recognized >= to.utterances:
            break


def _signed(values: Sequence[float]) -> str:
    return " ".join(f"{value:+.1f}" for value in values)
