"""Spoken numbers and units."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_inference.speech.language.numbers import parse_number, spell_number
from edge_inference.speech.language.text_normalization import split_words
from edge_inference.speech.language.units import find_unit, format_quantity, parse_quantity


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ()),
        ("  ?!", ()),
        ("What's that?", ("whats", "that")),
        ("What\u2019s that", ("whats", "that")),
        ("Twenty-five", ("twenty", "five")),
        ("10m, 90°", ("10", "m", "90", "°")),
        ("1,000 at 2.5 m/s.", ("1000", "at", "2.5", "m/s")),
        ("2,5", ("2", "5")),
        (".5 m", ("0.5", "m")),
        ("go.5", ("go", "5")),
        ("go -5 m, 2-3, twenty-5", ("go", "minus", "5", "m", "2", "3", "twenty", "5")),
        ("go \u22120.5", ("go", "minus", "0.5")),
        ("go -.5", ("go", "minus", "0.5")),
        ("größer", ("größer",)),
    ],
)
def test_text_is_split_into_words(text: str, words: tuple[str, ...]) -> None:
    assert split_words(text) == words


@pytest.mark.parametrize(
    ("text", "value", "rest"),
    [
        ("ten", 10, 0),
        ("10", 10, 0),
        ("2.5", 2.5, 0),
        ("twenty five", 25, 0),
        ("twenty meters", 20, 1),
        ("ten five", 10, 1),
        ("one two three", 1, 2),
        ("a hundred and five", 105, 0),
        ("one hundred eighty", 180, 0),
        ("three hundred sixty", 360, 0),
        ("two thousand and one", 2001, 0),
        ("twelve thousand three hundred forty five", 12345, 0),
        ("zero point two five", 0.25, 0),
        ("two point oh five", 2.05, 0),
        ("two point", 2, 1),
        ("two and a half", 2.5, 0),
        ("2 and a half", 2.5, 0),
        ("two and a quarter meters", 2.25, 1),
        ("three quarters", 0.75, 0),
        ("half", 0.5, 0),
        ("two and go", 2, 2),
        ("minus five", -5, 0),
        ("twenty hundred", 20, 1),
    ],
)
def test_numbers_are_parsed(text: str, value: float, rest: int) -> None:
    words = split_words(text)
    found = parse_number(words, 0)
    assert found is not None
    assert found[0] == pytest.approx(value)
    assert len(words) - found[1] == rest


NO_NUMBERS = ["", "a", "and", "hundred", "point five", "left", "minus", "tent", "minus minus two"]
ENDLESS = ["minus " * 10_000 + "two", "9" * 400, "9" * 400 + " and a half", "0." + "1" * 400]


@pytest.mark.parametrize("text", NO_NUMBERS + ENDLESS)
def test_invalid_numbers(text: str) -> None:
    assert parse_number(split_words(text), 0) is None


def test_number_of_digits_is_bounded() -> None:
    words = ("one", "point", *["two"] * 10_000)
    assert parse_number(words, 0) == (pytest.approx(1.2222222), 17)


@given(st.integers(-999_999, 999_999))
def test_whole_numbers_round_trip(value: int) -> None:
    words = split_words(spell_number(value))
    assert parse_number(words, 0) == (value, len(words))


@given(st.decimals(-999, 999, places=3, allow_nan=False, allow_infinity=False).map(float))
def test_decimals_round_trip(value: float) -> None:
    words = split_words(spell_number(value))
    assert parse_number(words, 0) == (value, len(words))


@pytest.mark.parametrize("value", [1e6, math.nan, math.inf, 0.0001, 1 / 3])
def test_numbers_without_a_spelling(value: float) -> None:
    with pytest.raises(ValueError, match="expected a number"):
        spell_number(value)


@pytest.mark.parametrize(
    ("text", "value", "si"),
    [
        ("ten meters", 10, "m"),
        ("10m", 10, "m"),
        ("a meter", 1, "m"),
        ("half a metre", 0.5, "m"),
        ("a meter and a half", 1.5, "m"),
        ("two and a half meters", 2.5, "m"),
        ("fifty centimeters", 0.5, "m"),
        ("three feet", 0.9144, "m"),
        ("twelve inches", 0.3048, "m"),
        ("two yards", 1.8288, "m"),
        ("five millimeters", 0.005, "m"),
        ("a mile", 1609.344, "m"),
        ("a revolution", 2 * math.pi, "rad"),
        ("two hours", 7200, "s"),
        ("90°", math.pi / 2, "rad"),
        ("forty five degrees", math.pi / 4, "rad"),
        ("a quarter of", 0.25, None),
        ("half a minute", 30, "s"),
        ("half a meter per second", 0.5, "m/s"),
        ("0.5 m/s", 0.5, "m/s"),
        ("thirty six kilometers per hour", 10, "m/s"),
        ("3.6 km/h", 1, "m/s"),
        ("thirty degrees per second", math.pi / 6, "rad/s"),
        ("five", 5, None),
    ],
)
def test_quantities_are_parsed(text: str, value: float, si: str | None) -> None:
    found = parse_quantity(split_words(text), 0)
    assert found is not None
    factor = found.unit.factor if found.unit else 1.0
    assert found.number * factor == pytest.approx(value)
    assert (found.unit.si if found.unit else None) == si


@pytest.mark.parametrize("text", ["", "a", "a cup", "meters", "an hour glass"[3:]])
def test_invalid_quantities(text: str) -> None:
    assert parse_quantity(split_words(text), 0) is None


@given(
    st.integers(1, 4000).map(lambda quarter: quarter / 4),
    st.sampled_from(["meters", "degrees", "seconds", "meters per second"]),
    st.booleans(),
)
def test_quantities_round_trip(number: float, unit_name: str, digits: bool) -> None:
    unit = find_unit(unit_name)
    for form in format_quantity(number, unit, digits=digits):
        words = split_words(form)
        found = parse_quantity(words, 0)
        assert found is not None
        assert (found.number, found.unit, found.end) == (number, unit, len(words))
