"""Adapters for Transcript, IntentArray and ActionPlan."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from edge_inference.composition.adapter import Adapter
from edge_inference.composition.message_bounds import MessageBounds
from edge_inference.core import voice as core
from edge_inference.errors import InputError
from edge_inference.msg import (
    ActionPlan,
    ActionStep,
    Intent,
    IntentArray,
    IntentSlot,
    Transcript,
)
from edge_inference.nodes.conversions.headers import stamp_ns, time_ns, to_header, to_time
from edge_inference.nodes.conversions.numbers import (
    SHARE,
    SLOT_VALUE,
    from_optional,
    to_number,
)
from edge_inference.speech.actions.table import step_actions

_MODES = ("command", "free")
#: The largest magnitude of a step, in m, rad, m/s or rad/s.
_MAX_MAGNITUDE = 1e6


class TranscriptAdapter(Adapter[core.Transcript]):
    """A transcript of speech."""

    message_type = Transcript

    def to_message(self, item: core.Transcript) -> Transcript:
        """Build the message."""
        return Transcript(
            header=to_header(item.stamp_ns, item.frame_id),
            text=item.text,
            confidence=item.confidence,
            mode=item.mode,
            is_final=item.is_final,
            locale=item.locale,
            problem=item.problem,
            start=to_time(item.start_ns),
        )

    def from_message(self, message: Transcript) -> core.Transcript:
        """Build the object.

        An empty mode means free. Raises InputError for an unknown mode, an invalid confidence and
        an end before the start.
        """
        mode = message.mode or "free"
        if mode not in _MODES:
            raise InputError(f"Transcript: mode: expected {' or '.join(_MODES)}, got {mode!r}")
        start_ns, end_ns = time_ns(message.start), stamp_ns(message.header)
        if end_ns < start_ns:
            raise InputError(
                f"Transcript: expected a stamp (last sample) after start, got {end_ns} ns before "
                f"{start_ns} ns; set start to zero if it is unknown"
            )
        return core.Transcript(
            text=message.text,
            confidence=_confidence(message),
            mode=mode,
            stamp_ns=end_ns,
            is_final=message.is_final,
            locale=message.locale,
            problem=message.problem,
            frame_id=message.header.frame_id,
            start_ns=start_ns,
        )


class IntentArrayAdapter(Adapter[core.IntentArray]):
    """The intents of an utterance, with their slots."""

    message_type = IntentArray
    bounds = MessageBounds(counts={"intents": 100, "slots": 50})

    def to_message(self, item: core.IntentArray) -> IntentArray:
        """Build the message."""
        return IntentArray(
            header=to_header(item.stamp_ns, item.frame_id),
            intents=[
                Intent(name=intent.name, slots=[_to_slot(slot) for slot in intent.slots.values()])
                for intent in item.intents
            ],
            confidence=item.confidence,
            text=item.text,
            source=item.source,
            needs_confirmation=item.needs_confirmation,
            problem=item.problem,
        )

    def from_message(self, message: IntentArray) -> core.IntentArray:
        """Build the object.

        Raises InputError for an intent without a name, a slot without a value, a slot that occurs
        twice and an unknown source (the source tells how far the intents can be trusted).
        """
        intents = tuple(map(_from_intent, message.intents))
        confidence = _confidence(message)
        if message.source not in core.INTENT_SOURCES:
            raise InputError(
                f"IntentArray: source: expected one of {', '.join(core.INTENT_SOURCES)}, got "
                f"{message.source!r}; use grammar for intents that are written by hand"
            )
        return core.IntentArray(
            intents=intents,
            confidence=confidence,
            text=message.text,
            source=message.source,
            stamp_ns=stamp_ns(message.header),
            needs_confirmation=message.needs_confirmation,
            problem=message.problem,
            frame_id=message.header.frame_id,
        )


class ActionPlanAdapter(Adapter[core.ActionPlan]):
    """A plan; its ``facts`` are not part of the message."""

    message_type = ActionPlan
    bounds = MessageBounds(counts={"steps": 100, "values": 20})

    def to_message(self, item: core.ActionPlan) -> ActionPlan:
        """Build the message."""
        return ActionPlan(
            header=to_header(item.stamp_ns, item.frame_id),
            intent=item.intent,
            steps=[to_step(step) for step in item.steps],
            is_refused=item.is_refused,
            reason=item.reason,
        )

    def from_message(self, message: ActionPlan) -> core.ActionPlan:
        """Build the object; raises InputError for invalid steps."""
        if message.is_refused and message.steps:
            raise InputError(
                f"ActionPlan {message.intent!r}: expected no steps in a refused plan, got "
                f"{len(message.steps)}"
            )
        return core.ActionPlan(
            intent=message.intent,
            steps=tuple(from_step(step) for step in message.steps),
            stamp_ns=stamp_ns(message.header),
            is_refused=message.is_refused,
            reason=message.reason,
            frame_id=message.header.frame_id,
        )


def _confidence(message: Any) -> float:
    return to_number(message.confidence, SHARE, f"{type(message).__name__}: confidence")


def _from_intent(message: Intent) -> core.Intent:
    if not message.name:
        raise InputError("Intent: name: expected the name of an intent, got none")
    return core.Intent(message.name, _from_slots(message.slots, f"Intent {message.name!r}"))


def _from_slots(messages: Sequence[IntentSlot], owner: str) -> dict[str, core.IntentSlot]:
    slots = {slot.name: _from_slot(slot) for slot in messages}
    if len(slots) != len(messages):
        names = ", ".join(slot.name for slot in messages)
        raise InputError(f"{owner}: expected each slot once, got {names}")
    return slots


def _to_slot(slot: core.IntentSlot) -> IntentSlot:
    if isinstance(slot.value, str):
        return IntentSlot(name=slot.name, text=slot.value, value=math.nan, unit=slot.unit)
    return IntentSlot(name=slot.name, value=float(slot.value), unit=slot.unit)


def _from_slot(message: IntentSlot) -> core.IntentSlot:
    if message.text:
        return core.IntentSlot(message.name, message.text, message.unit)
    if not math.isfinite(message.value):
        raise InputError(
            f"IntentSlot {message.name!r}: expected a text or a number, got no text and "
            f"{message.value:g}"
        )
    value = to_number(message.value, SLOT_VALUE, f"IntentSlot {message.name!r}: value")
    return core.IntentSlot(message.name, value, message.unit)


def to_step(step: core.ActionStep) -> ActionStep:
    """Return a step as a message."""
    return ActionStep(
        action=step.action,
        distance_m=from_optional(step.distance_m),
        angle_rad=from_optional(step.angle_rad),
        speed_mps=from_optional(step.speed_mps),
        rate_radps=from_optional(step.rate_radps),
        target=step.target,
        values=[_to_slot(slot) for slot in step.values],
    )


def from_step(message: ActionStep) -> core.ActionStep:
    """Return the step of a message; raises InputError for an invalid one."""
    if message.action not in (actions := step_actions()):
        raise InputError(
            f"ActionStep: action: expected one of {', '.join(actions)}, got {message.action!r}"
        )
    return core.ActionStep(
        action=message.action,
        distance_m=_number(message, "distance_m"),
        angle_rad=_number(message, "angle_rad"),
        speed_mps=_number(message, "speed_mps", minimum=0.0),
        rate_radps=_number(message, "rate_radps", minimum=0.0),
        target=message.target,
        values=tuple(_from_slots(message.values, f"ActionStep {message.action}").values()),
    )


def _number(message: ActionStep, field: str, minimum: float = -math.inf) -> float | None:
    value = float(getattr(message, field))
    if math.isnan(value):
        return None
    if abs(value) > _MAX_MAGNITUDE or value < minimum:
        expected = "a magnitude" if minimum == 0.0 else "a number"
        raise InputError(
            f"ActionStep {message.action}: {field}: expected {expected}, or NaN where it does not "
            f"apply, got {value:g}"
        )
    return value
