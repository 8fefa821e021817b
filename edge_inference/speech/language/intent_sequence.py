"""Several intents of one utterance, encoded as one intent.

``go forward two meters then turn left`` becomes the intent ``move then turn`` with the slots
``1.distance`` and ``2.direction``: one message without loss. A single intent stays unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edge_inference.core.voice import Intent, IntentSlot

_JOINER = " then "


def join_intents(intents: Sequence[Intent]) -> Intent:
    """Return one intent for several; its confidence is the lowest of theirs."""
    if len(intents) == 1:
        return intents[0]
    slots = {
        f"{number}.{name}": replace(slot, name=f"{number}.{name}")
        for number, intent in enumerate(intents, start=1)
        for name, slot in intent.slots.items()
    }
    return replace(
        intents[0],
        name=_JOINER.join(intent.name for intent in intents),
        slots=slots,
        confidence=min(intent.confidence for intent in intents),
        text=_JOINER.join(intent.text for intent in intents),
        source=next((i.source for i in intents if i.source != "grammar"), "grammar"),
        needs_confirmation=any(intent.needs_confirmation for intent in intents),
    )


def split_intent(intent: Intent) -> tuple[Intent, ...]:
    """Return the intents of one from :func:`join_intents`, with plain slot names."""
    names = intent.name.split(_JOINER)
    if len(names) == 1:
        return (intent,)
    return tuple(
        replace(intent, name=name, slots=_slots_of(intent, number))
        for number, name in enumerate(names, start=1)
    )


def _slots_of(intent: Intent, number: int) -> dict[str, IntentSlot]:
    prefix = f"{number}."
    return {
        name.removeprefix(prefix): replace(slot, name=name.removeprefix(prefix))
        for name, slot in intent.slots.items()
        if name.startswith(prefix)
    }
