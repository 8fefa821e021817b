"""The results of the voice pipeline's stages: transcript, intent, action plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

#: Where an intent can come from; ``unknown``: no phrase of the grammar is similar.
INTENT_SOURCES = ("grammar", "fuzzy", "embedding", "language_model", "unknown")
#: Source of an intent without a name: the text is not similar to any phrase of the grammar.
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
    """One value of an intent: a number in ``unit`` (m, rad, s, m/s), or a word."""

    name: str
    value: float | str
    unit: str = ""


@dataclass(frozen=True)
class Intent:
    """The meaning of an utterance.

    ``name`` is empty if the text matches nothing in the grammar; ``problem`` gives the reason.
    ``source`` is one of ``INTENT_SOURCES``. An intent with ``needs_confirmation`` must not act
    before the user has confirmed it.
    """

    name: str
    slots: Mapping[str, IntentSlot]
    confidence: float
    text: str
    source: str
    stamp_ns: int
    needs_confirmation: bool = False
    problem: str = ""
    frame_id: str = ""


@dataclass(frozen=True)
class ActionStep:
    """One action. Values that do not apply are None.

    ``action`` is move, turn, go_to, pick, place, stop, look or say. ``distance_m`` is
    positive ahead, ``angle_rad`` positive to the left (REP 103); ``speed_mps`` and ``rate_radps``
    are magnitudes. ``target`` is the name of a place or an object.
    """

    action: str
    distance_m: float | None = None
    angle_rad: float | None = None
    speed_mps: float | None = None
    rate_radps: float | None = None
    target: str = ""


@dataclass(frozen=True)
class ActionPlan:
    """The steps to execute, in order. A refused plan has no steps and a ``reason`` to speak."""

    intent: str
    steps: tuple[ActionStep, ...]
    stamp_ns: int
    is_refused: bool = False
    reason: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    frame_id: str = ""
