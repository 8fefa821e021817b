from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from edge_inference.core.settings import build
from edge_inference.errors import ConfigError, InputError, ModelError
from edge_inference.speech.recognition.decoder import DecoderState, log_softmax
from edge_inference.speech.recognition.recognizer import Recognizer, RecognizerSettings
from edge_inference.speech.recognition.tokenizer import END
from speech_doubles import (
    Decoder,
    Encoder,
    Spec,
    SplitDecoder,
    SplitGraph,
    recognizer_that,
    saying,
    small_tokenizer,
)

Answer = Callable[[list[int]], Mapping[int, float]]
TOKENIZER = small_tokenizer()
SECOND = np.zeros(16_000, np.float32)
(A,) = TOKENIZER.ids("A")


@pytest.mark.parametrize(
    ("samples", "complaint"),
    [
        (np.zeros(0, np.float32), r"expected float32 \[n\] .* got float32 \[0\]"),
        (np.zeros((2, 9), np.float32), r"float32 \[2, 9\]"),
        (np.zeros(9, np.int16), "int16"),
        (np.full(9, np.nan, np.float32), "expected finite samples"),
        (np.zeros(31 * 16_000, np.float32), "expected at most 30 s, got 31.0 s"),
    ],
)
def test_invalid_speech_is_refused(samples: np.ndarray, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        recognizer_that(saying([])).transcribe(samples)


def test_a_decoder_without_past_is_refused() -> None:
    decoder = Decoder(saying([]), 300)
    decoder.inputs = (Spec("input_ids", (None, None)),)
    with pytest.raises(ModelError, match="expected a merged decoder"):
        DecoderState(decoder, np.zeros((1, 3, 4), np.float32), 999)


def test_mask_of_the_decoder_has_the_number_of_samples() -> None:
    decoder = Decoder(saying(TOKENIZER.ids("A B")), len(TOKENIZER))
    Recognizer(Encoder(), decoder, TOKENIZER).transcribe(np.zeros(20_000, np.float32))
    assert set(decoder.masks) == {(1, 20_000)}


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ConfigError, match="min_speech_s: 3 is above max_speech_s 2"):
        build(RecognizerSettings, {"min_speech_s": 3.0, "max_speech_s": 2.0})


@pytest.mark.parametrize("text", ["", "A", "A B C", "H a é"])
def test_output_of_the_decoder_is_the_text(text: str) -> None:
    recognized = recognizer_that(saying(TOKENIZER.ids(text))).transcribe(SECOND)
    assert recognized.text == text
    assert len(recognized.log_probabilities) == len(TOKENIZER.ids(text)) + 1
    assert recognized.confidence == pytest.approx(1.0, abs=0.01)


def test_the_confidence_is_the_mean_probability_of_the_tokens() -> None:
    def half_sure(tokens: list[int]) -> Mapping[int, float]:
        return {A: 0.0, A + 1: -0.001} if len(tokens) == 1 else {END: 0.0}

    recognized = recognizer_that(half_sure).transcribe(SECOND)
    first, second = (math.exp(score) for score in recognized.log_probabilities)
    assert first == pytest.approx(0.5, abs=0.01)
    assert recognized.confidence == pytest.approx(math.sqrt(first * second))


def test_decoder_without_an_end_token_is_stopped() -> None:
    settings = RecognizerSettings(max_tokens_per_second=3.0)
    recognized = recognizer_that(lambda _: {A: 0.0}, settings).transcribe(
        np.zeros(32_000, np.float32)
    )
    assert recognized.text == " ".join("A" * 7)


@pytest.mark.parametrize(("given", "heard"), [(1, 16_000), (15_999, 16_000), (16_001, 16_001)])
def test_short_speech_is_padded_with_silence(given: int, heard: int) -> None:
    encoder = Encoder()
    recognizer = Recognizer(encoder, Decoder(saying([]), len(TOKENIZER)), TOKENIZER)
    recognizer.transcribe(np.ones(given, np.float32))
    (samples,) = encoder.heard
    assert samples.shape == (1, heard)
    assert samples.sum() == given


def merged(answer: Answer) -> tuple[Decoder]:
    return (Decoder(answer, len(TOKENIZER)),)


def split(answer: Answer) -> tuple[SplitGraph, SplitGraph]:
    decoder = SplitDecoder(answer, len(TOKENIZER))
    return decoder.first, decoder.with_past


@pytest.mark.parametrize("form", [merged, split])
def test_hypotheses_keep_their_own_past(form: Callable[[Answer], tuple[Any, ...]]) -> None:
    seen: list[list[int]] = []

    def answer(tokens: list[int]) -> Mapping[int, float]:
        seen.append(tokens)
        return {END: 0.0}

    graph, *with_past = form(answer)
    state = DecoderState(graph, np.zeros((1, 3, 4), np.float32), 999, *with_past)
    state.step([1])
    state.keep([0, 0, 0])
    state.step([10, 20, 30])
    state.keep([2, 0])
    state.step([31, 11])
    assert seen == [[1], [1, 10], [1, 20], [1, 30], [1, 30, 31], [1, 10, 11]]
    with pytest.raises(ValueError, match="1 tokens for 2 hypotheses"):
        state.step([5])


def test_split_decoder_equals_merged_decoder() -> None:
    first, with_past = split(saying(TOKENIZER.ids("A B C")))
    recognizer = Recognizer(Encoder(), first, TOKENIZER, decoder_with_past=with_past)
    assert recognizer.transcribe(SECOND).text == "A B C"
    assert (first.runs, with_past.runs) == (1, 3)


def test_a_merged_decoder_beside_one_with_past_is_refused() -> None:
    (decoder,), (_, with_past) = merged(saying([])), split(saying([]))
    with pytest.raises(ModelError, match="expected a split pair or a merged decoder alone"):
        DecoderState(decoder, np.zeros((1, 3, 4), np.float32), 999, with_past)


def test_log_softmax_holds_for_large_values() -> None:
    result = log_softmax(np.array([[1000.0, 1000.0], [-1000.0, 0.0]], np.float32))
    assert np.exp(result) == pytest.approx(np.array([[0.5, 0.5], [0.0, 1.0]]))
