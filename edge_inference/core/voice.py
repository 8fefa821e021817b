"""What the stages of the voice pipeline make of speech: text, intent, plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

#: Where an intent can come from; ``unknown`` where no phrase of the grammar is near.
INTENT_SOURCES = ("grammar", "fuzzy", "embedding", "language_model", "unknown")
#: Source of an intent without a name whose text is nothing that the grammar is near to.
UNKNOWN = "unknown"
#: Intents that answer a question of the planner.
YES, NO = "confirm", "deny"
#: The intent that ends everything.
STOP = "stop"


@dataclass(frozen=True)
class Transcript:
    """What was said. ``stamp_ns``: of the last sample with speech, as in SpeechSegment.

    ``start_ns`` is the moment of the first sample, 0 where nobody knows.
    ``confidence`` is from 0 to 1; ``mode`` is command or free. In command mode an empty
    ``text`` says that nothing of the grammar was said; ``problem`` then says why in words.
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
    """One value of an intent: ``value`` in ``unit`` (m, rad, s, m/s) for numbers, else a word."""

    name: str
    value: float | str
    unit: str = ""


@dataclass(frozen=True)
class Intent:
    """What is meant. ``name`` is empty where nothing of the grammar is; ``problem`` says why.

    ``source`` is one of ``INTENT_SOURCES``; with ``needs_confirmation`` it must not act before
    somebody has said yes.
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
    """One thing to do. What does not apply is None.

    ``action`` is move, turn, go_to, pick, place, stop, look or say. ``distance_m`` is
    positive ahead, ``angle_rad`` positive to the left (REP 103); ``speed_mps`` and ``rate_radps``
    are magnitudes. ``target`` is a place or a thing by name.
    """

    action: str
    distance_m: float | None = None
    angle_rad: float | None = None
    speed_mps: float | None = None
    rate_radps: float | None = None
    target: str = ""


@dataclass(frozen=True)
class ActionPlan:
    """What is to be done, in order. A refused plan has no steps and a ``reason`` to speak."""

    intent: str
    steps: tuple[ActionStep, ...]
    stamp_ns: int
    is_refused: bool = False
    reason: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    frame_id: str = ""
