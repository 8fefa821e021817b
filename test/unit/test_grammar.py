"""Grammars: the meaning of sentences, and the errors of grammar files."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_inference.errors import ConfigError
from edge_inference.speech.language import grammar as grammar_module
from edge_inference.speech.language.grammar import Grammar, GrammarSentence
from edge_inference.speech.language.grammar_file import read_grammar
from edge_inference.speech.language.text_normalization import split_words

SHIPPED = Path(__file__).parents[2] / "config" / "voice" / "grammar.yaml"
SLOTS = """\
slots:
  distance: {type: number, unit: meters, minimum: 0.1, maximum: 20, spoken: [0.5, 2]}
  angle: {type: number, unit: degrees, minimum: 1, maximum: 360, unit_optional: true}
  count: {type: number, minimum: 1, maximum: 3, spoken: [1, 2, 3]}
  side: {type: words, values: [left, right]}
  room: {type: words, values: {living_room: [lounge], kitchen: []}}
"""


def grammar_of(folder: Path, text: str) -> Grammar:
    file = folder / "grammar.yaml"
    file.write_text(text)
    return read_grammar(file)


def one_intent(folder: Path, *phrases: str, more: str = "") -> Grammar:
    lines = "".join(f"      - {phrase}\n" for phrase in phrases)
    return grammar_of(folder, f"{SLOTS}{more}intents:\n  act:\n    phrases:\n{lines}")


@cache
def shipped() -> Grammar:
    return read_grammar(SHIPPED)


@cache
def sentences(digits: bool) -> tuple[GrammarSentence, ...]:
    return shipped().sentences(digits=digits)


@pytest.mark.parametrize(
    ("phrase", "said"),
    [
        ("halt", ["halt"]),
        ("go [on] now", ["go on now", "go now"]),
        ("(pick|take) it", ["pick it", "take it"]),
        ("[(a|b c)] d", ["a d", "b c d", "d"]),
        ("a [b|c]", ["a b", "a c", "a"]),
        ("what's up", ["whats up"]),
        ("turn {side}", ["turn left", "turn right"]),
        ("to {room}", ["to living room", "to lounge", "to kitchen"]),
        ("{count} times", ["one times", "two times", "three times"]),
        ("go {distance}", ["go half a meter", "go zero point five meters", "go two meters"]),
        ("turn {angle}", []),
    ],
)
def test_phrase_expands_to_sentences(tmp_path: Path, phrase: str, said: list[str]) -> None:
    assert sorted(one_intent(tmp_path, f'"{phrase}"').phrases()) == sorted(said)


def test_numbers_expand_to_digits_too(tmp_path: Path) -> None:
    grammar = one_intent(tmp_path, '"go {distance}"')
    assert grammar.phrases(digits=True) == ("go 0.5 meters", "go 2 meters")


def test_synonyms_replace_their_word(tmp_path: Path) -> None:
    grammar = one_intent(tmp_path, "go on", more="synonyms: {go: [walk, carry yourself]}\n")
    assert set(grammar.phrases()) == {"go on", "walk on", "carry yourself on"}


@pytest.mark.parametrize(
    ("phrase", "text", "slots"),
    [
        ("go {distance}", "go 2.5 m", {"distance": (2.5, "m")}),
        ("go {distance}", "go two and a half meters", {"distance": (2.5, "m")}),
        ("go {distance}", "go fifty centimeters", {"distance": (0.5, "m")}),
        ("turn {angle}", "turn ninety", {"angle": (math.pi / 2, "rad")}),
        ("turn {angle}", "turn one radian", {"angle": (1.0, "rad")}),
        ("{count} times", "3 times", {"count": (3.0, "")}),
        ("to the {room}", "to the lounge", {"room": ("living_room", "")}),
        ("from {from:room} to {room}", "from kitchen to lounge", {"from": ("kitchen", "")}),
        ("go {distance} {side}", "go 1 m left", {"side": ("left", "")}),
    ],
)
def test_values_are_parsed(
    tmp_path: Path, phrase: str, text: str, slots: dict[str, tuple[float | str, str]]
) -> None:
    reading = one_intent(tmp_path, f'"{phrase}"').parse(split_words(text))
    assert reading is not None
    for name, (value, unit) in slots.items():
        slot = reading.slots[name]
        assert slot.name == name
        assert slot.unit == unit
        assert slot.value == (pytest.approx(value) if isinstance(value, float) else value)


def test_phrase_may_have_fixed_slots(tmp_path: Path) -> None:
    text = SLOTS + "intents:\n  act:\n    phrases:\n      - {say: back, slots: {side: rear}}\n"
    reading = grammar_of(tmp_path, text).parse(("back",))
    assert reading is not None
    assert reading.slots["side"].value == "rear"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", ""),
        ("sing a song", ""),
        ("go two apples", ""),
        ("go 21 meters", "distance: '21 meters' is not from 0.1 to 20 meters"),
        ("go zero meters", "distance: 'zero meters' is not from"),
        ("go minus two meters", "is not from 0.1"),
        ("go two seconds", "'two seconds' is not in meters"),
        ("go two", "'two' has no unit; say it in meters"),
        ("turn up", "side: 'up' is not known; known: left, right"),
        ("turn 400", "angle: '400' is not from 1 to 360 degrees"),
        ("to the moon", "room: 'moon' is not known; known: living_room, kitchen"),
        ("to the far side of the moon", ""),
        ("1.5 meters times", "a plain number belongs"),
    ],
)
def test_invalid_value_is_explained(tmp_path: Path, text: str, problem: str) -> None:
    phrases = ["go {distance}", "turn {side}", "turn {angle}", "to the {room}", "{count} times"]
    grammar = one_intent(tmp_path, *(f'"{phrase}"' for phrase in phrases))
    assert grammar.parse(split_words(text)) is None
    found = grammar.explain_mismatch(split_words(text))
    assert problem in found
    assert bool(found) is bool(problem)


@pytest.mark.parametrize(
    ("phrase", "error"),
    [
        ('""', "every word is optional"),
        ('"[go] [on]"', "every word is optional"),
        ('"(go|)"', "every word is optional"),
        ('"go [on"', "']' is missing"),
        ('"(go"', "')' is missing"),
        ('"go)"', "has no opening bracket"),
        ('"' + "[" * 5000 + '"', "expected at most 50 brackets"),
        ('"' + "a " * 100_000 + '"', "expected at most 500 characters, got 200000"),
        ('"' + "(a|b) " * 50 + '"', "more than 50000 sentences"),
        ('"go {distance"', "'{' is not a slot"),
        ('"go {}"', "'{}' is not a slot"),
        ('"go {distanc}"', "unknown slot 'distanc'; did you mean 'distance'"),
        ('"{side} {side}"', "is used twice"),
        ('"go !"', "'!' has no word"),
        ("yes", "expected a text, got True; put it in quotes"),
        ("{say: on}", "slots: missing"),
        ("{say: go, slots: {side: 1}}", "expected a text, got 1"),
        ('{say: "go {side}", slots: {side: left}}', "both a placeholder and fixed"),
        ("{do: go}", "unknown key"),
    ],
)
def test_invalid_phrase_is_reported_with_its_line(tmp_path: Path, phrase: str, error: str) -> None:
    with pytest.raises(ConfigError) as raised:
        one_intent(tmp_path, "fine", phrase)
    assert error in str(raised.value)
    assert "line 11" in str(raised.value)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "the file is empty"),
        ("intents: {}\n", "line 1, intents: expected at least one intent"),
        ("slots: {}\n", "line 1, intents: missing"),
        ("intents:\n  go:\n    phrases: []\n", "line 3, intents.go.phrases: expected a list"),
        ("intents:\n  go: {}\n", "intents.go.phrases: expected a list"),
        ("intent: {}\n", "did you mean 'intents'"),
        ("slots:\n  a: {type: word}\n", "line 2, slots.a.type: expected number or words"),
        ("slots:\n  a: {type: words}\n", "expected a list of texts, got None"),
        ("slots:\n  a: {type: words, values: []}\n", "expected at least one value"),
        ("slots:\n  a: {type: words, values: [1]}\n", "expected a text, got 1"),
        ("slots:\n  a: {type: words, values: [x, X]}\n", "'x' stands for both 'x' and 'X'"),
        ("slots:\n  a: {type: words, values: ['!']}\n", "'!' has no word"),
        ("slots:\n  a: {type: number, minimum: 1}\n", "slots.a.maximum: missing"),
        ("slots:\n  a: {type: number, minimum: 2, maximum: 1}\n", "2 is above the maximum, 1"),
        (
            "slots:\n  a: {type: number, unit: furlongs, minimum: 1, maximum: 2}\n",
            "'furlongs' is not known",
        ),
        (
            "slots:\n  a: {type: number, minimum: 1, maximum: 2, spoken: [3]}\n",
            "spoken: 3 is not from 1 to 2",
        ),
        (
            "slots:\n  a: {type: number, minimum: 0, maximum: 1, spoken: [0.12345]}\n",
            "line 2, slots.a.spoken: 0.12345: expected a number up to 999999 with 3 decimals",
        ),
        (
            "slots:\n  a: {type: number, minimum: 0, maximum: 1.0e+9, spoken: [1.0e+9]}\n",
            "expected a number up to 999999",
        ),
        (
            "slots:\n  a: {type: number, minimum: 0, maximum: .inf}\n",
            "line 2, slots.a.maximum: expected a number, got inf",
        ),
        (
            "intents:\n  '': {phrases: [go]}\n",
            "line 2, intents: expected an intent name of letters",
        ),
        (
            "intents:\n  go then turn: {phrases: [go]}\n",
            "intents.go then turn: expected an intent name",
        ),
        ("synonyms: {Go on: [walk]}\n", "expected one lower-case word"),
    ],
)
def test_invalid_file_is_reported_with_its_line(tmp_path: Path, text: str, error: str) -> None:
    with pytest.raises(ConfigError) as raised:
        grammar_of(tmp_path, text)
    assert error in str(raised.value)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("go left", '"go {side}"'),
        ("go [on]", "go"),
        ('"turn {angle}"', '"turn {count}"'),
        ('"to the lounge"', '"to the {room}"'),
        ('"go {distance}"', '"go {way:distance}"'),
    ],
)
def test_conflicting_phrases_are_reported_with_both_lines(
    tmp_path: Path, first: str, second: str
) -> None:
    text = f"{SLOTS}intents:\n  one:\n    phrases:\n      - {first}\n  two:\n    phrases:\n"
    with pytest.raises(ConfigError, match=r"grammar.yaml, lines 10 and 13: .*one meaning"):
        grammar_of(tmp_path, f"{text}      - {second}\n")


def test_two_phrases_of_one_meaning_may_share_a_text(tmp_path: Path) -> None:
    assert one_intent(tmp_path, '"go [on]"', "go").phrases() == ("go on", "go")


def test_grammar_with_too_many_sentences_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grammar_module, "MAX_SENTENCES", 2000)
    assert len(one_intent(tmp_path, '"x ' + "(a|b|c) " * 6 + '"').sentences()) == 3**6
    with pytest.raises(ConfigError, match=r"line 10: .*more than 2000 sent"):
        one_intent(tmp_path, '"x ' + "(a|b|c) " * 30 + '"')


def test_too_many_spoken_numbers_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grammar_module, "MAX_SENTENCES", 2000)
    grammar = one_intent(tmp_path, '"' + " ".join(f"{{a{i}:distance}}" for i in range(11)) + '"')
    with pytest.raises(ConfigError, match="more than 2000 sentences"):
        grammar.phrases()


@given(st.data())
def test_every_shipped_sentence_parses_to_its_meaning(data: st.DataObject) -> None:
    digits = data.draw(st.booleans())
    sentence: GrammarSentence = data.draw(st.sampled_from(sentences(digits)))
    reading = shipped().parse(split_words(sentence.text))
    assert reading is not None
    assert (reading.intent, reading.slots) == (sentence.intent, sentence.slots)


def test_shipped_grammar_fits_command_mode() -> None:
    assert 100 < len(shipped().phrases()) < 5000
    assert {"move", "turn", "go_to", "stop", "confirm", "deny"} <= set(shipped().intents)
    assert "go forward ten meters" in shipped().phrases()


def test_example_of_the_documentation_is_valid(tmp_path: Path) -> None:
    text = (SHIPPED.parents[2] / "docs" / "voice.md").read_text()
    grammar = grammar_of(tmp_path, text.split("```yaml\n")[1].split("```")[0])
    assert "go to the dock" in grammar.phrases()


def test_templates_have_open_slots(tmp_path: Path) -> None:
    templates = one_intent(tmp_path, '"go [on] {distance}"').templates()
    assert [template.words for template in templates] == [("go", "on", None), ("go", None)]
    assert templates[0].placeholders[0].kind == "distance"
