"""Planning: from an intent to permitted steps, or to the reason of a refusal."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

from edge_inference.core.voice import (
    NO,
    STOP,
    UNKNOWN,
    YES,
    ActionPlan,
    ActionStep,
    Intent,
    IntentArray,
    Transcript,
)
from edge_inference.speech.actions.limits import VoiceLimits
from edge_inference.speech.actions.slots import SlotValues, UnclearError, shorten_for_speech
from edge_inference.speech.actions.table import (
    describe_step,
    find_action,
    is_allowed,
    may_move,
    step_objection,
)
from edge_inference.speech.language.affirmation import is_affirmation
from edge_inference.speech.language.stop_phrases import STOP_WORDS, closes_question

# Reasons are spoken, so their length is limited.
_MAX_REASON_CHARACTERS = 300
_MAX_QUOTED_CHARACTERS = 60
# Also of a long sequence, so that other processes accept the plan.
_MAX_INTENT_CHARACTERS = 200
_NOT_ASKED = "I have not asked anything"
_CANCELLED = "Then I leave it"


class _Question(NamedTuple):
    asked: IntentArray
    asked_ns: int
    asked_steady_ns: int


class ActionPlanner:
    """Makes plans within limits.

    It knows the intents of the table of actions, and the answers confirm and deny. Intents that
    need confirmation give a refused plan whose reason is the question; the plan follows the answer.
    The time to answer is also checked by ``steady_ns``. A stop word or negation after the question
    closes it, even together with a yes; so does any other text that is neither understood nor a
    yes. A later yes moves nothing and gets the reason. Besides the intent confirm,
    :func:`is_affirmation` recognizes a yes. A stop needs no confirmation, and a stop among intents
    that are refused, or that wait for an answer, stops at once.

    Every method may be called from any thread, and none waits for the plan of another call: it may
    come from another package. ``stop_words`` may be replaced between two calls.
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

    def plan(self, asked: IntentArray, now_ns: int | None = None) -> ActionPlan:
        """Return the plan for an utterance; ``reason`` is spoken in either case.

        With ``now_ns`` one that is too old is refused, because it would not be executed. A
        question stays open until it is answered or closed, or until another command. The plan that
        says "Then I leave it" is one for the intent deny.
        """
        with self._lock:
            decided = self._decide(asked, now_ns)
        if isinstance(decided, ActionPlan):
            return decided
        if not decided.needs_confirmation:
            return self._make_plan(decided)
        plan = None
        try:
            plan = self._make_plan(decided)
        finally:
            if plan is None or plan.is_refused:
                self.close_question("")
        if plan.is_refused:
            return plan
        return make_refusal(decided, f"Did you mean: {plan.reason}? Say yes or no")

    def observe(self, transcript: Transcript) -> None:
        """Record a transcript, final or partial: a stop or a negation closes the question.

        A transcript from before the question, or the one that the question is about, does not
        count.
        """
        with self._lock:
            question = self._question
            if question is None or 0 < transcript.stamp_ns <= question.asked.stamp_ns:
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
            quoted = _shorten(text, _MAX_QUOTED_CHARACTERS)
            self.close_question(f"You said {quoted!r} after I had asked")
            self._must_report_closing = True

    def _decide(self, asked: IntentArray, now_ns: int | None) -> ActionPlan | IntentArray:
        """Return a refused plan, or the intents to plan, after opening or closing a question."""
        is_stop = asked.is_only(STOP)
        if is_stop:  # whatever else there is to say about it
            asked = replace(asked, needs_confirmation=False, problem="")
        # An uncertain yes is none. An utterance with a problem has no meaning.
        is_uncertain = asked.is_only(YES) and asked.needs_confirmation
        is_nothing = not asked.intents or bool(asked.problem) or is_uncertain
        # A known text that is blocked or has low confidence is not a yes.
        is_new = not asked.intents and asked.source == UNKNOWN
        if is_new and self._question is not None and is_affirmation(asked.text):
            is_nothing, asked = False, replace(asked, intents=(Intent(YES),), problem="")
        if is_nothing and asked.text:
            self._close_by_speech(asked.text)
        must_report_closing, self._must_report_closing = self._must_report_closing, False
        if must_report_closing and (is_nothing or asked.is_only(NO)) and STOP not in asked.names:
            return make_refusal(replace(asked, intents=(Intent(NO),)), _CANCELLED)
        if is_nothing:
            return make_refusal(asked, asked.problem or "I did not understand that")
        is_answer = asked.is_only(YES, NO)
        question, self._question = self._question, None
        if question is not None and not is_answer:
            self._closed = "You have asked for something else since"
        if now_ns is not None and not is_stop and not asked.needs_confirmation:
            age = self.limits.objection_to_age(asked.stamp_ns, now_ns)
            if age:
                return make_refusal(asked, age)
        if is_answer:
            return self._resolve_answer(asked, question)
        if asked.needs_confirmation:
            # Before it is asked, so that speech during the planning closes it too.
            asked_ns = asked.stamp_ns if now_ns is None else now_ns
            self._question, self._closed = _Question(asked, asked_ns, self._steady_ns()), ""
        return asked

    def _resolve_answer(
        self, answer: IntentArray, question: _Question | None
    ) -> ActionPlan | IntentArray:
        closed, self._closed = self._closed, ""
        if question is None:
            again = f"{closed}, so I leave it; please say it again" if closed else _NOT_ASKED
            return make_refusal(answer, again if answer.is_only(YES) else _NOT_ASKED)
        if answer.is_only(NO):
            self._closed = "You said no"
            return make_refusal(answer, _CANCELLED)
        objection = self._time_objection(answer, question)
        if objection:
            return make_refusal(answer, objection)
        # The answer starts the plan: delays and ages count from its stamp.
        return replace(
            question.asked,
            stamp_ns=answer.stamp_ns,
            frame_id=answer.frame_id,
            needs_confirmation=False,
        )

    def _time_objection(self, answer: IntentArray, question: _Question) -> str:
        waited_ns = answer.stamp_ns - question.asked_ns
        if waited_ns < 0:  # it was not an answer to this question
            return _NOT_ASKED
        waited_s = max(waited_ns, self._steady_ns() - question.asked_steady_ns) / 1e9
        if waited_s > (max_wait_s := self.limits.plan.confirmation_s):
            too_late = f"I asked {waited_s:.1f} seconds ago, and wait for {max_wait_s:g}"
            return f"{too_late}; please say it again"
        return ""

    def _make_plan(self, asked: IntentArray) -> ActionPlan:
        steps: list[ActionStep] = []
        try:
            for intent in asked.intents:
                steps += _plan_intent(intent, self.limits)
        except UnclearError as unclear:
            return make_refusal(asked, str(unclear))
        # A stop ends the whole plan: no step follows it.
        last = next((index for index, step in enumerate(steps) if step.action == STOP), len(steps))
        steps = steps[: last + 1]
        max_steps = self.limits.plan.max_steps
        if len(steps) > max_steps:
            return make_refusal(asked, f"{len(steps)} steps are too many. I may do {max_steps}")
        for step in steps:
            if objection := step_objection(step, self.limits):
                return make_refusal(asked, objection)
        return ActionPlan(
            intent=_describe_intents(asked),
            steps=tuple(steps),
            stamp_ns=asked.stamp_ns,
            reason=_shorten(", then ".join(map(describe_step, steps)), _MAX_REASON_CHARACTERS),
            frame_id=asked.frame_id,
        )


