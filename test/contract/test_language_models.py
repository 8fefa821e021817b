"""Language models and sentence embeddings through ONNX Runtime and the package tokenizers."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from edge_inference.backends.ort import OrtBackend
from edge_inference.core.voice import IntentArray, Transcript
from edge_inference.errors import ModelError
from edge_inference.speech.language.grammar import Grammar
from edge_inference.speech.language.grammar_file import read_grammar
from edge_inference.speech.language.understanding import Understanding
from edge_inference.speech.language_model.json_tokenizer import load_json_tokenizer
from edge_inference.speech.language_model.model import PlanGenerator
from edge_inference.speech.language_model.prompt import read_prompt, select_examples
from edge_inference.speech.language_model.sentence_embedding import SentenceEmbedding
from edge_inference.speech.recognition.speech_model import load_speech_model
from tiny_language_models import END, embedding_model, language_model

GRAMMAR = Path(__file__).parents[2] / "config" / "voice" / "grammar.yaml"


@pytest.fixture(scope="module")
def grammar() -> Grammar:
    return read_grammar(GRAMMAR)


def opened(folder: Path, grammar: Grammar) -> PlanGenerator:
    model = load_speech_model(folder)
    model.verify_files()
    prompt, own = read_prompt(model)
    tokens = load_json_tokenizer(model.path("tokenizer"))
    decoder = OrtBackend(model.path("decoder")).open()
    examples = partial(select_examples, grammar=grammar, own=own)
    return PlanGenerator(decoder, tokens, grammar, prompt, examples)


def unknown(text: str) -> IntentArray:
    return IntentArray((), 0.0, text, "unknown", 7, problem="I do not understand")


@pytest.mark.parametrize(
    ("follows", "text", "name", "slots"),
    [
        (
            {"\n": "m", "=": "f", "d": END},
            "scoot ahead",
            "move",
            {"direction": "forward"},
        ),
        (
            {"\n": "m", "=": "b", "d": " ", " ": "d", "s": END},
            "scoot off six meters",
            "move",
            {"direction": "backward", "distance": 6.0},
        ),
        ({"\n": "t", "=": "a", "d": END}, "face away from me", "turn", {"direction": "around"}),
        ({"\n": "s", "p": END}, "cease it", "stop", {}),
        ({"\n": "n", "e": END}, "lovely weather", "", {}),
    ],
)
def test_the_model_decides_what_is_meant(
    tmp_path: Path,
    grammar: Grammar,
    follows: dict[str, str],
    text: str,
    name: str,
    slots: dict[str, str | float],
) -> None:
    intent = opened(language_model(tmp_path, follows), grammar).parse(unknown(text))
    assert [each.name for each in intent.intents] == ([name] if name else [])
    for each in intent.intents:
        assert {key: slot.value for key, slot in each.slots.items()} == slots
    assert intent.needs_confirmation is (name in ("move", "turn"))


def test_one_text_leaves_nothing_behind_for_the_next(tmp_path: Path, grammar: Grammar) -> None:
    model = opened(language_model(tmp_path, {"\n": "m", "=": "f", "d": END}), grammar)
    first = model.generate("scoot ahead")
    model.generate("something else entirely")
    assert model.generate("scoot ahead") == first


def test_tokens_have_their_texts(tmp_path: Path) -> None:
    tokens = load_json_tokenizer(language_model(tmp_path, {}) / "tokenizer.json")
    texts = tokens.token_texts()
    assert texts[:3] == [None, None, None]
    (place,) = tokens.encode(" ")
    assert texts[place] == " "
    # Half of a character has no text.
    assert [texts[number] for number in tokens.encode("é")] == [None, None]
    assert tokens.token_id(END) == 2
    assert tokens.token_id("<nothing>") is None


def test_a_file_that_is_no_tokenizer_is_named(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    file = tmp_path / "tokenizer.json"
    file.write_text("{}")
    with pytest.raises(ModelError, match=rf"{file}: cannot be read as a tokenizer\.json"):
        load_json_tokenizer(file)


def test_without_the_package_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ModelError, match="pip install tokenizers"):
        load_json_tokenizer(tmp_path / "tokenizer.json")


def embedding(folder: Path) -> SentenceEmbedding:
    model = load_speech_model(embedding_model(folder))
    encoder = OrtBackend(model.path("encoder")).open()
    return SentenceEmbedding(encoder, load_json_tokenizer(model.path("tokenizer")))


def test_vectors_have_length_one_and_are_those_of_the_text(tmp_path: Path) -> None:
    vectors = embedding(tmp_path)(["turn left", "left turn", "stop", "turn left"])
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(4))
    assert vectors[0] @ vectors[1] == pytest.approx(1.0)
    assert vectors[0] @ vectors[2] < 0.6
    assert (vectors[0] == vectors[3]).all()


def test_what_is_near_in_meaning_is_asked_about(tmp_path: Path, grammar: Grammar) -> None:
    understanding = Understanding(grammar, embed=embedding(tmp_path))
    intent = understanding.parse(Transcript("around turn", 0.9, "free", 7))
    assert (intent.names, intent.source, intent.needs_confirmation) == (
        ("turn",),
        "embedding",
        True,
    )


def test_another_kind_of_encoder_is_refused(tmp_path: Path) -> None:
    folder = language_model(tmp_path, {})
    decoder = OrtBackend(folder / "decoder.onnx").open()
    with pytest.raises(ModelError, match=r"has the inputs .*position_ids.*; expected input_ids"):
        SentenceEmbedding(decoder, load_json_tokenizer(folder / "tokenizer.json"))
