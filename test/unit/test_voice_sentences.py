"""The sentence sets of the voice benchmark are disjoint, and non-commands have no meaning."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.voice_sentences import REPORTED, SETS, TUNING
from cases import Cases
from edge_inference.core.voice import Transcript
from edge_inference.speech.language.grammar import Grammar
from edge_inference.speech.language.grammar_file import read_grammar
from edge_inference.speech.language.understanding import Understanding

SHIPPED = Path(__file__).parents[2] / "config" / "voice" / "grammar.yaml"


@pytest.fixture(scope="module")
def grammar() -> Grammar:
    return read_grammar(SHIPPED)


def test_sets_are_disjoint(grammar: Grammar) -> None:
    sentences = grammar.sentences()
    tuning, reported = (
        {sentence.text for sentence in each.commands(sentences)} for each in (TUNING, REPORTED)
    )
    assert not tuning & reported
    assert not set(TUNING.voices) & set(REPORTED.voices)
    assert not set(TUNING.others) & set(REPORTED.others)


@pytest.mark.parametrize("name", SETS)
def test_set_has_every_intent_and_each_sentence_once(name: str, grammar: Grammar) -> None:
    sentences = grammar.sentences()
    drawn = SETS[name].commands(sentences)
    counts = Counter(sentence.intent for sentence in sentences)
    in_both = {intent for intent, count in counts.items() if count >= len(SETS)}
    assert {sentence.intent for sentence in drawn} >= in_both >= {"move", "turn", "stop", "deny"}
    assert len({sentence.text for sentence in drawn}) == len(drawn) >= 40
    assert len(set(SETS[name].others)) == len(SETS[name].others)


def test_draw_is_reproducible(grammar: Grammar) -> None:
    sentences = grammar.sentences()
    assert REPORTED.commands(sentences) == REPORTED.commands(sentences[::-1])


def test_enough_non_commands() -> None:
    assert len(REPORTED.others) >= 60


def test_non_commands_have_no_intent(grammar: Grammar) -> None:
    understanding = Understanding(grammar)
    with Cases() as cases:
        for text in (*TUNING.others, *REPORTED.others):
            with cases(text):
                heard = Transcript(text, 1.0, "free", stamp_ns=0)
                assert understanding.parse(heard).names == ()
