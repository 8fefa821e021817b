"""The model of speech recognition as a node opens it, and the transcriber that uses it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_inference.backends.base import Backend
from edge_inference.core.audio import SAMPLE_RATE
from edge_inference.core.settings import setting
from edge_inference.nodes.voice.parameter_files import (
    GrammarSettings,
    ModelPathSettings,
    load_grammar,
    load_speech_model,
    open_backend,
)
from edge_inference.speech.language.stop_phrases import StopSettings
from edge_inference.speech.recognition.command_mode import CommandModeSettings
from edge_inference.speech.recognition.command_phrases import make_command_mode
from edge_inference.speech.recognition.recognizer import Recognizer, RecognizerSettings
from edge_inference.speech.recognition.tokenizer import load_tokenizer
from edge_inference.speech.recognition.transcription import MODES, Transcriber


@dataclass(frozen=True)
class RecognizerModelSettings(
    CommandModeSettings, StopSettings, RecognizerSettings, GrammarSettings, ModelPathSettings
):
    """Parameters of the recognizer and of its grammar."""

    model: str = setting(
        "moonshine_tiny",
        "model folder of the recognizer: a name on the model path, or a path to it",
        read_only=True,
    )
    mode: str = setting(
        "command",
        "command recognizes only phrases of the grammar; free transcribes any speech; both "
        "transcribes speech that matches no phrase",
        choices=MODES,
    )


class RecognizerModel:
    """An open recognizer with the phrases of a grammar.

    The constructor runs the recognizer once, because the first run is slow.
    """

    def __init__(self, settings: RecognizerModelSettings) -> None:
        model = load_speech_model(settings.model, settings.model_path, "recognition")
        tokenizer = load_tokenizer(model.path("tokenizer"))
        self.name, self.locale = model.name, model.locale
        self._backends: list[Backend] = []
        try:
            for role in model.graphs:
                self._backends.append(open_backend(model, role))
            encoder, decoder, *with_past = self._backends
            self.recognizer = Recognizer(encoder, decoder, tokenizer, settings, *with_past)
            self.load_phrases(settings)
            self.recognizer.transcribe(np.zeros(SAMPLE_RATE, np.float32))
        except BaseException:
            self.close()
            raise

    def load_phrases(self, settings: RecognizerModelSettings) -> None:
        """Read the grammar and listen for its phrases and for the stop words."""
        grammar = load_grammar(settings.grammar)
        command_mode = make_command_mode(grammar, self.recognizer, settings, settings.stop_words)
        self.transcriber = Transcriber(self.recognizer, command_mode)

    def set_settings(self, settings: RecognizerModelSettings) -> None:
        """Use other limits and thresholds."""
        self.recognizer.settings = settings
        self.transcriber.command_mode.settings = settings

    def describe_engine(self) -> str:
        """Return which engine runs the encoder."""
        return self._backends[0].describe()

    def close(self) -> None:
        """Free the model."""
        for backend in self._backends:
            backend.close()
        self._backends.clear()
