from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_inference.errors import ConfigError
from edge_inference.speech.recognition.phrase_graph import MAX_COMMANDS, PhraseGraph
from speech_doubles import small_tokenizer

TOKENIZER = small_tokenizer()
WORDS = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=3).map(" ".join)


def readings(graph: PhraseGraph, written: str) -> set[tuple[str, ...]]:
    """Return the phrases of every path through the graph with exactly this text."""
    places = [graph.start]
    for token in TOKENIZER.ids(written):
        places = [to for place in places for step, to in graph.transitions(place) if step == token]
    return {graph.completed_phrases(place) for place in places} - {()}


@pytest.mark.parametrize(
    ("phrases", "complaint"), [([], "no phrases"), (["a", " "], "an empty phrase")]
)
def test_a_grammar_without_words_is_refused(phrases: list[str], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        PhraseGraph(phrases, TOKENIZER)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("A b", {("a b",)}),
        ("A b.", {("a b",)}),
        ("C!", {("c",)}),
        ("a b", set()),  # a sentence begins with a capital
        ("A", set()),
        ("A b,", set()),
        ("A, b.", {("a b",)}),
        ("A,, b", set()),
        ("G, a b", {("a b",)}),
        ("G. A b", {("a b",)}),
        ("G g c", {("c",)}),
        ("G g g c", set()),  # too many ignored words
        ("G c g", {("c",)}),
        ("G c g g g", set()),
        ("A b, g.", {("a b",)}),
        ("A b g", {("a b",)}),
        ("G", set()),
        ("A b d c", {("a b", "c")}),
        ("A b, d g c g!", {("a b", "c")}),
        ("A b. D c", {("a b", "c")}),
        ("C e f a b", {("c", "a b")}),
        ("C e f c", set()),
        ("C d", set()),
        ("D c", set()),
        ("C c", set()),
    ],
)
def test_sentences(written: str, said: set[tuple[str, ...]]) -> None:
    graph = PhraseGraph(["a b", "c"], TOKENIZER, ignored=["g"], joiners=["d", "e f"])
    assert readings(graph, written) == said


def test_number_of_commands_is_bounded() -> None:
    graph = PhraseGraph(["a", "b"], TOKENIZER, joiners=["d"])
    said = ("a", "b") * MAX_COMMANDS
    most = " d ".join(said[:MAX_COMMANDS])
    assert readings(graph, most.replace("a", "A", 1)) == {said[:MAX_COMMANDS]}
    assert readings(graph, f"{most} d {said[MAX_COMMANDS]}".replace("a", "A", 1)) == set()


def test_first_of_two_phrases_with_one_spelling_wins() -> None:
    assert readings(PhraseGraph(["a b", "A  b"], TOKENIZER), "A b") == {("a b",)}


def test_text_of_several_phrases() -> None:
    graph = PhraseGraph(["a", "b"], TOKENIZER, joiners=["d", "e"])
    assert [graph.text(said) for said in ((), ("a",), ("a", "b"))] == ["", "a", "a d b"]


@given(st.sets(WORDS, min_size=1, max_size=10), st.data(), st.sampled_from(["", ".", "!", "?"]))
def test_every_phrase_is_in_the_graph(phrases: set[str], data: st.DataObject, ending: str) -> None:
    said = data.draw(st.sampled_from(sorted(phrases)))
    written = said[0].upper() + said[1:] + ending
    assert readings(PhraseGraph(sorted(phrases), TOKENIZER), written) == {(said,)}
