"""Fake speech models with scripted outputs and the tensors of the real models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_inference.speech.recognition.recognizer import Recognizer, RecognizerSettings
from edge_inference.speech.recognition.tokenizer import END, START, Tokenizer

LETTERS = [f"▁{a}".encode() for a in "abcdefgh"] + [b"a", b"b", b"ab", b"abc", "▁abc".encode()]
_PAST = "past_key_values."
_SURE, _UNLIKELY = 0.0, -12.0


class Spec(NamedTuple):
    name: str
    shape: tuple[int | None, ...]


def small_tokenizer() -> Tokenizer:
    """Return special tokens, bytes, the space, the letters A to H as words, and some pieces."""
    words = ["▁".encode()] + [f"▁{letter}".encode() for letter in "ABCDEFGH"] + LETTERS
    return Tokenizer([b"<unk>", b"<s>", b"</s>"] + [bytes([n]) for n in range(256)] + words)


class Encoder:
    """Returns one frame for every sample, and records its inputs."""

    inputs = (Spec("input_values", (None, None)), Spec("attention_mask", (None, None)))

    def __init__(self) -> None:
        self.heard: list[NDArray[Any]] = []

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        self.heard.append(inputs["input_values"])
        assert inputs["attention_mask"].shape == inputs["input_values"].shape
        return {"last_hidden_state": np.zeros((1, 3, 4), np.float32)}


class Decoder:
    """Returns scores by the tokens so far, which it stores in its key-value cache."""

    def __init__(self, answer: Callable[[list[int]], Mapping[int, float]], size: int) -> None:
        self.inputs = (
            Spec("input_ids", (None, None)),
            Spec("encoder_hidden_states", (None, None, 4)),
            Spec("encoder_attention_mask", (None, None)),
            Spec("past_key_values.0.decoder.key", (None, 1, None, 1)),
            Spec("past_key_values.0.encoder.key", (None, 1, None, 1)),
            Spec("use_cache_branch", (1,)),
        )
        self.masks: list[tuple[int, ...]] = []
        self._answer = answer
        self._size = size

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        assert set(inputs) == {spec.name for spec in self.inputs}
        ids, past = inputs["input_ids"], inputs["past_key_values.0.decoder.key"]
        encoded = inputs["past_key_values.0.encoder.key"]
        cached = bool(inputs["use_cache_branch"][0])
        assert len(past) == len(ids) == len(encoded) == len(inputs["encoder_hidden_states"])
        assert cached == bool(past.shape[2]) == bool(encoded.shape[2])
        self.masks.append(inputs["encoder_attention_mask"].shape)
        assert self.masks[-1][0] == len(ids)
        seen = np.concatenate((past[:, 0, :, 0], ids), axis=1)
        logits = np.full((len(ids), 1, self._size), _UNLIKELY, np.float32)
        for row, tokens in enumerate(seen.astype(int).tolist()):
            for token, value in self._answer(tokens).items():
                logits[row, 0, token] = value
        return {
            "logits": logits,
            "present.0.decoder.key": seen[:, None, :, None].astype(np.float32),
            # As in the real graph, empty after the first step.
            "present.0.encoder.key": np.ones((len(ids), 1, 0 if cached else 3, 1), np.float32),
        }


class SplitDecoder:
    """Return two graphs with the same scores: for the first token, and for later tokens."""

    def __init__(self, answer: Callable[[list[int]], Mapping[int, float]], size: int) -> None:
        self._merged = Decoder(answer, size)
        self.first = SplitGraph(self._first, "input_ids", "encoder_hidden_states")
        self.with_past = SplitGraph(
            self._with_past,
            "input_ids",
            "past_key_values.0.decoder.key",
            "past_key_values.0.encoder.key",
        )

    def _first(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        empty = np.zeros((1, 1, 0, 1), np.float32)
        past = dict.fromkeys(self._names(_PAST), empty)
        return self._answer(inputs["encoder_hidden_states"], cached=False, **inputs, **past)

    def _with_past(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        states = np.zeros((len(inputs["input_ids"]), 3, 4), np.float32)
        outputs = self._answer(states, cached=True, **inputs, encoder_hidden_states=states)
        del outputs["present.0.encoder.key"]
        return outputs

    def _answer(
        self, states: NDArray[Any], *, cached: bool, **inputs: NDArray[Any]
    ) -> dict[str, NDArray[Any]]:
        mask = np.ones((len(states), 9), np.int64)
        flag = np.array([cached])
        return self._merged.infer(
            {**inputs, "encoder_attention_mask": mask, "use_cache_branch": flag}
        )

    def _names(self, start: str) -> list[str]:
        return [spec.name for spec in self._merged.inputs if spec.name.startswith(start)]


class SplitGraph:
    """One of the two graphs; it accepts only its named inputs."""

    def __init__(self, infer: Callable[[Mapping[str, Any]], dict[str, Any]], *names: str) -> None:
        self.inputs = tuple(Spec(name, (None, 1, None, 1)) for name in names)
        self._infer = infer
        self.runs = 0

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        assert set(inputs) == {spec.name for spec in self.inputs}
        self.runs += 1
        return self._infer(inputs)


def recognizer_that(
    answer: Callable[[list[int]], Mapping[int, float]], settings: RecognizerSettings | None = None
) -> Recognizer:
    tokenizer = small_tokenizer()
    return Recognizer(Encoder(), Decoder(answer, len(tokenizer)), tokenizer, settings)


def saying(ids: Sequence[int]) -> Callable[[list[int]], Mapping[int, float]]:
    """Make scores for these tokens in order, then the end token."""
    script = [START, *ids, END]

    def answer(tokens: list[int]) -> Mapping[int, float]:
        is_on_script = tokens == script[: len(tokens)]
        return {script[len(tokens)]: _SURE} if is_on_script else {END: _SURE}

    return answer


class Probabilities:
    """A voice activity model with scripted probabilities, then silence."""

    inputs = (
        Spec("input", (None, None)),
        Spec("state", (2, None, 128)),
        Spec("sr", ()),
    )

    def __init__(self, values: Sequence[float]) -> None:
        self.windows: list[NDArray[Any]] = []
        self.states: list[float] = []
        self._values = list(values)

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        assert inputs["input"].shape == (1, 64 + 512)
        assert inputs["state"].shape == (2, 1, 128)
        assert inputs["sr"].shape == () and inputs["sr"] == 16_000
        self.windows.append(inputs["input"][0])
        self.states.append(float(inputs["state"][0, 0, 0]))
        value = self._values.pop(0) if self._values else 0.0
        return {"output": np.array([[value]], np.float32), "stateN": inputs["state"] + 1}
