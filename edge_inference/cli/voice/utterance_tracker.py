"""Tracks each utterance through the stages, with the times after its last word."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from edge_inference.cli.sessions.latency_format import timeline_to_json
from edge_inference.core.audio import SpeechSegment
from edge_inference.core.voice import (
    STOP,
    ActionPlan,
    ActionStep,
    Intent,
    IntentArray,
    Transcript,
)
from edge_inference.observe.frame_timeline import FrameTimeline
from edge_inference.speech.actions.table import is_velocity
from edge_inference.speech.planning.motion import MotionFeedback, MotionState

#: Forward in m/s, counterclockwise in rad/s.
Velocity: TypeAlias = tuple[float, float]
#: The stages in their order.
STAGES = ("speech", "text", "intent", "plan", "command")


@dataclass
class Utterance:
    """One utterance; ``after_ms`` are the times from its last word to the end of each stage.

    ``timeline`` is its way through the stages from its last word on.
    """

    stamp_ns: int
    start_ns: int = 0
    transcript: Transcript | None = None
    spoken: IntentArray | None = None
    plan: ActionPlan | None = None
    #: Why the plan was not executed.
    problem: str = ""
    after_ms: dict[str, float] = field(default_factory=dict)
    timeline: FrameTimeline | None = None

    def as_json(self) -> dict[str, Any]:
        """Return it as ``--json`` prints it."""
        spoken, plan, transcript = self.spoken, self.plan, self.transcript
        return {
            "stamp": self.stamp_ns / 1e9,
            "text": "" if transcript is None else transcript.text,
            "confidence": None if transcript is None else transcript.confidence,
            "intents": [] if spoken is None else list(map(_intent_as_json, spoken.intents)),
            "needs_confirmation": spoken is not None and spoken.needs_confirmation,
            "steps": [] if plan is None else [format_step(step) for step in plan.steps],
            "refused": plan is not None and plan.is_refused,
            "reason": self.reason,
            "ms": {name: round(ms, 1) for name, ms in self.after_ms.items()},
            **timeline_to_json(self.timeline),
        }

    @property
    def reason(self) -> str:
        """Why no plan is executed; empty if one is."""
        if self.transcript is None:
            return "it was not recognized"
        if self.problem:
            return self.problem
        for each in (self.transcript, self.spoken):
            if each is not None and each.problem:
                return each.problem
        return self.plan.reason if self.plan is not None else ""

    def describe(self) -> str:
        """Return it as one line of text."""
        text = self.transcript.text if self.transcript is not None else ""
        steps = self.plan.steps if self.plan is not None else ()
        actions = ", then ".join(format_step(step) for step in steps)
        if self.problem or not actions:
            actions += f"{', but ' if actions else ''}nothing: {self.reason}"
        times = ", ".join(f"{name} {ms:.0f}" for name, ms in self.after_ms.items())
        return f'"{text}" -> {actions} (ms after the last word: {times})'

    @property
    def seen_ns(self) -> int:
        """The moment of the last stage, from which the robot's motion belongs to this utterance."""
        after_ms = self.after_ms.get("command", max(self.after_ms.values(), default=0.0))
        return self.stamp_ns + round(after_ms * 1e6)


def format_step(step: ActionStep) -> str:
    """Return a step as text."""
    numbers = {
        "m": step.distance_m,
        "rad": step.angle_rad,
        "m/s": step.speed_mps,
        "rad/s": step.rate_radps,
    }
    parts = [f"{value:g} {unit}" for unit, value in numbers.items() if value is not None]
    parts += [f"{slot.name} {format_value(slot.value)}" for slot in step.values]
    return " ".join([step.action, *([step.target] if step.target else []), *parts])


def format_intents(intents: Sequence[Mapping[str, Any]]) -> str:
    """Return the intents of an utterance, as ``--json`` prints them, as text."""
    return ", then ".join(
        " ".join([intent["name"], *(f"{k} {format_value(v)}" for k, v in intent["slots"].items())])
        for intent in intents
    )


def format_value(value: float | str) -> str:
    """Return the value of a slot as text."""
    return f"{value:g}" if isinstance(value, float) else value


def _intent_as_json(intent: Intent) -> dict[str, Any]:
    return {
        "name": intent.name,
        "slots": {name: slot.value for name, slot in intent.slots.items()},
    }