def _describe_intents(asked: IntentArray) -> str:
    return _shorten(" then ".join(asked.names), _MAX_INTENT_CHARACTERS)


def make_refusal(asked: IntentArray, reason: str) -> ActionPlan:
    """Return a refused plan with a reason to speak, shortened if it is long.

    If there is a stop among the intents, the plan is this stop.
    """
    is_stop = STOP in asked.names
    return ActionPlan(
        intent=_describe_intents(asked),
        steps=(ActionStep(STOP),) if is_stop else (),
        stamp_ns=asked.stamp_ns,
        is_refused=not is_stop,
        reason=_shorten(reason, _MAX_REASON_CHARACTERS),
        frame_id=asked.frame_id,
    )


def _shorten(text: str, max_characters: int) -> str:
    return text if len(text) <= max_characters else f"{text[:max_characters]}…"


def _plan_intent(intent: Intent, limits: VoiceLimits) -> Sequence[ActionStep]:
    """Return the steps of one intent. Raises UnclearError."""
    if intent.name == STOP:  # regardless of its slots
        return [ActionStep(STOP)]
    name = shorten_for_speech(intent.name.replace("_", " "))
    action = find_action(intent.name)
    if action is None or action.plan is None:
        raise UnclearError(f"I do not know how to {name or 'do that'}")
    if not is_allowed(action, limits.plan):  # its steps may be those of other actions
        raise UnclearError(action.refusal)
    planned = action.plan(SlotValues(intent, action.slots), limits)
    # One more than allowed is enough to refuse them.
    steps = tuple(islice(planned, limits.plan.max_steps + 1))
    if not steps:
        raise UnclearError(f"I do not know what to do for {name}")
    # Its intent needs no confirmation, so its steps must leave the robot standing.
    if not action.moves_robot and any(may_move(step.action) for step in steps):
        raise UnclearError(f"I may not move for {name}")
    return steps
