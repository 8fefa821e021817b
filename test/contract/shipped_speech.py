"""The shipped speech models, opened, with the recordings of their packages."""

from __future__ import annotations

import importlib.util
import re
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_inference.backends.ort import OrtBackend
from edge_inference.core.audio import AudioChunk
from edge_inference.errors import ModelError
from edge_inference.speech.audio.resample import to_mono
from edge_inference.speech.recognition.recognizer import Recognizer
from edge_inference.speech.recognition.speech_model import SpeechModel, find_speech_model
from edge_inference.speech.recognition.tokenizer import load_tokenizer

PERSON = Path(__file__).parents[2] / "models/moonshine_tiny/golden" / "go_forward_ten_meters.wav"


def model_or_skip(name: str) -> SpeechModel:
    try:
        model = find_speech_model(name)
    except ModelError as error:
        pytest.skip(str(error))
    model.verify_files()
    return model


def open_recognizer() -> Recognizer:
    model = model_or_skip("moonshine_tiny")
    encoder, decoder = (OrtBackend(model.path(role)) for role in ("encoder", "decoder"))
    tokenizer = load_tokenizer(model.path("tokenizer"))
    return Recognizer(encoder.open(), decoder.open(), tokenizer)


def open_detector_model() -> OrtBackend:
    backend = OrtBackend(model_or_skip("silero_vad").path("model"))
    backend.open()
    return backend


def recording(name: str) -> tuple[NDArray[np.float32], int]:
    """Return a recording of the recognizer's package, and its rate."""
    found = importlib.util.find_spec("moonshine_voice")
    if found is None or not found.submodule_search_locations:
        pytest.skip("moonshine-voice, which brings the recordings, is not installed")
    file = Path(next(iter(found.submodule_search_locations)), "assets", name)
    with wave.open(str(file)) as sound:
        data = np.frombuffer(sound.readframes(sound.getnframes()), "<i2")
        return to_mono(data.reshape(-1, sound.getnchannels())), sound.getframerate()


def person() -> NDArray[np.float32]:
    """Return a person's 'go forward ten meters', at 16 kHz."""
    with wave.open(str(PERSON)) as sound:
        return to_mono(np.frombuffer(sound.readframes(sound.getnframes()), "<i2"))


def chunks(
    samples: NDArray[np.float32], rate: int, length_s: float = 0.032
) -> Iterator[AudioChunk]:
    """Yield a recording in chunks, with a second of silence after it."""
    padded = np.concatenate((samples, np.zeros(rate, np.float32)))
    size = round(rate * length_s)
    for number, start in enumerate(range(0, len(padded), size)):
        yield AudioChunk(padded[start : start + size], rate, round(start * 1e9 / rate), number)


def words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def word_errors(reference: str, hypothesis: str) -> int:
    """Return the word errors: insertions, deletions and substitutions (Levenshtein)."""
    expected, found = words(reference), words(hypothesis)
    row = list(range(len(found) + 1))
    for place, word in enumerate(expected, start=1):
        last = row
        row = [place]
        for column, other in enumerate(found, start=1):
            changed = last[column - 1] + (word != other)
            row.append(min(changed, last[column] + 1, row[-1] + 1))
    return row[-1]
