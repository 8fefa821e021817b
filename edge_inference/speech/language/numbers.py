"""English numbers in words and digits, both ways."""

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
# Nobody says more digits and means a number; of very many a float is infinite.
_MOST_DIGITS = 15
_NUMERAL = re.compile(rf"\d{{1,{_MOST_DIGITS}}}(\.\d{{1,{_MOST_DIGITS}}})?")
_MINUS = ("minus", "negative")
_LARGEST = 999_999
_DECIMALS = 3

#: Every word that can be part of a number.
NUMBER_WORDS = frozenset(
    {*_SMALL, *_BY_TEN, "hundred", "thousand", "point", "half", "quarter", "quarters", "oh"}
)


def parse_number(words: Sequence[str], start: int) -> tuple[float, int] | None:
    """Return the longest number that begins at ``start`` and the place after it, or None.

    ``words`` are those of ``words_of``. Known are numerals, words up to 999 999, decimals (two
    point five), halves and quarters (two and a half, three quarters) and one minus.
    """
    if start < len(words) and words[start] in _MINUS:
        found = _unsigned_at(words, start + 1)
        return (-found[0], found[1]) if found else None
    return _unsigned_at(words, start)


def _unsigned_at(words: Sequence[str], start: int) -> tuple[float, int] | None:
    if start < len(words) and _NUMERAL.fullmatch(words[start]):
        return _with_fraction(words, float(words[start]), start + 1)
    fraction = parse_fraction(words, start)
    if fraction:
        return fraction
    whole = _whole_at(words, start)
    if whole is None:
        return None
    value, end = whole
    if end < len(words) and words[end] == "point":
        last = end + 1
        while last < len(words) and last <= end + _MOST_DIGITS and words[last] in _DIGITS:
            last += 1
        digits = "".join(_DIGITS[word] for word in words[end + 1 : last])
        return (float(f"{value}.{digits}"), last) if digits else (float(value), end)
    return _with_fraction(words, float(value), end)


def parse_fraction(words: Sequence[str], start: int) -> tuple[float, int] | None:
    """Return a half or quarters that begin at ``start``, and the place after them, or None."""
    for length in (2, 1):
        said = tuple(words[start : start + length])
        if said in _FRACTIONS:
            return _FRACTIONS[said], start + len(said)
    return None


def spell_number(value: float) -> str:
    """Return a number in words; it may have three decimals and lie within ±999 999.

    Raises ValueError beyond that.
    """
    exact = Decimal(repr(float(value)))
    if not exact.is_finite() or abs(exact) > _LARGEST or exact != round(exact, _DECIMALS):
        raise ValueError(f"{value}: expected a number up to {_LARGEST} of {_DECIMALS} decimals")
    whole, _, decimals = format(abs(exact), "f").partition(".")
    words = _whole_words(int(whole))
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


def _whole_at(words: Sequence[str], start: int) -> tuple[int, int] | None:
    """Return a whole number in words: thousands, then what is below a thousand."""
    high = _below_thousand(words, start)
    if high is None:
        return None
    value, end = high
    if end >= len(words) or words[end] != "thousand":
        return high
    low = _below_thousand(words, _past_and(words, end + 1))
    return (value * 1000 + low[0], low[1]) if low else (value * 1000, end + 1)


def _below_thousand(words: Sequence[str], start: int) -> tuple[int, int] | None:
    word = words[start] if start < len(words) else ""
    following = words[start + 1] if start + 1 < len(words) else ""
    if word == "a" and following in ("hundred", "thousand"):
        small = (1, start + 1)
    else:
        found = _below_hundred(words, start)
        if found is None:
            return None
        small = found
    value, end = small
    if not 1 <= value <= 19 or end >= len(words) or words[end] != "hundred":
        return small
    low = _below_hundred(words, _past_and(words, end + 1))
    return (value * 100 + low[0], low[1]) if low else (value * 100, end + 1)


def _below_hundred(words: Sequence[str], start: int) -> tuple[int, int] | None:
    word = words[start] if start < len(words) else ""
    if word in _SMALL:
        return _SMALL[word], start + 1
    if word not in _BY_TEN:
        return None
    one = _SMALL.get(words[start + 1], 0) if start + 1 < len(words) else 0
    return (_BY_TEN[word] + one, start + 2) if 1 <= one <= 9 else (_BY_TEN[word], start + 1)


def _past_and(words: Sequence[str], place: int) -> int:
    return place + 1 if place < len(words) and words[place] == "and" else place


def _whole_words(value: int) -> str:
    if value < 20:
        return _ONES[value]
    if value < 100:
        ten, one = divmod(value, 10)
        return _TENS[ten - 2] + (f" {_ONES[one]}" if one else "")
    size, name = (100, "hundred") if value < 1000 else (1000, "thousand")
    high, low = divmod(value, size)
    return f"{_whole_words(high)} {name}" + (f" {_whole_words(low)}" if low else "")
