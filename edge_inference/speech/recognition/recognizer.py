"""Speech recognition without a grammar: a Moonshine encoder and decoder with greedy decoding.

Moonshine (Jeffries et al. 2024, arXiv:2410.15608) processes the samples without padding, so a
short utterance costs little.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.audio import SAMPLE_RATE
from edge_inference.core.settings import setting
from edge_inference.errors import InputError
from edge_inference.speech.model_runner import ModelRunner
from edge_inference.speech.recognition.decoder import DecoderState
from edge_inference.speech.recognition.tokenizer import END, START, Tokenizer


@dataclass(frozen=True)
class RecognizerSettings:
    """Limits of the length of speech and of its text."""

    max_tokens_per_second: float = setting(
        6.5, "most tokens per second of speech; more means that the model loops", minimum=1.0
    )
    min_speech_s: float = setting(
        1.0, "shorter speech is padded with silence", unit="s", minimum=0.1, maximum=5.0
    )
    max_speech_s: float = setting(
        30.0, "longer speech is refused", unit="s", minimum=1.0, maximum=60.0
    )

    def check(self) -> str | None:
        """Return the contradiction between settings, or None."""
        if self.min_speech_s > self.max_speech_s:
            return (
                f"min_speech_s: {self.min_speech_s:g} is above max_speech_s {self.max_speech_s:g}"
            )
        return None


class RecognitionResult(NamedTuple):
    """A text, its confidence (0 to 1), and the log-probability of every token."""

    text: str
    confidence: float
    log_probabilities: tuple[float, ...]


class Recognizer:
    """Transcribes an utterance.

    ``encoder``, ``decoder`` and ``decoder_with_past`` are opened models; ``decoder.py`` describes
    the inputs of the last two. A merged decoder has no ``decoder_with_past``. Not thread-safe.
    """

    def __init__(
        self,
        encoder: ModelRunner,
        decoder: ModelRunner,
        tokenizer: Tokenizer,
        settings: RecognizerSettings | None = None,
        decoder_with_past: ModelRunner | None = None,
    ) -> None:
        self.settings = settings or RecognizerSettings()
        self.tokenizer = tokenizer
        self._encoder = encoder
        self._decoder = decoder
        self._decoder_with_past = decoder_with_past
        self._encoder_takes_mask = any(spec.name == "attention_mask" for spec in encoder.inputs)

    def encode(self, samples: NDArray[np.float32]) -> DecoderState:
        """Run the encoder; return the decoder's state before the first token.

        ``samples`` is float32 [n] at 16 kHz. Raises InputError for anything else, and for
        speech longer than ``max_speech_s``.
        """
        speech = self._check_speech(samples)
        inputs: dict[str, NDArray[Any]] = {"input_values": speech[None]}
        if self._encoder_takes_mask:
            inputs["attention_mask"] = np.ones((1, len(speech)), np.int64)
        states = self._encoder.infer(inputs)["last_hidden_state"]
        return DecoderState(self._decoder, states, len(speech), self._decoder_with_past)

    def transcribe(self, samples: NDArray[np.float32]) -> RecognitionResult:
        """Return the text by greedy decoding, up to the end token or the limit."""
        state = self.encode(samples)
        ids: list[int] = []
        scores: list[float] = []
        last = START
        for _ in range(self.max_tokens(len(samples))):
            log_probs = state.step([last])[0]
            last = int(log_probs.argmax())
            scores.append(float(log_probs[last]))
            if last == END:
                break
            ids.append(last)
        return RecognitionResult(self.tokenizer.text(ids), mean_probability(scores), tuple(scores))

    def max_tokens(self, samples: int) -> int:
        """Return the most tokens for a number of samples, including the end token."""
        seconds = max(samples / SAMPLE_RATE, self.settings.min_speech_s)
        return math.ceil(seconds * self.settings.max_tokens_per_second) + 1  # and the end token

    def _check_speech(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        if samples.ndim != 1 or samples.dtype != np.float32 or not len(samples):
            raise InputError(
                f"speech: expected float32 [n] of one channel at {SAMPLE_RATE} Hz, got "
                f"{samples.dtype} {list(samples.shape)}"
            )
        seconds = len(samples) / SAMPLE_RATE
        if seconds > self.settings.max_speech_s:
            raise InputError(
                f"speech: expected at most {self.settings.max_speech_s:g} s, got {seconds:.1f} s; "
                "lower max_speech_s of voice activity, or raise max_speech_s of recognition"
            )
        if not np.isfinite(samples).all():
            raise InputError(
                "speech: expected finite samples, got NaN or infinity; check the audio source"
            )
        missing = round(self.settings.min_speech_s * SAMPLE_RATE) - len(samples)
        return np.pad(samples, (0, missing)) if missing > 0 else samples


def mean_probability(log_probabilities: list[float]) -> float:
    """Return the geometric mean of the tokens' probabilities; 0 without a token."""
    return math.exp(sum(log_probabilities) / len(log_probabilities)) if log_probabilities else 0.0
