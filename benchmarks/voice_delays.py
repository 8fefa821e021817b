"""From the end of what was said to what the robot does: the shipped pipeline in real time.

The container runs in a process of its own, on the pipeline's file as it is shipped; sound comes
from outside (``source`` is empty, ``/ai/audio`` a topic like any other), and velocities are taken
where another process gets them. So a hop between processes is in every delay, twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.report import Report
from benchmarks.sides import Side, cpu_seconds, resident_mib
from benchmarks.voice_container import MEMORY_BOUND_MIB, contained, peak_mib
from benchmarks.voice_cores import meaning
from benchmarks.voice_events import (
    cycles_ns,
    dropped,
    first_motion_ns,
    of_topic,
    p95_ms,
    percentiles,
    said_since,
    standstill_ns,
)
from benchmarks.voice_outside import STAGES, Event, Played
from benchmarks.voice_scores import RIGHT, Tally, outcome
from benchmarks.voice_sound import Sound, between_silence
from edge_inference.core.voice import Intent
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
class Said:
    """One command to say, as sound; ``sentence`` is what it is, ``who`` says it."""

    who: str
    sentence: GrammarSentence
    sound: Sound


@dataclass
class Delays:
    """What was measured under one condition; nanoseconds."""

    since_word: list[int] = field(default_factory=list)
    since_stamp: list[int] = field(default_factory=list)
    #: By what was said to stop the robot.
    stops: dict[str, list[float]] = field(default_factory=dict)
    cycles: list[int] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    #: Each case that was not as it should be.
    details: list[str] = field(default_factory=list)


class Speaker:
    """Says commands to the pipeline and notes what comes of them."""

    def __init__(self, outside: Side) -> None:
        self._outside = outside

    def command(self, said: Said, spoil: Callable[[Sound], Sound], to: Delays) -> None:
        """Say one command that moves the robot, from standstill."""
        sound, end = between_silence(said.sound, _BEFORE_S, _AFTER_S)
        self._outside.ask("halt")
        played: Played = self._outside.ask("say", spoil(sound))
        to.events += played.events
        to.cycles += cycles_ns(played.events)
        intents: list[Intent] = said_since(played.events, "/ai/intent", played.start_ns)
        heard = [meaning(intent) for intent in intents if intent.name]
        found = outcome(meaning(said.sentence), heard)
        to.tally.add_command(found)
        if found != RIGHT:
            to.details.append(f"{said.who} {said.sentence.text!r} {found}: {_heard(played)}")
        plans = said_since(played.events, "/ai/action_plan", played.start_ns)
        acted = [plan for plan in plans if not plan.is_refused]
        moved_ns = first_motion_ns(played.events)
        if acted and moved_ns is not None:
            to.since_word.append(moved_ns - played.moment_ns(end))
            to.since_stamp.append(moved_ns - acted[0].stamp_ns)

    def stop(self, said: Said, to: Delays) -> None:
        """Say stop while the robot moves; one that is not heard counts as endless."""
        sound, end = between_silence(said.sound, _BEFORE_S, _AFTER_S)
        self._outside.ask("drive")
        played: Played = self._outside.ask("say", sound)
        to.events += played.events
        still_ns = standstill_ns(played.events)
        moment_ns = played.moment_ns(end)
        took_ns = float("inf") if still_ns is None else still_ns - moment_ns
        to.stops.setdefault(said.sentence.text, []).append(took_ns)
        if still_ns is None:
            to.details.append(f"{said.who} {said.sentence.text!r} not heard: {_heard(played)}")


def measure(
    report: Report,
    label: str,
    commands: Sequence[Said],
    stops: Sequence[Said],
    conditions: dict[str, Callable[[Sound], Sound]],
) -> None:
    """Say everything in quiet, some of it in noise, and claim what was promised.

    ``conditions`` are those in noise; under each every fourth command is said.
    """
    clean = Delays()
    with contained() as (process, outside):
        outside.ask("switch_on")
        speaker = Speaker(outside)
        report.figure("memory before the first word", resident_mib(process.pid), "MiB")
        speaker.command(commands[0], lambda sound: sound, Delays())  # the first is slow
        used, started = cpu_seconds(process.pid), time.monotonic()
        for said in commands:
            speaker.command(said, lambda sound: sound, clean)
        for said in stops:
            speaker.stop(said, clean)
        seconds = time.monotonic() - started
        percent = 100 * (cpu_seconds(process.pid) - used) / seconds
        _tell(report, f"{label}, clean", clean)
        for name, spoil in conditions.items():
            noisy = Delays()
            for said in commands[::4]:
                speaker.command(said, spoil, noisy)
            _tell(report, f"{label}, {name}", noisy)
        outside.ask("switch_off")
        report.figure("memory at the end", resident_mib(process.pid), "MiB")
        peak = peak_mib(process.pid)
    report.figure("real time, clean part", seconds, "s")
    _claim_delays(report, label, clean)
    _claim_stages(report, clean)
    report.claim("voice-memory-peak-MiB", peak, at_most=MEMORY_BOUND_MIB)
    report.claim("voice-percent-of-a-core", percent, at_most=_CPU_BOUND_PERCENT)


def _tell(report: Report, what: str, delays: Delays) -> None:
    report.figure(f"{what}, in real time", delays.tally.line())
    if delays.since_word:
        report.figure(
            f"{what}, end of the last word to first command", percentiles(delays.since_word)
        )
        what_stamp = f"{what}, stamp of the last speech sample to first command"
        report.figure(what_stamp, percentiles(delays.since_stamp))
    for phrase, took_ns in delays.stops.items():
        report.figure(f"{what}, end of {phrase!r} to zero velocity", percentiles(took_ns))
        missed = sum(took == float("inf") for took in took_ns)
        report.figure(f"{what}, {phrase!r} that was not heard", missed)
    for detail in delays.details:
        print(f"    {detail}")
    for key, count in dropped(delays.events).items():
        report.figure(f"{what}, dropped by {key}", count)


def _heard(played: Played) -> list[str]:
    transcripts = said_since(played.events, "/ai/transcript", played.start_ns)
    return [each.text or each.problem for each in transcripts if each.is_final]


def _claim_delays(report: Report, label: str, delays: Delays) -> None:
    p95 = p95_ms(delays.since_word)
    report.claim(f"voice-{label}-clean-command-p95-ms", p95, at_most=_DELAY_BOUND_MS)
    if _STOP in delays.stops:
        p95 = p95_ms(delays.stops[_STOP])
        report.claim(f"voice-{label}-clean-stop-p95-ms", p95, at_most=_STOP_BOUND_MS)
        every = [took_ns for of_phrase in delays.stops.values() for took_ns in of_phrase]
        p95 = p95_ms(every)
        report.claim(f"voice-{label}-clean-every-stop-phrase-p95-ms", p95, at_most=_STOP_BOUND_MS)


def _claim_stages(report: Report, delays: Delays) -> None:
    timings = of_topic(delays.events, "/ai/stage_timing")
    for stage in STAGES:
        found = [
            round(timing.process_ms * 1e6)
            for timing in timings
            if timing.stage == stage and timing.process_ms is not None
        ]
        p95 = p95_ms(found)
        if found:
            report.figure(f"stage {stage}", percentiles(found))
        if stage in _STAGE_BOUNDS_MS:
            bound = _STAGE_BOUNDS_MS[stage]
            report.claim(f"voice-stage-{stage}-p95-ms", p95, at_most=bound)
        report.claim(f"voice-stage-{stage}-rate-Hz", 1000 / p95, at_least=_RATE_BOUND_HZ)
    if delays.cycles:
        report.figure("velocity to velocity while moving", percentiles(delays.cycles))
    report.claim("voice-control-cycle-p95-ms", p95_ms(delays.cycles), at_most=_CYCLE_BOUND_MS)
