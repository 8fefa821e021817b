"""Kinds of slots: one of some words, or a number with a unit within bounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from edge_inference.core.settings import setting
from edge_inference.core.voice import IntentSlot
from edge_inference.speech.language.phrase import SlotMatch
from edge_inference.speech.language.text_normalization import split_words
from edge_inference.speech.language.units import (
    SpokenQuantity,
    Unit,
    find_unit,
    format_quantity,
    parse_quantity,
)

# Most words of an unknown value.
_MAX_GUESSED_WORDS = 3


@dataclass(frozen=True)
class NumberSettings:
    """The settings of a number slot in a grammar file; bounds and ``spoken`` are in ``unit``."""

    minimum: float = setting(description="lowest value")
    maximum: float = setting(description="highest value")
    unit: str = setting("", "unit in words, e.g. degrees; empty for a plain number")
    unit_optional: bool = setting(False, "a number without a unit is in this unit")
    spoken: tuple[float, ...] = setting((), "values that command mode recognizes")

    def check(self) -> str | None:
        """Return the contradiction between settings, or None."""
        if self.unit and find_unit(self.unit) is None:
            return f"unit: {self.unit!r} is not known; expected e.g. meters, degrees, seconds"
        if self.minimum > self.maximum:
            return f"minimum: {self.minimum:g} is above the maximum, {self.maximum:g}"
        beyond = [value for value in self.spoken if not self.minimum <= value <= self.maximum]
        if beyond:
            return f"spoken: {beyond[0]:g} is not from {self.minimum:g} to {self.maximum:g}"
        return None


class NumberKind:
    """Numbers in one unit; the values of intents are in SI."""

    def __init__(self, name: str, settings: NumberSettings) -> None:
        self.name = name
        self._settings = settings
        self._unit = find_unit(settings.unit) if settings.unit else None

    @property
    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest value, in ``unit``."""
        return self._settings.minimum, self._settings.maximum

    @property
    def unit(self) -> Unit | None:
        """The unit of the bounds; None for plain numbers."""
        return self._unit

    def match(self, slot: str, words: Sequence[str], start: int) -> Iterator[SlotMatch]:
        """Yield the number at ``start``, with a problem if it is not valid."""
        quantity = parse_quantity(words, start)
        if quantity is None:
            return
        said = " ".join(words[start : quantity.end])
        problem = self._unit_problem(quantity)
        if problem:
            yield SlotMatch(
                IntentSlot(slot, said), quantity.end, f"{self.name}: {said!r} {problem}", 1
            )
            return
        unit = quantity.unit or self._unit
        factor = unit.factor if unit else 1.0
        own = quantity.number * factor / (self._unit.factor if self._unit else 1.0)
        value = IntentSlot(slot, quantity.number * factor, unit.si if unit else "")
        yield SlotMatch(value, quantity.end, self._range_problem(own, said))

    def match_or_guess(self, slot: str, words: Sequence[str], start: int) -> Iterator[SlotMatch]:
        """Yield the same as :meth:`match`: other words are never guessed to be a number."""
        return self.match(slot, words, start)

    def spoken(self, slot: str, *, digits: bool) -> Iterator[tuple[str, IntentSlot]]:
        """Yield the values that command mode recognizes, in words or digits."""
        factor, si = (self._unit.factor, self._unit.si) if self._unit else (1.0, "")
        for number in self._settings.spoken:
            for form in format_quantity(number, self._unit, digits=digits):
                yield form, IntentSlot(slot, number * factor, si)

    def placeholders(self, slot: str) -> Iterator[tuple[str, IntentSlot]]:
        """Yield a placeholder text for each form of a value."""
        si = self._unit.si if self._unit else ""
        yield f"<{si}>", IntentSlot(slot, "", si)
        if self._settings.unit_optional and si:
            yield "<>", IntentSlot(slot, "", si)

    def vocabulary(self) -> frozenset[str]:
        """Return no word: the words of numbers and units belong to every grammar."""
        return frozenset()

    def _unit_problem(self, quantity: SpokenQuantity) -> str:
        if quantity.unit is None:
            bare = self._unit is None or self._settings.unit_optional
            return "" if bare else f"has no unit; say it in {self._settings.unit}"
        if self._unit is None:
            return "has a unit where a plain number belongs"
        if quantity.unit.si != self._unit.si:
            return f"is not in {self._settings.unit} or the like"
        return ""

    def _range_problem(self, value: float, said: str) -> str:
        low, high = self._settings.minimum, self._settings.maximum
        # Rounding in a unit conversion must not reject the bound itself.
        slack = 1e-9 * max(abs(low), abs(high))
        if low - slack <= value <= high + slack:
            return ""
        unit = f" {self._settings.unit}" if self._unit else ""
        return f"{self.name}: {said!r} is not from {low:g} to {high:g}{unit}"


class WordKind:
    """One of some values, each with its phrasings."""

    def __init__(self, name: str, values: Mapping[str, Sequence[Sequence[str]]]) -> None:
        self.name = name
        self._values = values
        phrasings = {tuple(phrasing): value for value, said in values.items() for phrasing in said}
        self._phrasings = dict(sorted(phrasings.items(), key=lambda phrasing: -len(phrasing[0])))

    @property
    def values(self) -> tuple[str, ...]:
        """The names of the values."""
        return tuple(self._values)

    def match(self, slot: str, words: Sequence[str], start: int) -> Iterator[SlotMatch]:
        """Yield every value that matches at ``start``, the longest first."""
        for phrasing, value in self._phrasings.items():
            if tuple(words[start : start + len(phrasing)]) == phrasing:
                yield SlotMatch(IntentSlot(slot, value), start + len(phrasing))

    def match_or_guess(self, slot: str, words: Sequence[str], start: int) -> Iterator[SlotMatch]:
        """Yield known values, then unknown ones of a few words, each with a problem."""
        yield from self.match(slot, words, start)
        for end in range(start + 1, min(len(words), start + _MAX_GUESSED_WORDS) + 1):
            said = " ".join(words[start:end])
            problem = f"{self.name}: {said!r} is not known; known: {', '.join(self._values)}"
            yield SlotMatch(IntentSlot(slot, said), end, problem, end - start)

    def spoken(self, slot: str, *, digits: bool) -> Iterator[tuple[str, IntentSlot]]:
        """Yield every phrasing of every value that command mode recognizes."""
        for phrasing, value in self._phrasings.items():
            yield " ".join(phrasing), IntentSlot(slot, value)

    def placeholders(self, slot: str) -> Iterator[tuple[str, IntentSlot]]:
        """Yield every phrasing of every value."""
        return self.spoken(slot, digits=False)

    def vocabulary(self) -> frozenset[str]:
        """Return every word that is part of a value."""
        return frozenset(word for phrasing in self._phrasings for word in phrasing)


SlotKind = NumberKind | WordKind


def list_phrasings(value: str, others: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the words of a value's own name (``_`` separates them) and of its other phrasings."""
    return [split_words(phrasing) for phrasing in (value.replace("_", " "), *others)]
