"""Planning: from an intent to permitted steps, or to the reason of a refusal."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import NamedTuple

from edge_inference.core.voice import (
    NO,
    STOP,
    UNKNOWN,
    YES,
    ActionPlan,
    ActionStep,
    Intent,
    Transcript,
)
from edge_inference.speech.language.affirmation import is_affirmation
from edge_inference.speech.language.intent_sequence import split_intent
from edge_inference.speech.language.stop_phrases import STOP_WORDS, closes_question
from edge_inference.speech.planning.limits import MotionLimits, VoiceLimits
from edge_inference.speech.planning.planner_slots import PlannerSlots, UnclearError

# Reasons are spoken, so their length is limited.
_MAX_REASON_CHARACTERS = 300
_MAX_QUOTED_CHARACTERS = 60
_NOT_ASKED = "I have not asked anything"
_CANCELLED = "Then I leave it"


class _Question(NamedTuple):
    intent: Intent
    asked_ns: int
    asked_steady_ns: int


class ActionPlanner:
    """Makes plans within limits.

    It knows the intents move, turn, go_to, pick, place, stop and look, the answers confirm and
    deny, and sequences of them. An intent that needs confirmation gives a refused plan whose reason
    is the question; the plan follows the answer. The time to answer is also checked by
    ``steady_ns``. A stop word or negation after the question closes it, even together with a yes;
    so does any other text that is neither understood nor a yes. A later yes moves nothing and gets
    the reason. Besides the intent confirm, :func:`is_affirmation` recognizes a yes. ``stop_words``
    may be replaced between two calls; ``observe`` and ``close_question`` may be called from other
    threads.
    """

    def __init__(
        self,
        limits: VoiceLimits,
        steady_ns: Callable[[], int] = time.monotonic_ns,
        stop_words: Collection[str] = STOP_WORDS,
    ) -> None:
        self.limits = limits
        self.stop_words = stop_words
        self._steady_ns = steady_ns
        self._lock = threading.RLock()
        self._question: _Question | None = None
        #: Why the last question is closed; empty if there was none, or if it was answered.
        self._closed = ""
        #: Whether the user must still be told that the question is closed.
        self._must_report_closing = False

    def plan(self, intent: Intent, now_ns: int | None = None) -> ActionPlan:
        """Return the plan for an intent; ``reason`` is spoken in either case.

        With ``now_ns`` an intent that is too old is refused, because it would not be executed. A
        question stays open until it is answered or closed, or until another command. The plan that
        says "Then I leave it" is one for the intent deny.
        """
        with self._lock:
            return self._plan(intent, now_ns)

    def observe(self, transcript: Transcript) -> None:
        """Record a transcript, final or partial: a stop or a negation closes the question.

        A transcript from before the question, or the one that the question is about, does not
        count.
        """
        with self._lock:
            question = self._question
            if question is None or 0 < transcript.stamp_ns <= question.intent.stamp_ns:
                return
            if closes_question(transcript.text, self.stop_words):
                self._close_by_speech(transcript.text)

    def close_question(self, why: str) -> None:
        """Close the open question, if any, for the reason ``why``."""
        with self._lock:
            if self._question is not None:
                self._question, self._closed = None, why

    def _close_by_speech(self, text: str) -> None:
        if self._question is not None:
            quoted = (
                text if len(text) <= _MAX_QUOTED_CHARACTERS else f"{text[:_MAX_QUOTED_CHARACTERS]}…"
            )
            self.close_question(f"You said {quoted!r} after I had asked")
            self._must_report_closing = True

    def _plan(self, intent: Intent, now_ns: int | None) -> ActionPlan:
        # An intent with a problem has no meaning, except stop.
        is_nothing = not intent.name or (bool(intent.problem) and intent.name != STOP)
        # A known text that is blocked or has low confidence is not a yes.
        is_new = is_nothing and not intent.name and intent.source == UNKNOWN
        if is_new and self._question is not None and is_affirmation(intent.text):
            is_nothing, intent = False, replace(intent, name=YES, problem="")
        if is_nothing and intent.text:
            self._close_by_speech(intent.text)
        must_report_closing, self._must_report_closing = self._must_report_closing, False
        if must_report_closing and (is_nothing or intent.name == NO):
            return _make_refusal(replace(intent, name=NO), _CANCELLED)
        if is_nothing:
            return _make_refusal(intent, intent.problem or "I did not understand that")
        question, self._question = self._question, None
        if question is not None and intent.name not in (YES, NO):
            self._closed = "You have asked for something else since"
        if now_ns is not None and intent.name != STOP and not intent.needs_confirmation:
            age = self.limits.objection_to_age(intent.stamp_ns, now_ns)
            if age:
                return _make_refusal(intent, age)
        if intent.name in (YES, NO):
            return self._resolve_answer(intent, question)
        plan = self._make_plan(intent)
        if plan.is_refused or not intent.needs_confirmation:
            return plan
        asked_ns = intent.stamp_ns if now_ns is None else now_ns
        self._question, self._closed = _Question(intent, asked_ns, self._steady_ns()), ""
        return _make_refusal(intent, f"Did you mean: {plan.reason}? Say yes or no")

    def _resolve_answer(self, answer: Intent, question: _Question | None) -> ActionPlan:
        closed, self._closed = self._closed, ""
        if question is None:
            again = f"{closed}, so I leave it; please say it again" if closed else _NOT_ASKED
            return _make_refusal(answer, again if answer.name == YES else _NOT_ASKED)
        if answer.name == NO:
            self._closed = "You said no"
            return _make_refusal(answer, _CANCELLED)
        objection = self._time_objection(answer, question)
        if objection:
            return _make_refusal(answer, objection)
        # The answer starts the plan: delays and ages count from its stamp.
        plan = replace(question.intent, stamp_ns=answer.stamp_ns, frame_id=answer.frame_id)
        return self._make_plan(plan)

    def _time_objection(self, answer: Intent, question: _Question) -> str:
        waited_ns = answer.stamp_ns - question.asked_ns
        if waited_ns < 0:  # it was not an answer to this question
            return _NOT_ASKED
        waited_s = max(waited_ns, self._steady_ns() - question.asked_steady_ns) / 1e9
        if waited_s > (max_wait_s := self.limits.plan.confirmation_s):
            too_late = f"I asked {waited_s:.1f} seconds ago, and wait for {max_wait_s:g}"
            return f"{too_late}; please say it again"
        return ""

    def _make_plan(self, intent: Intent) -> ActionPlan:
        steps: list[ActionStep] = []
        try:
            parts = split_intent(intent)
            if sum(len(part.slots) for part in parts) != len(intent.slots):
                raise UnclearError("I do not know which part of that a value belongs to")
            for part in parts:
                steps += _steps(part, self.limits.motion)
        except UnclearError as unclear:
            return _make_refusal(intent, str(unclear))
        # A stop ends the whole plan: no step follows it.
        last = next(
            (index for index, step in enumerate(steps) if step.action == "stop"), len(steps)
        )
        steps = steps[: last + 1]
        max_steps = self.limits.plan.max_steps
        if len(steps) > max_steps:
            return _make_refusal(intent, f"{len(steps)} steps are too many. I may do {max_steps}")
        objection = next(filter(None, map(self.limits.objection, steps)), "")
        if objection:
            return _make_refusal(intent, objection)
        return ActionPlan(
            intent=intent.name,
            steps=tuple(steps),
            stamp_ns=intent.stamp_ns,
            reason=", then ".join(map(describe_step, steps)),
            frame_id=intent.frame_id,
        )


def describe_step(step: ActionStep) -> str:
    """Return the spoken description of a step."""
    if step.action == "move" and step.distance_m is not None:
        direction = "forward" if step.distance_m >= 0 else "back"
        return f"going {direction} {abs(step.distance_m):.3g} meters"
    if step.action == "turn" and step.angle_rad is not None:
        side = "left" if step.angle_rad >= 0 else "right"
        return f"turning {side} {abs(math.degrees(step.angle_rad)):.3g} degrees"
    words = {
        "go_to": "going to the",
        "pick": "picking up the",
        "place": "putting down the",
        "look": "looking for the" if step.target else "looking",
        "stop": "stopping",
        "say": "saying",
    }
    return f"{words.get(step.action, step.action)} {step.target}".strip()


def _make_refusal(intent: Intent, reason: str) -> ActionPlan:
    return ActionPlan(
        intent=intent.name,
        steps=(),
        stamp_ns=intent.stamp_ns,
        is_refused=True,
        reason=reason
        if len(reason) <= _MAX_REASON_CHARACTERS
        else f"{reason[:_MAX_REASON_CHARACTERS]}…",
        frame_id=intent.frame_id,
    )


def _move(slots: PlannerSlots, limits: MotionLimits) -> list[ActionStep]:
    direction = slots.choice("direction", ("forward", "backward"))
    speed_mps = slots.size("speed", "m/s")
    distance_m, duration_s = slots.size("distance", "m"), slots.size("duration", "s")
    if distance_m is not None and duration_s is not None:
        raise UnclearError("I can go for a distance or for a time, not for both")
    speed_mps = limits.default_speed_mps if speed_mps is None else speed_mps
    if duration_s is not None:
        distance_m = duration_s * speed_mps
    elif distance_m is None:
        distance_m = limits.default_distance_m
    signed_m = -distance_m if direction == "backward" else distance_m
    return [ActionStep("move", distance_m=signed_m, speed_mps=speed_mps)]


def _turn(slots: PlannerSlots, limits: MotionLimits) -> list[ActionStep]:
    direction = slots.choice("direction", ("left", "right", "around"))
    angle_rad, rate_radps = slots.size("angle", "rad"), slots.size("rate", "rad/s")
    if angle_rad is None:
        angle_rad = math.pi if direction == "around" else limits.default_angle_rad
    signed_rad = -angle_rad if direction == "right" else angle_rad
    return [
        ActionStep(
            "turn",
            angle_rad=signed_rad,
            rate_radps=limits.default_rate_radps if rate_radps is None else rate_radps,
        )
    ]


def _go_to(slots: PlannerSlots, limits: MotionLimits) -> list[ActionStep]:
    return [ActionStep("go_to", target=slots.word("place"))]


def _pick(slots: PlannerSlots, limits: MotionLimits) -> list[ActionStep]:
    return [ActionStep("pick", target=slots.word("thing"))]


def _place(slots: PlannerSlots, limits: MotionLimits) -> list[ActionStep]:
    place = slots.word("place")
    steps = [ActionStep("go_to", target=place)] if place else []
    return [*steps, ActionStep("place", target=slots.word("thing"))]


def _look(slots: PlannerSlots, limits: MotionLimits) -> list[ActionStep]:
    return [ActionStep("look", target=slots.word("thing"))]


_STEPS: dict[str, Callable[[PlannerSlots, MotionLimits], list[ActionStep]]] = {
    "move": _move,
    "turn": _turn,
    "go_to": _go_to,
    "pick": _pick,
    "place": _place,
    "look": _look,
}


def _steps(intent: Intent, limits: MotionLimits) -> list[ActionStep]:
    """Return the steps of one intent. Raises UnclearError."""
    if intent.name == STOP:  # regardless of its slots
        return [ActionStep("stop")]
    make = _STEPS.get(intent.name)
    if make is None:
        raise UnclearError(f"I do not know how to {intent.name.replace('_', ' ') or 'do that'}")
    slots = PlannerSlots(intent.slots, intent.name)
    steps = make(slots, limits)
    slots.finish()
    return steps
