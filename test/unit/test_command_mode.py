from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_inference.speech.recognition.command_mode import CommandMode, CommandModeSettings
from edge_inference.speech.recognition.phrase_graph import PhraseGraph
from edge_inference.speech.recognition.recognizer import Recognizer
from edge_inference.speech.recognition.tokenizer import END, START
from speech_doubles import recognizer_that, saying, small_tokenizer

TOKENIZER = small_tokenizer()
LAX = CommandModeSettings(margin=10.0)
SECOND = np.zeros(16_000, np.float32)


def mode_of(
    recognizer: Recognizer,
    phrases: Iterable[str],
    settings: CommandModeSettings | None = None,
    ignored: Iterable[str] = (),
    joiners: Iterable[str] = (),
    **more: Any,
) -> CommandMode:
    graph = PhraseGraph(phrases, recognizer.tokenizer, ignored, joiners)
    return CommandMode(recognizer, graph, settings, **more)


LETTERS = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=5).map(" ".join)


@given(st.sets(LETTERS, min_size=1, max_size=12), st.data(), st.integers(1, 6))
def test_spoken_phrase_is_recognized(phrases: set[str], data: st.DataObject, beam: int) -> None:
    said = data.draw(st.sampled_from(sorted(phrases)))
    ending = data.draw(st.sampled_from(["", ".", "!", "?"]))
    spelling = said[0].upper() + said[1:] + ending
    recognizer = recognizer_that(saying(TOKENIZER.ids(spelling)))
    command = mode_of(recognizer, sorted(phrases), CommandModeSettings(beam_width=beam)).recognize(
        SECOND
    )
    assert (command.text, command.problem) == (said, "")
    assert command.confidence > 0.99


def spelt(said: str) -> str:
    return said[0].upper() + said[1:]


@pytest.mark.parametrize("said", ["h", "a b c d e", "a", "b a"])
def test_other_speech_is_rejected_with_the_most_similar_phrase(said: str) -> None:
    recognizer = recognizer_that(saying(TOKENIZER.ids(spelt(said))))
    command = mode_of(recognizer, ["a b c"]).recognize(SECOND)
    assert command.text == ""
    # Some hypotheses are dropped before the phrase is complete.
    assert command.problem.startswith(("none of the grammar's phrases", "I heard"))
    assert not command.log_probabilities or "nearest is 'a b c'" in command.problem
    assert 0.0 <= command.confidence < 0.14


@pytest.mark.parametrize(
    ("meanings", "text"), [({"a": 1, "b": 1}, ""), ({"a": 1, "b": 2}, "a d b")]
)
def test_command_is_not_repeated(meanings: dict[str, int], text: str) -> None:
    said = recognizer_that(saying(TOKENIZER.ids("A d b")))
    mode = mode_of(said, ["a", "b"], LAX, joiners=["d"], meanings=meanings)
    assert mode.recognize(SECOND).text == text


def unsure_of(loss: float) -> Callable[[list[int]], Mapping[int, float]]:
    """Decode ``C`` freely, and ``A`` as a phrase that is less likely by ``loss``."""
    a, c = TOKENIZER.ids("A C")

    def answer(tokens: list[int]) -> Mapping[int, float]:
        return {c: 0.0, a: -loss} if len(tokens) == 1 else {END: 0.0}

    return answer


@pytest.mark.parametrize(("threshold", "text"), [(-2.0, ""), (-2.6, "a")])
def test_threshold_decides(threshold: float, text: str) -> None:
    settings = CommandModeSettings(eager_threshold=threshold)
    mode = mode_of(recognizer_that(unsure_of(5.0)), ["a"], settings, eager=["a"])
    command = mode.recognize(SECOND)
    assert command.text == text
    assert (f"below the threshold of {threshold:.2f}" in command.problem) == (not text)


@pytest.mark.parametrize(("eager", "text"), [([], ""), (["b"], ""), (["a", "b"], "a")])
def test_eager_phrases_have_their_own_threshold_and_margin(eager: list[str], text: str) -> None:
    mode = mode_of(recognizer_that(unsure_of(4.5)), ["a", "b"], eager=eager)
    assert mode.recognize(SECOND).text == text


def test_partial_speech_is_not_accepted_eagerly() -> None:
    mode = mode_of(recognizer_that(unsure_of(4.5)), ["a"], eager=["a"])
    assert mode.recognize(SECOND, is_final=False).text == ""


