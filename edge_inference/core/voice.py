"""The results of the voice pipeline's stages: transcript, intents, action plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

#: Where intents can come from; ``unknown``: no phrase of the grammar is similar.
INTENT_SOURCES = ("grammar", "fuzzy", "embedding", "language_model", "unknown")
#: Source without an intent: the text is not similar to any phrase of the grammar.
UNKNOWN = "unknown"
#: Intents that answer a question of the planner.
YES, NO = "confirm", "deny"
#: The intent that stops the robot.
STOP = "stop"


@dataclass(frozen=True)
class Transcript:
    """The text of an utterance.

    ``stamp_ns`` is the time of the last sample with speech, as in SpeechSegment. ``start_ns`` is
    the time of the first sample; 0 if it is unknown. ``confidence`` is from 0 to 1; ``mode`` is
    command or free. In command mode an empty ``text`` means that no phrase of the grammar was
    recognized; ``problem`` then gives the reason.
    """

    text: str
    confidence: float
    mode: str
    stamp_ns: int
    is_final: bool = True
    locale: str = "en"
    problem: str = ""
    frame_id: str = ""
    start_ns: int = 0


@dataclass(frozen=True)
class IntentSlot:
    """One value of an intent or a step: a number in ``unit`` (m, rad, s, m/s …), or a text."""

    name: str
    value: float | str
    unit: str = ""


@dataclass(frozen=True)
class Intent:
    """One thing that an utterance asks for: an action with its values, or an answer."""

    name: str
    slots: Mapping[str, IntentSlot] = field(default_factory=dict)


@dataclass(frozen=True)
class IntentArray:
    """The meaning of an utterance: its intents in order.

    There are none if the text matches nothing in the grammar; ``problem`` gives the reason.
    ``source`` is one of ``INTENT_SOURCES``; of several, the least certain. Intents with
    ``needs_confirmation`` must not act before the user has confirmed them.
    """

    intents: tuple[Intent, ...]
    confidence: float
    text: str
    source: str
    stamp_ns: int
    needs_confirmation: bool = False
    problem: str = ""
    frame_id: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the intents."""
        return tuple(intent.name for intent in self.intents)

    def is_only(self, *names: str) -> bool:
        """Tell whether there is one intent, with one of these names."""
        return len(self.intents) == 1 and self.intents[0].name in names


#: The values of a step that have a field; all others are in ``ActionStep.values``.
STEP_VALUES = ("distance_m", "angle_rad", "speed_mps", "rate_radps", "target")


@dataclass(frozen=True)
class ActionStep:
    """One action, by its name in the table of actions. Values that do not apply are None.

    ``distance_m`` is positive ahead, ``angle_rad`` positive to the left (REP 103); ``speed_mps``
    and ``rate_radps`` are magnitudes. ``target`` is the name of a place or an object. ``values``
    are other values of the action.
    """

    action: str
    distance_m: float | None = None
    angle_rad: float | None = None
    speed_mps: float | None = None
    rate_radps: float | None = None
    target: str = ""
    values: tuple[IntentSlot, ...] = ()

    def value(self, name: str) -> float | str | None:
        """Return one of ``values``; None if there is none of this name."""
        return next((slot.value for slot in self.values if slot.name == name), None)


@dataclass(frozen=True)
class ActionPlan:
    """The steps to execute, in order. A refused plan has no steps and a ``reason`` to speak.

    ``intent`` has the names of the intents, for people to read.
    """

    intent: str
    steps: tuple[ActionStep, ...]
    stamp_ns: int
    is_refused: bool = False
    reason: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    frame_id: str = ""
