"""English numbers: parsing words and digits, and spelling."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal

_ONES = [
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    *("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen"),
    *("eighteen", "nineteen"),
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SMALL = {word: value for value, word in enumerate(_ONES)}
_BY_TEN = {word: 10 * value for value, word in enumerate(_TENS, start=2)}
_DIGITS = {**{word: str(value) for value, word in enumerate(_ONES[:10])}, "oh": "0"}
_FRACTIONS = {
    ("half",): 0.5,
    ("a", "half"): 0.5,
    ("one", "half"): 0.5,
    ("quarter",): 0.25,
    ("a", "quarter"): 0.25,
    ("one", "quarter"): 0.25,
    ("three", "quarters"): 0.75,
}
# A number with more digits is not a value; with very many a float is infinite.
_MAX_DIGITS = 15
_NUMERAL = re.compile(rf"\d{{1,{_MAX_DIGITS}}}(\.\d{{1,{_MAX_DIGITS}}})?")
_MINUS = ("minus", "negative")
_MAX_NUMBER = 999_999
_DECIMALS = 3

#: All words of numbers.
NUMBER_WORDS = frozenset(
    {*_SMALL, *_BY_TEN, "hundred", "thousand", "point", "half", "quarter", "quarters", "oh"}
)


def parse_number(words: Sequence[str], start: int) -> tuple[float, int] | None:
    """Return the longest number that begins at ``start`` and the index after it, or None.

    ``words`` come from ``split_words``. The function knows numerals, words up to 999 999, decimals
    (two point five), halves and quarters (two and a half, three quarters) and one minus.
    """
    if start < len(words) and words[start] in _MINUS:
        found = _parse_unsigned(words, start + 1)
        return (-found[0], found[1]) if found else None
    return _parse_unsigned(words, start)


def _parse_unsigned(words: Sequence[str], start: int) -> tuple[float, int] | None:
    if start < len(words) and _NUMERAL.fullmatch(words[start]):
        return _with_fraction(words, float(words[start]), start + 1)
    fraction = parse_fraction(words, start)
    if fraction:
        return fraction
    whole = _parse_integer(words, start)
    if whole is None:
        return None
    value, end = whole
    if end < len(words) and words[end] == "point":
        last = end + 1
        while last < len(words) and last <= end + _MAX_DIGITS and words[last] in _DIGITS:
            last += 1
        digits = "".join(_DIGITS[word] for word in words[end + 1 : last])
        return (float(f"{value}.{digits}"), last) if digits else (float(value), end)
    return _with_fraction(words, float(value), end)


def parse_fraction(words: Sequence[str], start: int) -> tuple[float, int] | None:
    """Return the halves or quarters that begin at ``start`` and the index after them, or None."""
    for length in (2, 1):
        said = tuple(words[start : start + length])
        if said in _FRACTIONS:
            return _FRACTIONS[said], start + len(said)
    return None


def spell_number(value: float) -> str:
    """Return a number in words; the number has at most three decimals and is within ±999 999.

    Raises ValueError for other numbers.
    """
    exact = Decimal(repr(float(value)))
    if not exact.is_finite() or abs(exact) > _MAX_NUMBER or exact != round(exact, _DECIMALS):
        raise ValueError(
            f"{value}: expected a number up to {_MAX_NUMBER} with {_DECIMALS} decimals"
        )
    whole, _, decimals = format(abs(exact), "f").partition(".")
    words = _spell_integer(int(whole))
    decimals = decimals.rstrip("0")
    if decimals:
        words += " point " + " ".join(_ONES[int(digit)] for digit in decimals)
    return f"minus {words}" if exact < 0 else words


def _with_fraction(words: Sequence[str], value: float, end: int) -> tuple[float, int]:
    if end < len(words) and words[end] == "and" and value == int(value):
        fraction = parse_fraction(words, end + 1)
        if fraction:
            return value + fraction[0], fraction[1]
    return value, end


def _parse_integer(words: Sequence[str], start: int) -> tuple[int, int] | None:
    """Return an integer in words: thousands, then the rest below a thousand."""
    high = _parse_below_thousand(words, start)
    if high is None:
        return None
    value, end = high
    if end >= len(words) or words[end] != "thousand":
        return high
    low = _parse_below_thousand(words, _skip_and(words, end + 1))
    return (value * 1000 + low[0], low[1]) if low else (value * 1000, end + 1)


def _parse_below_thousand(words: Sequence[str], start: int) -> tuple[int, int] | None:
    word = words[start] if start < len(words) else ""
    following = words[start + 1] if start + 1 < len(words) else ""
    if word == "a" and following in ("hundred", "thousand"):
        small = (1, start + 1)
    else:
        found = _parse_below_hundred(words, start)
        if found is None:
            return None
        small = found
    value, end = small
    if not 1 <= value <= 19 or end >= len(words) or words[end] != "hundred":
        return small
    low = _parse_below_hundred(words, _skip_and(words, end + 1))
    return (value * 100 + low[0], low[1]) if low else (value * 100, end + 1)


def _parse_below_hundred(words: Sequence[str], start: int) -> tuple[int, int] | None:
    word = words[start] if start < len(words) else ""
    if word in _SMALL:
        return _SMALL[word], start + 1
    if word not in _BY_TEN:
        return None
    one = _SMALL.get(words[start + 1], 0) if start + 1 < len(words) else 0
    return (_BY_TEN[word] + one, start + 2) if 1 <= one <= 9 else (_BY_TEN[word], start + 1)


def _skip_and(words: Sequence[str], position: int) -> int:
    return position + 1 if position < len(words) and words[position] == "and" else position


def _spell_integer(value: int) -> str:
    if value < 20:
        return _ONES[value]
    if value < 100:
        ten, one = divmod(value, 10)
        return _TENS[ten - 2] + (f" {_ONES[one]}" if one else "")
    size, name = (100, "hundred") if value < 1000 else (1000, "thousand")
    high, low = divmod(value, size)
    return f"{_spell_integer(high)} {name}" + (f" {_spell_integer(low)}" if low else "")
