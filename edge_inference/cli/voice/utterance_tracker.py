"""What became of each utterance, and how long after its last word."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from edge_inference.core.audio import SpeechSegment
from edge_inference.core.voice import ActionPlan, ActionStep, Intent, Transcript
from edge_inference.speech.planning.motion import MotionFeedback, MotionState

#: Ahead in m/s, to the left in rad/s.
Velocity: TypeAlias = tuple[float, float]
#: Stages in their order.
STAGES = ("speech", "text", "intent", "plan", "command")
#: What a robot does by its velocity.
_DRIVES = ("move", "turn")


@dataclass
class Utterance:
    """One utterance; ``after_ms`` is from its last word to the end of each stage."""

    stamp_ns: int
    start_ns: int = 0
    transcript: Transcript | None = None
    intent: Intent | None = None
    plan: ActionPlan | None = None
    #: Why the plan was not taken up.
    problem: str = ""
    after_ms: dict[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return it as ``--json`` prints it."""
        intent, plan, said = self.intent, self.plan, self.transcript
        slots = {} if intent is None else {name: s.value for name, s in intent.slots.items()}
        return {
            "stamp": self.stamp_ns / 1e9,
            "text": "" if said is None else said.text,
            "confidence": None if said is None else said.confidence,
            "intent": "" if intent is None else intent.name,
            "slots": slots,
            "needs_confirmation": intent is not None and intent.needs_confirmation,
            "steps": [] if plan is None else [format_step(step) for step in plan.steps],
            "refused": plan is not None and plan.is_refused,
            "reason": self.reason,
            "ms": {name: round(ms, 1) for name, ms in self.after_ms.items()},
        }

    @property
    def reason(self) -> str:
        """Why nothing is done, empty where something is."""
        if self.transcript is None:
            return "it was not recognised"
        if self.problem:
            return self.problem
        for each in (self.transcript, self.intent):
            if each is not None and each.problem:
                return each.problem
        return self.plan.reason if self.plan is not None else ""

    def words(self) -> str:
        """Return it in a line."""
        text = self.transcript.text if self.transcript is not None else ""
        steps = self.plan.steps if self.plan is not None else ()
        done = ", then ".join(format_step(step) for step in steps)
        if self.problem or not done:
            done += f"{', but ' if done else ''}nothing: {self.reason}"
        times = ", ".join(f"{name} {ms:.0f}" for name, ms in self.after_ms.items())
        return f'"{text}" -> {done} (ms after the last word: {times})'

    @property
    def seen_ns(self) -> int:
        """The moment from which on it shows in what the robot does: that of the last stage."""
        after_ms = self.after_ms.get("command", max(self.after_ms.values(), default=0.0))
        return self.stamp_ns + round(after_ms * 1e6)


def format_step(step: ActionStep) -> str:
    """Return a step in words."""
    numbers = {
        "m": step.distance_m,
        "rad": step.angle_rad,
        "m/s": step.speed_mps,
        "rad/s": step.rate_radps,
    }
    parts = [f"{value:g} {unit}" for unit, value in numbers.items() if value is not None]
    return " ".join([step.action, *([step.target] if step.target else []), *parts])


