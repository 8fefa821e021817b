from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_inference.speech.language import stop_phrases
from edge_inference.speech.language.grammar_file import read_grammar
from edge_inference.speech.recognition import command_phrases
from edge_inference.speech.recognition.command_mode import CommandModeSettings
from edge_inference.speech.recognition.command_phrases import make_command_mode
from speech_doubles import recognizer_that, saying, small_tokenizer

GRAMMAR = """
ignored: [h]
joiners: [d]
synonyms: {a: [g]}
intents:
  go: {phrases: [a b]}
  turn: {phrases: [a c]}
  stop: {phrases: [stop]}
"""
SECOND = np.zeros(16_000, np.float32)
TOKENIZER = small_tokenizer()


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("A b", "a b"),
        ("G b.", "g b"),
        ("H a c", "a c"),
        ("A b d a c", "a b d a c"),
        ("Stop", "stop"),
        ("A", ""),
    ],
)
def test_phrases_of_a_grammar(tmp_path: Path, written: str, text: str) -> None:
    file = tmp_path / "grammar.yaml"
    file.write_text(GRAMMAR)
    recognizer = recognizer_that(saying(TOKENIZER.ids(written)))
    mode = make_command_mode(read_grammar(file), recognizer, CommandModeSettings())
    assert mode.recognize(SECOND).text == text


@pytest.mark.parametrize("text", ["a b", ""])
def test_similar_phrases_compete_only_with_another_meaning(tmp_path: Path, text: str) -> None:
    """``a b`` and ``a e`` are equally likely, which matters only if their meanings differ."""
    file = tmp_path / "grammar.yaml"
    one, two = "go: {phrases: [a (b|e)]}", "go: {phrases: [a b]}\n  turn: {phrases: [a e]}"
    phrases = one if text else two
    file.write_text(f"intents:\n  {phrases}\n")
    a, b, e = TOKENIZER.ids("A b e")

    def torn(tokens: list[int]) -> dict[int, float]:
        return {1: {a: 0.0}, 2: {b: 0.0, e: -1.0}}.get(len(tokens), {2: 0.0})

    mode = make_command_mode(read_grammar(file), recognizer_that(torn), CommandModeSettings())
    assert mode.recognize(SECOND).text == text


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("H", "h"),  # the grammar has no stop
        ("H, h, h!", "h"),
        ("H a b", "h"),
        ("A b, h.", "h"),  # it must not execute the earlier command
        ("E f g, h.", "h"),
        ("Whoa", "whoa"),
        ("A b d h", "a b d h"),  # at the end of the plan
        ("H c", "h c"),  # a phrase
        ("A b f h e", "h"),
    ],
)
def test_stop_is_recognized_with_any_grammar(tmp_path: Path, written: str, text: str) -> None:
    file = tmp_path / "grammar.yaml"
    file.write_text("joiners: [d]\nintents: {go: {phrases: [a b, h c]}}\n")
    recognizer = recognizer_that(saying(TOKENIZER.ids(written)))
    mode = make_command_mode(read_grammar(file), recognizer, CommandModeSettings(), ("h", "whoa"))
    assert mode.recognize(SECOND).text == text


@pytest.mark.parametrize(("written", "text"), [("A b d h", "a b d h"), ("E f d h", "h")])
def test_stop_is_last_of_several_only_after_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, text: str
) -> None:
    monkeypatch.setattr(stop_phrases, "_JOINERS", frozenset({"d"}))
    file = tmp_path / "grammar.yaml"
    file.write_text("joiners: [d]\nintents: {go: {phrases: [a b, h c]}}\n")
    recognizer = recognizer_that(saying(TOKENIZER.ids(written)))
    mode = make_command_mode(read_grammar(file), recognizer, CommandModeSettings(), ("h",))
    assert mode.recognize(SECOND).text == text


@pytest.mark.parametrize(("intent", "text"), [("stop", "h c"), ("go", "")])
def test_only_stop_phrases_are_eager(tmp_path: Path, intent: str, text: str) -> None:
    """``stop at the kitchen`` may be a command to drive there."""
    file = tmp_path / "grammar.yaml"
    file.write_text(f"intents: {{{intent}: {{phrases: [h c]}}}}\n")
    mode = make_command_mode(
        read_grammar(file), recognizer_that(hardly), CommandModeSettings(), ("h",)
    )
    assert mode.recognize(SECOND).text == text


@pytest.mark.parametrize(("phrases", "text"), [(("h c",), "h c"), ((), "")])
def test_retraction_phrases_are_eager_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phrases: tuple[str, ...], text: str
) -> None:
    monkeypatch.setattr(command_phrases, "RETRACTION_PHRASES", phrases)
    file = tmp_path / "grammar.yaml"
    file.write_text("intents: {go: {phrases: [a b]}}\n")
    mode = make_command_mode(
        read_grammar(file), recognizer_that(hardly), CommandModeSettings(), ("e",)
    )
    assert mode.recognize(SECOND).text == text


def hardly(tokens: list[int]) -> dict[int, float]:
    """Decode "h c", with another first word that is nearly as likely."""
    log_probs = saying(TOKENIZER.ids("H c"))(tokens)
    other = TOKENIZER.ids("F")[0]
    return {**dict.fromkeys(log_probs, -3.0), other: 0.0} if len(tokens) == 1 else log_probs
