"""Delays from the end of speech to motion: the shipped pipeline in real time.

The container runs in its own process with the shipped pipeline file. Audio comes from another
process (``source`` is empty, ``/ai/audio`` is an ordinary topic), and velocities are timed when
they arrive there. So every delay includes two hops between processes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.report import Report
from benchmarks.sides import Side, cpu_seconds, resident_mib
from benchmarks.voice_audio import Audio, pad_with_silence
from benchmarks.voice_container import MAX_MEMORY_MIB, peak_memory_mib, run_container
from benchmarks.voice_events import (
    control_periods_ns,
    count_dropped,
    first_motion_ns,
    format_percentiles,
    p95_ms,
    select_since,
    select_topic,
    standstill_ns,
)
from benchmarks.voice_observer import STAGES, Event, Playback
from benchmarks.voice_offline import meaning_of
from benchmarks.voice_scores import RIGHT, ScoreCounts, score_command
from edge_inference.core.voice import IntentArray
from edge_inference.speech.language.grammar import GrammarSentence

_BEFORE_S, _AFTER_S = 0.5, 1.0
_STAGE_BOUNDS_MS = {
    "speech_recognition": 300.0,
    "intent_parser": 100.0,
    "planner": 100.0,
    "command": 50.0,
}
_RATE_BOUND_HZ = 15.0
_DELAY_BOUND_MS = 450.0
_STOP_BOUND_MS = 350.0
_CYCLE_BOUND_MS = 50.0
_STOP = "stop"
_CPU_BOUND_PERCENT = 80.0


@dataclass(frozen=True)
class SpokenCommand:
    """One command as audio; ``sentence`` is its text and meaning, ``who`` its speaker."""

    who: str
    sentence: GrammarSentence
    sound: Audio


@dataclass
class Delays:
    """Measurements under one condition, in nanoseconds."""

    since_word: list[int] = field(default_factory=list)
    since_stamp: list[int] = field(default_factory=list)
    #: By stop phrase.
    stops: dict[str, list[float]] = field(default_factory=dict)
    cycles: list[int] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    tally: ScoreCounts = field(default_factory=ScoreCounts)
    #: Each case with a wrong result.
    details: list[str] = field(default_factory=list)


class Speaker:
    """Says commands to the pipeline and records the results."""

    def __init__(self, outside: Side) -> None:
        self._outside = outside

    def command(
        self, said: SpokenCommand, add_condition: Callable[[Audio], Audio], to: Delays
    ) -> None:
        """Say one command that moves the robot, from standstill."""
        sound, end = pad_with_silence(said.sound, _BEFORE_S, _AFTER_S)
        self._outside.ask("halt")
        played: Playback = self._outside.ask("say", add_condition(sound))
        to.events += played.events
        to.cycles += control_periods_ns(played.events)
        heard: list[IntentArray] = select_since(played.events, "/ai/intent", played.start_ns)
        result = [meaning_of(each) for each in heard if each.intents]
        outcome = score_command(meaning_of(said.sentence), result)
        to.tally.add_command(outcome)
        if outcome != RIGHT:
            to.details.append(
                f"{said.who} {said.sentence.text!r} {outcome}: {_final_texts(played)}"
            )
        plans = select_since(played.events, "/ai/action_plan", played.start_ns)
        acted = [plan for plan in plans if not plan.is_refused]
        moved_ns = first_motion_ns(played.events)
        if acted and moved_ns is not None:
            to.since_word.append(moved_ns - played.moment_ns(end))
            to.since_stamp.append(moved_ns - acted[0].stamp_ns)

    def stop(self, said: SpokenCommand, to: Delays) -> None:
        """Say a stop phrase while the robot moves; an unrecognized one has an infinite delay."""
        sound, end = pad_with_silence(said.sound, _BEFORE_S, _AFTER_S)
        self._outside.ask("drive")
        played: Playback = self._outside.ask("say", sound)
        to.events += played.events
        still_ns = standstill_ns(played.events)
        moment_ns = played.moment_ns(end)
        elapsed_ns = float("inf") if still_ns is None else still_ns - moment_ns
        to.stops.setdefault(said.sentence.text, []).append(elapsed_ns)
        if still_ns is None:
            to.details.append(
                f"{said.who} {said.sentence.text!r} not recognized: {_final_texts(played)}"
            )


def measure(
    report: Report,
    label: str,
    commands: Sequence[SpokenCommand],
    stops: Sequence[SpokenCommand],
    conditions: dict[str, Callable[[Audio], Audio]],
) -> None:
    """Say all commands in quiet and some of them in noise, and check the claims.

    ``conditions`` are the kinds of noise; under each, every fourth command is said.
    """
    clean = Delays()
    with run_container() as (process, outside):
        outside.ask("switch_on")
        speaker = Speaker(outside)
        report.figure("memory before the first word", resident_mib(process.pid), "MiB")
        speaker.command(commands[0], lambda sound: sound, Delays())  # the first inference is slow
        used, started = cpu_seconds(process.pid), time.monotonic()
        for said in commands:
            speaker.command(said, lambda sound: sound, clean)
        for said in stops:
            speaker.stop(said, clean)
        seconds = time.monotonic() - started
        percent = 100 * (cpu_seconds(process.pid) - used) / seconds
        _report_delays(report, f"{label}, clean", clean)
        for name, add_condition in conditions.items():
            noisy = Delays()
            for said in commands[::4]:
                speaker.command(said, add_condition, noisy)
            _report_delays(report, f"{label}, {name}", noisy)
        outside.ask("switch_off")
        report.figure("memory at the end", resident_mib(process.pid), "MiB")
        peak = peak_memory_mib(process.pid)
    report.figure("real time, clean part", seconds, "s")
    _claim_delays(report, label, clean)
    _claim_stages(report, clean)
    report.claim("voice-memory-peak-MiB", peak, at_most=MAX_MEMORY_MIB)
    report.claim("voice-percent-of-a-core", percent, at_most=_CPU_BOUND_PERCENT)


def _report_delays(report: Report, content: str, delays: Delays) -> None:
    report.figure(f"{content}, in real time", delays.tally.summary())
    if delays.since_word:
        report.figure(
            f"{content}, end of the last word to first command",
            format_percentiles(delays.since_word),
        )
        what_stamp = f"{content}, stamp of the last speech sample to first command"
        report.figure(what_stamp, format_percentiles(delays.since_stamp))
    for phrase, elapsed_ns in delays.stops.items():
        report.figure(
            f"{content}, end of {phrase!r} to zero velocity", format_percentiles(elapsed_ns)
        )
        missed = sum(took == float("inf") for took in elapsed_ns)
        report.figure(f"{content}, {phrase!r} not recognized", missed)
    for detail in delays.details:
        print(f"    {detail}")
    for key, count in count_dropped(delays.events).items():
        report.figure(f"{content}, dropped by {key}", count)


def _final_texts(played: Playback) -> list[str]:
    transcripts = select_since(played.events, "/ai/transcript", played.start_ns)
    return [each.text or each.problem for each in transcripts if each.is_final]


def _claim_delays(report: Report, label: str, delays: Delays) -> None:
    p95 = p95_ms(delays.since_word)
    report.claim(f"voice-{label}-clean-command-p95-ms", p95, at_most=_DELAY_BOUND_MS)
    if _STOP in delays.stops:
        p95 = p95_ms(delays.stops[_STOP])
        report.claim(f"voice-{label}-clean-stop-p95-ms", p95, at_most=_STOP_BOUND_MS)
        every = [elapsed_ns for of_phrase in delays.stops.values() for elapsed_ns in of_phrase]
        p95 = p95_ms(every)
        report.claim(f"voice-{label}-clean-every-stop-phrase-p95-ms", p95, at_most=_STOP_BOUND_MS)


def _claim_stages(report: Report, delays: Delays) -> None:
    timings = select_topic(delays.events, "/ai/stage_timing")
    for stage in STAGES:
        outcome = [
            round(timing.process_ms * 1e6)
            for timing in timings
            if timing.stage == stage and timing.process_ms is not None
        ]
        p95 = p95_ms(outcome)
        if outcome:
            report.figure(f"stage {stage}", format_percentiles(outcome))
        if stage in _STAGE_BOUNDS_MS:
            bound = _STAGE_BOUNDS_MS[stage]
            report.claim(f"voice-stage-{stage}-p95-ms", p95, at_most=bound)
        report.claim(f"voice-stage-{stage}-rate-Hz", 1000 / p95, at_least=_RATE_BOUND_HZ)
    if delays.cycles:
        report.figure("velocity to velocity while moving", format_percentiles(delays.cycles))
    report.claim("voice-control-cycle-p95-ms", p95_ms(delays.cycles), at_most=_CYCLE_BOUND_MS)
