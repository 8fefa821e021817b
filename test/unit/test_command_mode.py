from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_inference.errors import ConfigError
from edge_inference.speech.command_mode import CommandMode, CommandSettings
from edge_inference.speech.phrase_trie import build_trie, written
from edge_inference.speech.tokenizer import END, START
from speech_doubles import recogniser_that, saying, small_tokenizer

TOKENIZER = small_tokenizer()
SECOND = np.zeros(16_000, np.float32)
LETTERS = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=5).map(" ".join)


@pytest.mark.parametrize(
    ("phrases", "complaint"), [([], "no phrases"), (["a", " "], "an empty phrase")]
)
def test_a_grammar_without_words_is_refused(phrases: list[str], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        CommandMode(recogniser_that(saying([])), phrases)


def test_a_phrase_is_written_as_a_sentence() -> None:
    assert written(" go  home ") == ("Go home", "Go home.", "Go home!", "Go home?")


def test_the_first_of_two_phrases_written_the_same_wins() -> None:
    root = build_trie(["a b", "A  b"], TOKENIZER, lambda phrase: [" ".join(phrase.upper().split())])
    a, b = TOKENIZER.ids("A B")
    assert root.children[a].children[b].phrase == "a b"


@given(st.sets(LETTERS, min_size=1, max_size=12), st.data(), st.integers(1, 6))
def test_a_phrase_that_is_said_is_found(phrases: set[str], data: st.DataObject, beam: int) -> None:
    said = data.draw(st.sampled_from(sorted(phrases)))
    ending = data.draw(st.sampled_from(["", ".", "!", "?"]))
    spelling = said[0].upper() + said[1:] + ending
    recogniser = recogniser_that(saying(TOKENIZER.ids(spelling)))
    command = CommandMode(recogniser, sorted(phrases), CommandSettings(beam=beam)).recognise(SECOND)
    assert (command.text, command.problem) == (said, "")
    assert command.confidence > 0.99


@pytest.mark.parametrize("said", ["h", "a b c d e", "a", "b a"])
def test_other_speech_is_rejected_with_the_nearest_phrase(said: str) -> None:
    spelling = TOKENIZER.ids(said[0].upper() + said[1:])
    command = CommandMode(recogniser_that(saying(spelling)), ["a b c"]).recognise(SECOND)
    assert command.text == ""
    assert "nearest is 'a b c'" in command.problem
    assert "below the threshold of -2.00" in command.problem
    assert 0.0 < command.confidence < 0.14


def test_the_threshold_decides() -> None:
    said = TOKENIZER.ids("A")
    lax = CommandSettings(threshold=-50.0)
    assert CommandMode(recogniser_that(saying(said)), ["b"], lax).recognise(SECOND).text == "b"


@pytest.mark.parametrize(("eager", "text"), [([], ""), (["b"], ""), (["a", "b"], "a")])
def test_eager_phrases_have_a_threshold_of_their_own(eager: list[str], text: str) -> None:
    a, c = TOKENIZER.ids("A C")

    def unsure(tokens: list[int]) -> Mapping[int, float]:
        return {c: 0.0, a: -5.0} if len(tokens) == 1 else {END: 0.0}

    mode = CommandMode(recogniser_that(unsure), ["a", "b"], eager=eager)
    command = mode.recognise(SECOND)
    assert command.text == text
    assert ("below the threshold of -2.00" in command.problem) == (not text)


@pytest.mark.parametrize(
    ("behind", "settings", "text"),
    [
        (1.5, {"meanings": {"a b": 1, "a c": 2}}, ""),
        (2.5, {"meanings": {"a b": 1, "a c": 2}}, "a b"),
        (1.5, {"meanings": {"a b": 1, "a c": 1}}, "a b"),
        (1.5, {}, "a b"),
        (1.5, {"meanings": {"a b": 1, "a c": 2}, "eager": ["a b"]}, "a b"),
    ],
)
def test_a_phrase_must_lead_those_of_another_meaning(
    behind: float, settings: dict[str, Any], text: str
) -> None:
    a, b, c = TOKENIZER.ids("A b c")

    def torn(tokens: list[int]) -> Mapping[int, float]:
        return {1: {a: 0.0}, 2: {b: 0.0, c: -behind}}.get(len(tokens), {END: 0.0})

    command = CommandMode(recogniser_that(torn), ["a b", "a c"], **settings).recognise(SECOND)
    assert command.text == text
    assert command.problem == (
        "" if text else ("'a b' or 'a c': too much alike to tell; please say it again")
    )


def test_a_wider_beam_finds_what_starts_badly() -> None:
    good, bad = TOKENIZER.ids("A B C"), TOKENIZER.ids("D E F")

    def misleading(tokens: list[int]) -> Mapping[int, float]:
        if tokens == [START]:
            return {good[0]: -1.0, bad[0]: 0.0}
        script = [START, *good, END]
        return {script[len(tokens)]: 0.0} if tokens == script[: len(tokens)] else {1: 0.0}

    def heard(beam: int) -> str:
        phrases = ["a B C", "d E F"]
        settings = CommandSettings(beam=beam)
        return CommandMode(recogniser_that(misleading), phrases, settings).recognise(SECOND).text

    assert heard(1) == ""
    assert heard(2) == "a B C"


def test_own_spellings_lead_to_the_phrase() -> None:
    def numerals(phrase: str) -> Iterable[str]:
        return [phrase.replace("two", "B")]

    recogniser = recogniser_that(saying(TOKENIZER.ids("A B")))
    command = CommandMode(recogniser, ["A two"], spellings=numerals).recognise(SECOND)
    assert command.text == "A two"
