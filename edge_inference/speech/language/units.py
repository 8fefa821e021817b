"""Units: their spoken names and their factors to SI."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edge_inference.speech.language.numbers import parse_fraction, parse_number, spell_number


@dataclass(frozen=True)
class Unit:
    """One unit: ``factor`` times the SI unit ``si`` (m, s, rad, m/s, rad/s), and its names."""

    si: str
    factor: float
    singular: str
    plural: str

    def name(self, value: float) -> str:
        """Return the unit's name after a number."""
        return self.singular if value == 1 else self.plural


@dataclass(frozen=True)
class SpokenQuantity:
    """A spoken number with its unit, None for a bare number; ``end`` is the index after it."""

    number: float
    unit: Unit | None
    end: int


def _table() -> dict[tuple[str, ...], Unit]:
    lengths = [
        (1.0, "meter", "meters", ("metre", "metres", "m")),
        (0.01, "centimeter", "centimeters", ("centimetre", "centimetres", "cm")),
        (0.001, "millimeter", "millimeters", ("millimetre", "millimetres", "mm")),
        (1000.0, "kilometer", "kilometers", ("kilometre", "kilometres", "km")),
        (0.3048, "foot", "feet", ("ft",)),
        (0.0254, "inch", "inches", ()),
        (0.9144, "yard", "yards", ()),
        (1609.344, "mile", "miles", ()),
    ]
    times = [
        (1.0, "second", "seconds", ("s", "sec", "secs")),
        (60.0, "minute", "minutes", ("min", "mins")),
        (3600.0, "hour", "hours", ("h",)),
        (0.001, "millisecond", "milliseconds", ("ms",)),
    ]
    angles = [
        (math.pi / 180, "degree", "degrees", ("deg", "°")),
        (1.0, "radian", "radians", ("rad",)),
        (2 * math.pi, "revolution", "revolutions", ("rotation", "rotations")),
    ]
    table: dict[tuple[str, ...], Unit] = {}
    for si, rows in (("m", lengths), ("s", times), ("rad", angles)):
        for factor, singular, plural, aliases in rows:
            unit = Unit(si, factor, singular, plural)
            table.update({(name,): unit for name in (singular, plural, *aliases)})
            for per_factor, per, _, per_aliases in times if si != "s" else []:
                speed = Unit(
                    f"{si}/s", factor / per_factor, f"{singular} per {per}", f"{plural} per {per}"
                )
                names = (singular, plural, *aliases)
                table.update({(name, "per", per): speed for name in names})
                table.update({(name, "a", per): speed for name in names})
                table.update({(f"{n}/{p}",): speed for n in aliases for p in per_aliases})
    return table


_UNITS = _table()
_MAX_NAME_WORDS = max(map(len, _UNITS))

#: All words of units.
UNIT_WORDS = frozenset(word for name in _UNITS for word in name)


def parse_unit(words: Sequence[str], start: int) -> tuple[Unit, int] | None:
    """Return the longest unit that begins at ``start`` and the index after it, or None."""
    for length in range(_MAX_NAME_WORDS, 0, -1):
        name = tuple(words[start : start + length])
        if name in _UNITS:
            return _UNITS[name], start + len(name)
    return None


def find_unit(name: str) -> Unit | None:
    """Return the unit with a name such as ``degrees`` or ``meters per second``."""
    return _UNITS.get(tuple(name.split()))


def units_for(si: str) -> tuple[Unit, ...]:
    """Return all units of the quantity that ``si`` measures."""
    return tuple(dict.fromkeys(unit for unit in _UNITS.values() if unit.si == si))


def parse_quantity(words: Sequence[str], start: int) -> SpokenQuantity | None:
    """Return the number with its unit that begins at ``start``, or None.

    Besides ``two meters`` it accepts ``a meter``, ``half a meter`` and ``a meter and a half``.
    """
    number_match = parse_number(words, start)
    if number_match:
        number, end = number_match
        unit = parse_unit(words, end)
        if unit is None and number < 1 and tuple(words[end : end + 1]) == ("a",):  # half a meter
            unit = parse_unit(words, end + 1)
    elif start < len(words) and words[start] in ("a", "an"):
        number, end, unit = 1.0, start + 1, parse_unit(words, start + 1)
        if unit is None:
            return None
    else:
        return None
    if unit is None:
        return SpokenQuantity(number, None, end)
    named, end = unit
    fraction = parse_fraction(words, end + 1) if tuple(words[end : end + 1]) == ("and",) else None
    if fraction and number == int(number):
        return SpokenQuantity(number + fraction[0], named, fraction[1])
    return SpokenQuantity(number, named, end)


def format_quantity(number: float, unit: Unit | None, *, digits: bool = False) -> tuple[str, ...]:
    """Return the spoken forms of a number with its unit, such as ``two and a half meters``.

    With ``digits`` the number is in digits, as many recognizers write it: ``2.5 meters``.
    """
    suffix = f" {unit.name(number)}" if unit else ""
    if digits:
        return (f"{number:g}{suffix}",)
    phrasings = [spell_number(number) + suffix]
    if number == 0.5 and unit:
        phrasings.insert(0, f"half a {unit.singular}")
    elif number > 1 and number % 1 == 0.5:
        phrasings.insert(0, f"{spell_number(number // 1)} and a half{suffix}")
    return tuple(phrasings)
