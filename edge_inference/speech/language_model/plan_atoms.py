"""The pieces of a written plan, each of which tells what it can begin with and when it is whole."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from edge_inference.core.voice import IntentSlot
from edge_inference.speech.language.slot_kinds import NumberKind, SlotKind, WordKind
from edge_inference.speech.language.units import SpokenQuantity, Unit, parse_quantity, units_for

# Numbers are written with two decimals at the most, so they are counted in hundredths.
_DECIMALS = 2
_GRID: int = 10**_DECIMALS
_MOST_DIGITS = 5
_LARGEST = 10**_MOST_DIGITS * _GRID - 1
_BEGUN = re.compile(rf"(0|[1-9]\d{{0,{_MOST_DIGITS - 1}}})(\.\d{{0,{_DECIMALS}}})?")


class FixedTexts:
    """One of some texts, each with its value. ``slot`` is what it fills; empty for none."""

    def __init__(self, slot: str, values: Mapping[str, IntentSlot]) -> None:
        self.slot = slot
        self._values = values

    @classmethod
    def fixed(cls, text: str) -> FixedTexts:
        """Return a text that only has to be there."""
        return cls("", {text: IntentSlot("", text)})

    @property
    def exists(self) -> bool:
        """Whether there is any text."""
        return bool(self._values)

    def begins(self, text: str) -> bool:
        """Tell whether something whole begins with this."""
        return any(each.startswith(text) for each in self._values)

    def is_whole(self, text: str) -> bool:
        """Tell whether this is one of the texts."""
        return text in self._values

    def pattern(self) -> str:
        """Return a pattern that everything whole matches."""
        return "|".join(map(re.escape, self._values))

    def characters(self) -> set[str]:
        """Return every character that it can have."""
        return set("".join(self._values))

    def read(self, text: str) -> IntentSlot:
        """Return the value of something whole."""
        return self._values[text]

    def write(self, slot: IntentSlot) -> str | None:
        """Return the text of a value; None where it is none of these."""
        return next((text for text, own in self._values.items() if _is_same(own, slot)), None)


@dataclass(frozen=True)
class _Range:
    """A unit, and the bounds in it in hundredths, both allowed."""

    unit: Unit | None
    low: int
    high: int

    def name(self, hundredths: int) -> str:
        return f" {self.unit.name(hundredths / _GRID)}" if self.unit else ""


class NumberText:
    """A number within the bounds of its kind, with a unit: ``2.5 meters``, ``90 degrees``.

    ``exists`` is false where no number of five digits and two decimals lies within them.
    """

    def __init__(self, slot: str, kind: NumberKind) -> None:
        self.slot = slot
        self._ranges = tuple(_ranges(kind))
        self.exists = bool(self._ranges)

    def begins(self, text: str) -> bool:
        """Tell whether something whole begins with this."""
        figures, space, unit = text.partition(" ")
        if not space:
            return not figures or any(self._leads_to(figures, r) for r in self._ranges)
        value = _hundredths(figures)
        return value is not None and any(
            r.low <= value <= r.high and r.name(value).startswith(f" {unit}") for r in self._ranges
        )

    def is_whole(self, text: str) -> bool:
        """Tell whether this is a number within the bounds, with its unit."""
        return self._range(text) is not None

    def pattern(self) -> str:
        """Return a pattern that everything whole matches."""
        return r"-?[\d.]+(?: [a-z ]+)?"

    def characters(self) -> set[str]:
        """Return every character that it can have."""
        names = "".join(
            f"{r.unit.singular}{r.unit.plural} " for r in self._ranges if r.unit is not None
        )
        return set(f"0123456789.-{names}")

    def read(self, text: str) -> IntentSlot:
        """Return the value of something whole, in SI."""
        found = self._range(text)
        if found is None:
            raise ValueError(f"{self.slot}: {text!r} is no number within the bounds")
        number = float(text.partition(" ")[0])
        unit = found.unit
        return IntentSlot(
            self.slot, number * unit.factor if unit else number, unit.si if unit else ""
        )

    def write(self, slot: IntentSlot) -> str | None:
        """Return the text of a value in the unit of the kind; None where it cannot be written."""
        if not isinstance(slot.value, float):
            return None
        own = self._ranges[0]
        hundredths = round(slot.value / (own.unit.factor if own.unit else 1.0) * _GRID)
        text = f"{hundredths / _GRID:g}{own.name(hundredths)}"
        return text if self.is_whole(text) else None

    def _range(self, text: str) -> _Range | None:
        figures, space, unit = text.partition(" ")
        value = _hundredths(figures)
        if value is None:
            return None
        return next(
            (
                r
                for r in self._ranges
                if r.low <= value <= r.high and r.name(value) == f"{space}{unit}"
            ),
            None,
        )

    @staticmethod
    def _leads_to(figures: str, bounds: _Range) -> bool:
        low, high = bounds.low, bounds.high
        if figures.startswith("-"):
            figures, low, high = figures[1:], -high, -low
            if not figures:
                return high > 0
        return _BEGUN.fullmatch(figures) is not None and any(
            first <= high and last >= low for first, last in _completions(figures)
        )


Atom = FixedTexts | NumberText


def find_values(slot: str, kind: SlotKind, words: Sequence[str]) -> dict[str, IntentSlot]:
    """Return the values of a kind that a text says, by how a plan has them.

    Words are written by their own name, quantities as they were said.
    """
    if isinstance(kind, WordKind):
        found = [
            matched for start in range(len(words)) for matched in kind.match(slot, words, start)
        ]
        return {str(matched.slot.value): matched.slot for matched in found}
    return {
        " ".join(words[start : quantity.end]): matched.slot
        for start, quantity in find_quantities(words)
        for matched in kind.match(slot, words, start)
        if not matched.problem
    }


def find_quantities(words: Sequence[str]) -> list[tuple[int, SpokenQuantity]]:
    """Return every quantity in a text and where it begins: the longest at each place."""
    found = []
    start = 0
    while start < len(words):
        quantity = parse_quantity(words, start)
        if quantity:
            found.append((start, quantity))
        start = quantity.end if quantity else start + 1
    return found


def _is_same(one: IntentSlot, other: IntentSlot) -> bool:
    if isinstance(one.value, float) and isinstance(other.value, float):
        return one.unit == other.unit and math.isclose(one.value, other.value)
    return one.value == other.value


def _ranges(kind: NumberKind) -> Iterator[_Range]:
    own = kind.unit
    low, high = kind.bounds
    others = [unit for unit in units_for(own.si) if unit != own] if own else []
    for unit in (own, *others):
        factor = _GRID * (own.factor / unit.factor if own and unit else 1.0)
        # A bound must not be lost by the conversion between units.
        slack = 1e-9 * max(abs(low), abs(high)) * factor
        first = max(math.ceil(low * factor - slack), -_LARGEST)
        last = min(math.floor(high * factor + slack), _LARGEST)
        if first <= last:
            yield _Range(unit, first, last)


def _hundredths(figures: str) -> int | None:
    """Return a number in hundredths; None where it is not written to its end."""
    sign = -1 if figures.startswith("-") else 1
    plain = figures.removeprefix("-")
    if not _BEGUN.fullmatch(plain) or plain.endswith("."):
        return None
    whole, _, part = plain.partition(".")
    return sign * (int(whole) * _GRID + int(part.ljust(_DECIMALS, "0")))


def _completions(figures: str) -> Iterable[tuple[int, int]]:
    """Yield the least and the greatest of the numbers that begin with these figures."""
    whole, dot, part = figures.partition(".")
    if dot:
        step: int = 10 ** (_DECIMALS - len(part))
        first = int(whole) * _GRID + int(part or "0") * step
        yield first, first + step - 1
        return
    more = 0 if whole == "0" else _MOST_DIGITS - len(whole)
    for digits in range(more + 1):
        first = int(whole) * 10**digits
        yield first * _GRID, (first + 10**digits) * _GRID - 1