@pytest.mark.parametrize(("expects_answer", "text"), [(False, ""), (True, "a")])
def test_answers_count_only_after_a_question(expects_answer: bool, text: str) -> None:
    mode = mode_of(recognizer_that(saying(TOKENIZER.ids("A"))), ["a", "b c"], answers=["a"])
    assert mode.recognize(SECOND, expects_answer=expects_answer).text == text


@pytest.mark.parametrize(
    ("behind", "settings", "text"),
    [
        (2.5, {"meanings": {"a b": 1, "a c": 2}}, ""),
        (3.5, {"meanings": {"a b": 1, "a c": 2}}, "a b"),
        (1.5, {"meanings": {"a b": 1, "a c": 1}}, "a b"),
        (1.5, {}, "a b"),
        (1.5, {"meanings": {"a b": 1, "a c": 2}, "eager": ["a b"]}, "a b"),
    ],
)
def test_phrase_must_exceed_phrases_of_another_meaning(
    behind: float, settings: dict[str, Any], text: str
) -> None:
    a, b, c = TOKENIZER.ids("A b c")

    def torn(tokens: list[int]) -> Mapping[int, float]:
        return {1: {a: 0.0}, 2: {b: 0.0, c: -behind}}.get(len(tokens), {END: 0.0})

    command = mode_of(recognizer_that(torn), ["a b", "a c"], **settings).recognize(SECOND)
    assert command.text == text
    assert command.problem == (
        "" if text else ("'a b' or 'a c': too much alike to tell; please say it again")
    )


def test_wider_beam_finds_a_phrase_with_an_unlikely_start() -> None:
    good, bad = TOKENIZER.ids("A B C"), TOKENIZER.ids("D E F")

    def misleading(tokens: list[int]) -> Mapping[int, float]:
        if tokens == [START]:
            return {good[0]: -1.0, bad[0]: 0.0}
        script = [START, *good, END]
        return {script[len(tokens)]: 0.0} if tokens == script[: len(tokens)] else {1: 0.0}

    def transcribe(beam: int) -> str:
        phrases = ["a B C", "d E F"]
        settings = CommandModeSettings(beam_width=beam)
        return mode_of(recognizer_that(misleading), phrases, settings).recognize(SECOND).text

    assert transcribe(1) == ""
    assert transcribe(2) == "a B C"


def test_several_commands_in_one_sentence() -> None:
    said = recognizer_that(saying(TOKENIZER.ids("H a b, d c a")))
    command = mode_of(said, ["a b", "c"], ignored=["h", "a"], joiners=["e", "d"]).recognize(SECOND)
    assert (command.text, command.problem) == ("a b e c", "")


def freely(lead: float) -> Recognizer:
    """Decode ``A c d`` freely, and ``A b`` as a phrase that is less likely by ``lead``."""
    a, b, c, d = TOKENIZER.ids("A b c d")

    def answer(tokens: list[int]) -> Mapping[int, float]:
        known = {
            (START,): {a: 0.0},
            (START, a): {c: 0.0, b: -lead},
            (START, a, c): {d: 0.0},
        }
        return known.get(tuple(tokens), {END: 0.0})

    return recognizer_that(answer)


@pytest.mark.parametrize(("lead", "text"), [(1.0, "a b"), (1.5, "")])
def test_much_likelier_free_text_rejects_a_phrase(lead: float, text: str) -> None:
    command = mode_of(freely(lead), ["a b"]).recognize(SECOND)
    assert command.text == text
    assert command.problem == (
        "" if text else "I heard 'A c d', which is no command; the nearest is 'a b'"
    )


def test_eager_phrases_are_accepted_despite_likelier_free_text() -> None:
    assert mode_of(freely(1.5), ["a b"], eager=["a b"]).recognize(SECOND).text == "a b"


@given(
    st.sets(LETTERS, min_size=1, max_size=8),
    st.lists(st.integers(3 + 256, len(TOKENIZER) - 1), max_size=12),
    st.integers(1, 6),
)
def test_free_decoding_in_the_beam_equals_free_transcription(
    phrases: set[str], said: list[int], beam: int
) -> None:
    """The extra row of the beam has the same text as free transcription."""
    recognizer = recognizer_that(saying(said))
    settings = CommandModeSettings(beam_width=beam, margin=0.0, lead=0.0, threshold=-100.0)
    command = mode_of(recognizer, sorted(phrases), settings).recognize(SECOND)
    if command.problem.startswith("I heard"):
        assert f"I heard {recognizer.transcribe(SECOND).text!r}," in command.problem
