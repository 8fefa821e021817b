"""The elements of a plan in text form; each checks prefixes and complete texts."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from edge_inference.core.voice import IntentSlot
from edge_inference.speech.language.slot_kinds import NumberKind, SlotKind, WordKind
from edge_inference.speech.language.units import SpokenQuantity, Unit, parse_quantity, units_for

# Numbers have at most two decimals, so they are stored in hundredths.
_DECIMALS = 2
_GRID: int = 10**_DECIMALS
_MAX_DIGITS = 5
_MAX_VALUE = 10**_MAX_DIGITS * _GRID - 1
_PREFIX = re.compile(rf"(0|[1-9]\d{{0,{_MAX_DIGITS - 1}}})(\.\d{{0,{_DECIMALS}}})?")


class FixedTexts:
    """One of some texts, each with its value. ``slot`` is the slot it fills; empty for none."""

    def __init__(self, slot: str, values: Mapping[str, IntentSlot]) -> None:
        self.slot = slot
        self._values = values

    @classmethod
    def fixed(cls, text: str) -> FixedTexts:
        """Return a fixed text without a value."""
        return cls("", {text: IntentSlot("", text)})

    @property
    def exists(self) -> bool:
        """Whether there is any text."""
        return bool(self._values)

    def is_prefix(self, text: str) -> bool:
        """Tell whether this is a prefix of a complete text."""
        return any(each.startswith(text) for each in self._values)

    def is_complete(self, text: str) -> bool:
        """Tell whether this is a complete text."""
        return text in self._values

    def pattern(self) -> str:
        """Return a regular expression that matches every complete text."""
        return "|".join(map(re.escape, self._values))

    def characters(self) -> set[str]:
        """Return all characters of the complete texts."""
        return set("".join(self._values))

    def parse(self, text: str) -> IntentSlot:
        """Return the value of a complete text."""
        return self._values[text]

    def format(self, slot: IntentSlot) -> str | None:
        """Return the text of a value; None if there is none."""
        return next((text for text, own in self._values.items() if _is_equal(own, slot)), None)


@dataclass(frozen=True)
class _Range:
    """A unit, and the inclusive bounds in hundredths of it."""

    unit: Unit | None
    low: int
    high: int

    def name(self, hundredths: int) -> str:
        return f" {self.unit.name(hundredths / _GRID)}" if self.unit else ""


class NumberText:
    """A number within the bounds of its kind, with a unit: ``2.5 meters``, ``90 degrees``.

    ``exists`` is False if no number of five digits and two decimals is within the bounds.
    """

    def __init__(self, slot: str, kind: NumberKind) -> None:
        self.slot = slot
        self._ranges = tuple(_ranges(kind))
        self.exists = bool(self._ranges)

    def is_prefix(self, text: str) -> bool:
        """Tell whether this is a prefix of a complete text."""
        figures, space, unit = text.partition(" ")
        if not space:
            return not figures or any(self._can_reach(figures, r) for r in self._ranges)
        value = _hundredths(figures)
        return value is not None and any(
            r.low <= value <= r.high and r.name(value).startswith(f" {unit}") for r in self._ranges
        )

    def is_complete(self, text: str) -> bool:
        """Tell whether this is a number within the bounds, with its unit."""
        return self._range(text) is not None

    def pattern(self) -> str:
        """Return a regular expression that matches every complete text."""
        return r"-?[\d.]+(?: [a-z ]+)?"

    def characters(self) -> set[str]:
        """Return all characters of the complete texts."""
        names = "".join(
            f"{r.unit.singular}{r.unit.plural} " for r in self._ranges if r.unit is not None
        )
        return set(f"0123456789.-{names}")

    def parse(self, text: str) -> IntentSlot:
        """Return the value of a complete text, in SI."""
        found = self._range(text)
        if found is None:
            raise ValueError(f"{self.slot}: {text!r} is not a number within the bounds")
        number = float(text.partition(" ")[0])
        unit = found.unit
        return IntentSlot(
            self.slot, number * unit.factor if unit else number, unit.si if unit else ""
        )

    def format(self, slot: IntentSlot) -> str | None:
        """Return the text of a value in the unit of the kind; None if it has none."""
        if not isinstance(slot.value, float):
            return None
        own = self._ranges[0]
        hundredths = round(slot.value / (own.unit.factor if own.unit else 1.0) * _GRID)
        text = f"{hundredths / _GRID:g}{own.name(hundredths)}"
        return text if self.is_complete(text) else None

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
    def _can_reach(figures: str, bounds: _Range) -> bool:
        low, high = bounds.low, bounds.high
        if figures.startswith("-"):
            figures, low, high = figures[1:], -high, -low
            if not figures:
                return high > 0
        return _PREFIX.fullmatch(figures) is not None and any(
            first <= high and last >= low for first, last in _completions(figures)
        )


Atom = FixedTexts | NumberText


def find_values(slot: str, kind: SlotKind, words: Sequence[str]) -> dict[str, IntentSlot]:
    """Return the values of a kind in a text, by their text in a plan.

    Words have their own name, quantities their spoken form.
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
    """Return the longest quantity at each place of a text, and its start."""
    found = []
    start = 0
    while start < len(words):
        quantity = parse_quantity(words, start)
        if quantity:
            found.append((start, quantity))
        start = quantity.end if quantity else start + 1
    return found


def _is_equal(one: IntentSlot, other: IntentSlot) -> bool:
    if isinstance(one.value, float) and isinstance(other.value, float):
        return one.unit == other.unit and math.isclose(one.value, other.value)
    return one.value == other.value


def _ranges(kind: NumberKind) -> Iterator[_Range]:
    own = kind.unit
    low, high = kind.bounds
    others = [unit for unit in units_for(own.si) if unit != own] if own else []
    for unit in (own, *others):
        factor = _GRID * (own.factor / unit.factor if own and unit else 1.0)
        # Rounding in a unit conversion must not exclude the bound itself.
        slack = 1e-9 * max(abs(low), abs(high)) * factor
        first = max(math.ceil(low * factor - slack), -_MAX_VALUE)
        last = min(math.floor(high * factor + slack), _MAX_VALUE)
        if first <= last:
            yield _Range(unit, first, last)


def _hundredths(figures: str) -> int | None:
    """Return a number in hundredths; None if it is incomplete."""
    sign = -1 if figures.startswith("-") else 1
    plain = figures.removeprefix("-")
    if not _PREFIX.fullmatch(plain) or plain.endswith("."):
        return None
    whole, _, part = plain.partition(".")
    return sign * (int(whole) * _GRID + int(part.ljust(_DECIMALS, "0")))


def _completions(figures: str) -> Iterable[tuple[int, int]]:
    """Yield ranges of the numbers that begin with these digits: lowest and highest."""
    whole, dot, part = figures.partition(".")
    if dot:
        step: int = 10 ** (_DECIMALS - len(part))
        first = int(whole) * _GRID + int(part or "0") * step
        yield first, first + step - 1
        return
    more = 0 if whole == "0" else _MAX_DIGITS - len(whole)
    for digits in range(more + 1):
        first = int(whole) * 10**digits
        yield first * _GRID, (first + 10**digits) * _GRID - 1
