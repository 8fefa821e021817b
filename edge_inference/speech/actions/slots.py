"""The slots that an action reads from its intent; an unclear value is refused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edge_inference.core.voice import Intent, IntentSlot


class UnclearError(Exception):
    """The spoken reason why an intent is unclear."""


@dataclass(frozen=True)
class NumberSlot:
    """A number of at least zero in ``unit`` (m, rad, s, m/s, rad/s), or a plain number."""

    name: str
    unit: str = ""

    def read(self, slot: IntentSlot) -> float:
        """Return the value of a slot. Raises UnclearError."""
        if isinstance(slot.value, str):
            raise UnclearError(f"The {self.name} {shorten_for_speech(slot.value)} is not a number")
        if not math.isfinite(slot.value):
            raise UnclearError(f"The {self.name} is not a number")
        if slot.unit not in ("", self.unit):
            needed = f"in {self.unit}" if self.unit else "without a unit"
            unit = shorten_for_speech(slot.unit)
            raise UnclearError(f"The {self.name} is in {unit}. I need it {needed}")
        if slot.value < 0:
            raise UnclearError(f"The {self.name} of {slot.value:g} is less than nothing")
        return float(slot.value)


@dataclass(frozen=True)
class WordSlot:
    """A word; one of ``values``, if the action knows only some."""

    name: str
    values: tuple[str, ...] = ()

    def read(self, slot: IntentSlot) -> str:
        """Return the value of a slot. Raises UnclearError."""
        if not isinstance(slot.value, str):
            raise UnclearError(f"The {self.name} is a number. I need a word")
        if self.values and slot.value and slot.value not in self.values:
            raise UnclearError(
                f"I do not know the {self.name} {shorten_for_speech(slot.value)}. "
                f"I know {', '.join(self.values)}"
            )
        return slot.value


ActionSlot = NumberSlot | WordSlot


class SlotValues:
    """The values of an intent, by the slots that its action declares.

    An ignored value must not turn a command into another one: a slot that is unknown, of the wrong
    kind or in the wrong unit raises UnclearError.
    """

    def __init__(self, intent: Intent, slots: Sequence[ActionSlot]) -> None:
        self._slots = {slot.name: slot for slot in slots}
        self._values: dict[str, float | str] = {}
        for name, given in intent.slots.items():
            slot = self._slots.get(name)
            if slot is None:
                action = shorten_for_speech(intent.name.replace("_", " "))
                raise UnclearError(
                    f"I do not know what {shorten_for_speech(name)} means for {action}"
                )
            self._values[name] = slot.read(given)

    def number(self, name: str) -> float | None:
        """Return the value of a number slot; None if the intent has none."""
        value = self._value(name, NumberSlot)
        return None if value is None else float(value)

    def word(self, name: str) -> str:
        """Return the value of a word slot; empty if the intent has none."""
        return str(self._value(name, WordSlot) or "")

    def _value(self, name: str, kind: type[ActionSlot]) -> float | str | None:
        if not isinstance(self._slots.get(name), kind):
            declared = ", ".join(self._slots) or "none"
            raise TypeError(f"{name!r} is not a {kind.__name__} of the action; slots: {declared}")
        return self._values.get(name)


def shorten_for_speech(text: str) -> str:
    """Return a text shortened for speech."""
    return text if len(text) <= 40 else f"{text[:40]}…"