class UtteranceTracker:
    """Gathers utterances by the stamp of their last word. Any thread may add.

    ``now_ns`` gives the clock of the stamps; ``finished`` is called with an utterance whose
    plan has come, and has moved or stopped the robot where it is to; or that came to nothing
    before.
    """

    def __init__(self, now_ns: Callable[[], int], finished: Callable[[Utterance], None]) -> None:
        self._now_ns = now_ns
        self._finished = finished
        self._lock = threading.Lock()
        self._open: dict[int, Utterance] = {}
        self._latest: Utterance | None = None
        #: The utterance whose plan has come and that has not moved or stopped the robot yet.
        self._to_move: int | None = None
        self._to_stop: int | None = None
        self._is_moving = False
        #: When the robot, moving, was last told to stand still.
        self._still_ns = 0
        #: How many utterances have begun and have come to their end.
        self.begun = self.ended = 0

    @property
    def is_at_work(self) -> bool:
        """Whether something that was said has not come to its end yet."""
        with self._lock:
            return self.begun > self.ended

    def add_speech(self, segment: SpeechSegment) -> None:
        """Take note of an utterance that is over."""
        if segment.is_final:
            with self._lock:
                self.begun += 1
                self._open[segment.stamp_ns] = Utterance(segment.stamp_ns, segment.start_ns)
                self._latest = self._open[segment.stamp_ns]
            self._note(segment.stamp_ns, "speech")

    def add_transcript(self, transcript: Transcript) -> None:
        """Take note of its words; without any it is over."""
        if transcript.is_final:
            self._note(transcript.stamp_ns, "text", transcript=transcript)
            if not transcript.text:
                self._finish(transcript.stamp_ns)

    def add_intent(self, intent: Intent) -> None:
        """Take note of what is meant; where nothing is, or it is not sure, it is over."""
        self._note(intent.stamp_ns, "intent", intent=intent)
        if not intent.name or intent.needs_confirmation:
            self._finish(intent.stamp_ns)

    def add_plan(self, plan: ActionPlan) -> None:
        """Take note of the plan; one that neither drives nor stops is over."""
        self._note(plan.stamp_ns, "plan", plan=plan)
        first = plan.steps[0].action if plan.steps else ""
        if first in _DRIVES:
            self._to_move = plan.stamp_ns
        elif first == "stop" and self._is_moving:
            self._to_stop = plan.stamp_ns
        else:
            if first == "stop":
                self._note_stopped(plan.stamp_ns)
            self._finish(plan.stamp_ns)

    def add_velocity(self, velocity: Velocity, moment_ns: int | None = None) -> None:
        """Take note of what the robot is told, to move or to stand still; now by default."""
        now_ns = self._now_ns() if moment_ns is None else moment_ns
        was_moving, self._is_moving = self._is_moving, any(velocity)
        if was_moving and not self._is_moving:
            self._still_ns = now_ns
        done = self._to_move if self._is_moving else self._to_stop
        if done is None:
            return
        if self._is_moving:
            self._to_move = None
        else:
            self._to_stop = None
        self._note(done, "command", now_ns)
        self._finish(done)

    def add_feedback(self, feedback: MotionFeedback) -> None:
        """Take note that a plan was not taken up, such as one that comes too late."""
        if feedback.state is MotionState.REFUSED and feedback.stamp_ns == self._to_move:
            self._to_move = None
            with self._lock:
                utterance = self._open.get(feedback.stamp_ns)
                if utterance is not None:
                    utterance.problem = feedback.problem
            self._finish(feedback.stamp_ns)

    def latest(self) -> Utterance | None:
        """Return the newest utterance as it is now; None before the first."""
        with self._lock:
            latest = self._latest
            return None if latest is None else replace(latest, after_ms=dict(latest.after_ms))

    def give_up(self) -> None:
        """Finish what is still open."""
        while self._open:
            self._finish(max(self._open))

    def _note(self, stamp_ns: int, stage: str, moment_ns: int | None = None, **found: Any) -> None:
        now_ns = self._now_ns() if moment_ns is None else moment_ns
        with self._lock:
            utterance = self._open.get(stamp_ns)
            if utterance is not None:
                utterance.after_ms[stage] = (now_ns - stamp_ns) / 1e6
                for name, value in found.items():
                    setattr(utterance, name, value)

    def _note_stopped(self, stamp_ns: int) -> None:
        """Note that it stopped the robot before its plan came, as stop does."""
        with self._lock:
            utterance = self._open.get(stamp_ns)
            if utterance is not None and self._still_ns >= utterance.start_ns > 0:
                utterance.after_ms["command"] = (self._still_ns - stamp_ns) / 1e6

    def _finish(self, stamp_ns: int) -> None:
        """Hand an utterance over; before it those said earlier, of which nothing comes any more."""
        with self._lock:
            if stamp_ns not in self._open:
                return
            over = [self._open.pop(each) for each in sorted(self._open) if each <= stamp_ns]
        for utterance in over:
            self._finished(utterance)
        with self._lock:
            self.ended += len(over)
