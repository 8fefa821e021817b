"""Doubles of the models of speech recognition: the text is the level of the first sample."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from edge_inference.core.audio import SpeechSegment
from edge_inference.errors import BackendError
from edge_inference.nodes.voice import recognizer_model
from edge_inference.speech.recognition.command_mode import CommandResult
from edge_inference.speech.recognition.recognizer import RecognitionResult


class Opened:
    def __init__(self) -> None:
        self.is_closed = False

    def describe(self) -> str:
        return "an engine"

    def close(self) -> None:
        self.is_closed = True


class FakeRecognizer:
    """Transcribes the level of the first sample."""

    def __init__(self, encoder, decoder, tokenizer, settings) -> None:
        self.settings = settings

    def transcribe(self, samples: np.ndarray) -> RecognitionResult:
        return RecognitionResult("" if samples[0] == 0.0 else f"level {samples[0]:g}", 0.5, ())


class FakeCommandMode:
    gate = threading.Event()
    working = threading.Semaphore(0)

    def __init__(self, grammar, recognizer, settings, stop_words) -> None:
        self.grammar, self.stop_words = grammar, stop_words
        self.expects_answer = False

    def search(self, samples: np.ndarray, *, expects_answer: bool, to_end: bool) -> np.ndarray:
        self.expects_answer = expects_answer
        return samples

    def free_text(self, samples: np.ndarray) -> str:
        return "you are at level ten now" if samples[0] == 10.0 else ""

    def decide(self, samples: np.ndarray, *, is_final: bool) -> CommandResult:
        self.working.release()
        self.gate.wait()
        if samples[0] in (0.0, 0.125):
            return CommandResult("", 0.1, (), "none of the grammar's phrases")
        if samples[0] < 0.0:
            raise BackendError("out of memory")
        return CommandResult("go forward", 0.75, ())


def replace_models(monkeypatch: pytest.MonkeyPatch) -> list[Opened]:
    """Replace the models of the node by doubles; return the list of opened ones."""
    described = type(
        "Described",
        (),
        {
            "name": "fake",
            "locale": "en",
            "graphs": ("encoder", "decoder"),
            "path": lambda self, role: role,
        },
    )()
    made: list[Opened] = []

    def open_backend(model, role) -> Opened:
        made.append(Opened())
        return made[-1]

    monkeypatch.setattr(recognizer_model, "load_speech_model", lambda *given: described)
    monkeypatch.setattr(recognizer_model, "open_backend", open_backend)
    monkeypatch.setattr(recognizer_model, "load_tokenizer", lambda path: None)
    monkeypatch.setattr(recognizer_model, "Recognizer", FakeRecognizer)
    monkeypatch.setattr(recognizer_model, "make_command_mode", FakeCommandMode)
    monkeypatch.setattr(FakeCommandMode, "working", threading.Semaphore(0))
    FakeCommandMode.gate.set()
    return made


def make_segment(
    level: float, stamp_ns: int = 7, is_final: bool = True, start_ns: int = 5
) -> SpeechSegment:
    return SpeechSegment(
        np.full(800, level, np.float32), start_ns, stamp_ns, is_final, "microphone"
    )
