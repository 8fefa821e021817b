"""The newest of each step of a voice pipeline."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

from edge_inference.core.text_line import one_line
from edge_inference.core.voice import (
    STEP_VALUES,
    ActionPlan,
    ActionStep,
    Intent,
    IntentArray,
    IntentSlot,
    Transcript,
)
from edge_inference.observe.monitor.snapshot import VoiceRow

_MAX_TEXT = 500
_MAX_ITEMS = 100
_UNITS = {"distance_m": "m", "angle_rad": "rad", "speed_mps": "m/s", "rate_radps": "rad/s"}


class VoiceState:
    """Takes what comes on the topics of a voice pipeline. Not thread-safe."""

    def __init__(self) -> None:
        self._row = VoiceRow()
        self._readers: dict[str, Callable[[Any], dict[str, Any]]] = {
            "transcript": _read_transcript,
            "intent": _read_intents,
            "action_plan": _read_plan,
            "command_feedback": _read_feedback,
            "say": lambda text: {"said": one_line(text, _MAX_TEXT)},
        }

    @property
    def topics(self) -> tuple[str, ...]:
        """The last names of the topics."""
        return tuple(self._readers)

    def add(self, name: str, item: Any, at_s: float) -> None:
        """Add the object of a topic, by its last name; ``at_s`` is on the system clock."""
        values = self._readers[name](item)
        self._row = dataclasses.replace(self._row, at_s=at_s, **values)

    def row(self) -> VoiceRow:
        """Return the newest of each step."""
        return self._row


def _read_transcript(transcript: Transcript) -> dict[str, Any]:
    return {
        "transcript": one_line(transcript.text, _MAX_TEXT),
        "is_final": transcript.is_final,
        # A part of a sentence is often no phrase yet.
        "problem": one_line(transcript.problem, _MAX_TEXT) if transcript.is_final else "",
    }


def _read_intents(intents: IntentArray) -> dict[str, Any]:
    return {
        "intents": tuple(map(_describe_intent, intents.intents[:_MAX_ITEMS])),
        "problem": one_line(intents.problem, _MAX_TEXT),
    }


def _read_plan(plan: ActionPlan) -> dict[str, Any]:
    return {
        "plan": tuple(map(_describe_step, plan.steps[:_MAX_ITEMS])),
        "problem": one_line(plan.reason, _MAX_TEXT) if plan.is_refused else "",
    }


def _read_feedback(feedback: Any) -> dict[str, Any]:
    """Read a MotionFeedback, of a package that this one may not import."""
    return {"state": feedback.state.value, "problem": one_line(feedback.problem, _MAX_TEXT)}


def _describe_intent(intent: Intent) -> str:
    return _join(intent.name, map(_describe_slot, intent.slots.values()))


def _describe_step(step: ActionStep) -> str:
    values = ((name, getattr(step, name)) for name in STEP_VALUES)
    given = [
        _describe_slot(IntentSlot(name.partition("_")[0], value, _UNITS.get(name, "")))
        for name, value in values
        if value not in (None, "")
    ]
    return _join(step.action, [*given, *map(_describe_slot, step.values)])


def _describe_slot(slot: IntentSlot) -> str:
    value = slot.value if isinstance(slot.value, str) else f"{slot.value:g}"
    return f"{slot.name} {value} {slot.unit}".rstrip()


def _join(name: str, values: Iterable[str]) -> str:
    return one_line(": ".join(filter(None, (name, ", ".join(values)))), _MAX_TEXT)