class UtteranceTracker:
    """Tracks utterances by the stamp of their last word. Thread-safe.

    ``now_ns`` is the clock of the stamps. ``finished`` is called with each utterance once its plan
    has moved or stopped the robot, or once an earlier stage has ended it.
    """

    def __init__(self, now_ns: Callable[[], int], finished: Callable[[Utterance], None]) -> None:
        self._now_ns = now_ns
        self._finished = finished
        self._lock = threading.Lock()
        self._open: dict[int, Utterance] = {}
        self._latest: Utterance | None = None
        #: Stamps of utterances whose plan has not moved, or not stopped, the robot yet.
        self._awaiting_motion: int | None = None
        self._awaiting_stop: int | None = None
        self._is_moving = False
        #: When the velocity last changed from motion to zero.
        self._still_ns = 0
        #: How many utterances have begun, and how many have ended.
        self.begun = self.ended = 0

    @property
    def is_busy(self) -> bool:
        """Whether an utterance is still being processed."""
        with self._lock:
            return self.begun > self.ended

    def add_speech(self, segment: SpeechSegment) -> None:
        """Add an utterance if its segment is final."""
        if segment.is_final:
            with self._lock:
                self.begun += 1
                self._open[segment.stamp_ns] = Utterance(segment.stamp_ns, segment.start_ns)
                self._latest = self._open[segment.stamp_ns]
            self._record(segment.stamp_ns, "speech")

    def add_transcript(self, transcript: Transcript) -> None:
        """Add the final transcript; one without text ends the utterance."""
        if transcript.is_final:
            self._record(transcript.stamp_ns, "text", transcript=transcript)
            if not transcript.text:
                self._finish(transcript.stamp_ns)

    def add_intents(self, spoken: IntentArray) -> None:
        """Add the intents; none, or a need of confirmation, ends the utterance."""
        self._record(spoken.stamp_ns, "intent", spoken=spoken)
        if not spoken.intents or spoken.needs_confirmation:
            self._finish(spoken.stamp_ns)

    def add_plan(self, plan: ActionPlan) -> None:
        """Add the plan; one that neither drives nor stops ends the utterance."""
        self._record(plan.stamp_ns, "plan", plan=plan)
        first = plan.steps[0].action if plan.steps else ""
        if is_velocity(first):
            self._awaiting_motion = plan.stamp_ns
        elif first == STOP and self._is_moving:
            self._awaiting_stop = plan.stamp_ns
        else:
            if first == STOP:
                self._record_stop(plan.stamp_ns)
            self._finish(plan.stamp_ns)

    def add_velocity(self, velocity: Velocity, moment_ns: int | None = None) -> None:
        """Add a velocity; ``moment_ns`` is now by default."""
        now_ns = self._now_ns() if moment_ns is None else moment_ns
        was_moving, self._is_moving = self._is_moving, any(velocity)
        if was_moving and not self._is_moving:
            self._still_ns = now_ns
        done = self._awaiting_motion if self._is_moving else self._awaiting_stop
        if done is None:
            return
        if self._is_moving:
            self._awaiting_motion = None
        else:
            self._awaiting_stop = None
        self._record(done, "command", now_ns)
        self._finish(done)

    def add_feedback(self, feedback: MotionFeedback) -> None:
        """Add feedback; a refused plan ends the utterance."""
        if feedback.state is MotionState.REFUSED and feedback.stamp_ns == self._awaiting_motion:
            self._awaiting_motion = None
            with self._lock:
                utterance = self._open.get(feedback.stamp_ns)
                if utterance is not None:
                    utterance.problem = feedback.problem
            self._finish(feedback.stamp_ns)

    def latest(self) -> Utterance | None:
        """Return a copy of the newest utterance; None before the first."""
        with self._lock:
            latest = self._latest
            return None if latest is None else replace(latest, after_ms=dict(latest.after_ms))

    def finish_open(self) -> None:
        """Finish all open utterances."""
        while self._open:
            self._finish(max(self._open))

    def _record(
        self, stamp_ns: int, stage: str, moment_ns: int | None = None, **found: Any
    ) -> None:
        now_ns = self._now_ns() if moment_ns is None else moment_ns
        with self._lock:
            utterance = self._open.get(stamp_ns)
            if utterance is not None:
                utterance.after_ms[stage] = (now_ns - stamp_ns) / 1e6
                for name, value in found.items():
                    setattr(utterance, name, value)

    def _record_stop(self, stamp_ns: int) -> None:
        """Record the time of a stop that acted before its plan arrived."""
        with self._lock:
            utterance = self._open.get(stamp_ns)
            if utterance is not None and self._still_ns >= utterance.start_ns > 0:
                utterance.after_ms["command"] = (self._still_ns - stamp_ns) / 1e6

    def _finish(self, stamp_ns: int) -> None:
        """Report an utterance as finished, and before it all earlier ones."""
        with self._lock:
            if stamp_ns not in self._open:
                return
            over = [self._open.pop(each) for each in sorted(self._open) if each <= stamp_ns]
        for utterance in over:
            self._finished(utterance)
        with self._lock:
            self.ended += len(over)
