"""The slots of an intent for planning; unclear slots are refused."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from edge_inference.core.voice import IntentSlot


class UnclearError(Exception):
    """The spoken reason why a slot is unclear."""


class PlannerSlots:
    """Slots by name, each read once; ``finish`` refuses slots that were not read.

    An ignored value must not turn a command into another one: a slot that is unknown, of the wrong
    kind or in the wrong unit raises UnclearError.
    """

    def __init__(self, slots: Mapping[str, IntentSlot], intent: str) -> None:
        self._left = dict(slots)
        self._intent = intent

    def size(self, name: str, unit: str) -> float | None:
        """Return a number in ``unit`` (or without a unit) of at least zero; None if absent."""
        slot = self._left.pop(name, None)
        if slot is None:
            return None
        if isinstance(slot.value, str):
            raise UnclearError(f"The {name} {_short(slot.value)} is not a number")
        if not math.isfinite(slot.value):
            raise UnclearError(f"The {name} is not a number")
        if slot.unit not in ("", unit):
            raise UnclearError(f"The {name} is in {_short(slot.unit)}. I need it in {unit}")
        if slot.value < 0:
            raise UnclearError(f"The {name} of {slot.value:g} is less than nothing")
        return float(slot.value)

    def choice(self, name: str, known: Collection[str]) -> str:
        """Return a word that is one of ``known``; empty if absent."""
        word = self.word(name)
        if word and word not in known:
            raise UnclearError(
                f"I do not know the {name} {_short(word)}. I know {', '.join(known)}"
            )
        return word

    def word(self, name: str) -> str:
        """Return a word; empty if absent."""
        slot = self._left.pop(name, None)
        if slot is None:
            return ""
        if not isinstance(slot.value, str):
            raise UnclearError(f"The {name} is a number. I need a word")
        return slot.value

    def finish(self) -> None:
        """Raise UnclearError for the first slot that was not read."""
        for name in self._left:
            action = self._intent.replace("_", " ")
            raise UnclearError(f"I do not know what {_short(name)} means for {_short(action)}")


def _short(text: str) -> str:
    """Return a text shortened for speech."""
    return text if len(text) <= 40 else f"{text[:40]}…"
