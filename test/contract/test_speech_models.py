"""The shipped speech models on recordings of people, if both packages are installed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from edge_inference.backends.ort import OrtBackend
from edge_inference.core.audio import SAMPLE_RATE, SpeechSegment
from edge_inference.speech.recognition.activity import ActivityDetector, ActivitySettings
from edge_inference.speech.recognition.command_mode import CommandMode
from edge_inference.speech.recognition.phrase_graph import PhraseGraph
from edge_inference.speech.recognition.recognizer import Recognizer
from shipped_speech import (
    chunks,
    open_detector_model,
    open_recognizer,
    person,
    recording,
    word_errors,
    words,
)

BECKETT = "Ever tried. Ever failed. No matter. Try again. Fail again. Fail better."
CITIES = (
    "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age "
    "of foolishness, it was the epoch of belief, it was the epoch of incredulity"
)
NUMBERS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
PHRASES = [
    "stop",
    "come here",
    *(f"go {way} {number} meters" for way in ("forward", "back") for number in NUMBERS),
    *(f"turn {side}" for side in ("left", "right")),
]


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return open_recognizer()


@pytest.fixture(scope="module")
def detector_model() -> Iterator[OrtBackend]:
    with open_detector_model() as model:
        yield model


def speech_in(model: OrtBackend, samples: np.ndarray, rate: int) -> list[SpeechSegment]:
    detector = ActivityDetector(model, ActivitySettings(partial_period_ms=0.0))
    return [segment for chunk in chunks(samples, rate) for segment in detector.feed(chunk)]


def test_silence_and_noise_are_no_speech(detector_model: OrtBackend) -> None:
    noise = np.random.default_rng(1).normal(0.0, 0.05, 10 * SAMPLE_RATE).astype(np.float32)
    assert speech_in(detector_model, np.zeros_like(noise), SAMPLE_RATE) == []
    assert speech_in(detector_model, noise, SAMPLE_RATE) == []


def test_each_sentence_is_a_segment_and_its_text(
    recognizer: Recognizer, detector_model: OrtBackend
) -> None:
    samples, rate = recording("beckett.wav")
    found = speech_in(detector_model, samples, rate)
    assert len(found) == 6
    heard = [recognizer.transcribe(segment.samples) for segment in found]
    assert word_errors(BECKETT, " ".join(each.text for each in heard)) <= 2
    assert all(0.3 < each.confidence <= 1.0 for each in heard)


def test_another_rate_gives_the_same_words(
    recognizer: Recognizer, detector_model: OrtBackend
) -> None:
    samples, rate = recording("two_cities.wav")
    assert rate == 48_000
    found = speech_in(detector_model, samples[: 13 * rate], rate)
    heard = " ".join(recognizer.transcribe(segment.samples).text for segment in found)
    assert word_errors(CITIES, heard) <= 2


def test_the_tokenizer_writes_as_the_decoder_does(
    recognizer: Recognizer, detector_model: OrtBackend
) -> None:
    for segment in speech_in(detector_model, *recording("beckett.wav")):
        heard = recognizer.transcribe(segment.samples)
        # One probability for each token and one for the end.
        assert len(recognizer.tokenizer.ids(heard.text)) + 1 == len(heard.log_probabilities)


def test_what_is_not_in_the_grammar_is_no_command(
    recognizer: Recognizer, detector_model: OrtBackend
) -> None:
    mode = CommandMode(recognizer, PhraseGraph(PHRASES, recognizer.tokenizer))
    for segment in speech_in(detector_model, *recording("beckett.wav")):
        command = mode.recognize(segment.samples)
        assert command.text == ""
        assert "none of the grammar's phrases" in command.problem


def test_what_is_in_the_grammar_is_a_command(
    recognizer: Recognizer, detector_model: OrtBackend
) -> None:
    mode = CommandMode(
        recognizer,
        PhraseGraph([*PHRASES, "try again", "fail again", "no matter"], recognizer.tokenizer),
    )
    found = speech_in(detector_model, *recording("beckett.wav"))
    heard = [mode.recognize(segment.samples).text for segment in found]
    assert heard == ["", "", "no matter", "try again", "fail again", ""]


def test_a_person_gives_a_command(recognizer: Recognizer, detector_model: OrtBackend) -> None:
    (segment,) = speech_in(detector_model, person(), SAMPLE_RATE)
    assert words(recognizer.transcribe(segment.samples).text) == ["go", "forward", "ten", "meters"]
    assert CommandMode(recognizer, PhraseGraph(PHRASES, recognizer.tokenizer)).recognize(
        segment.samples
    ).text == ("go forward ten meters")
