"""Sentence embeddings by an encoder such as all-MiniLM-L6-v2."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.errors import ModelError
from edge_inference.speech.language_model.json_tokenizer import JsonTokenizer
from edge_inference.speech.model_runner import ModelRunner

_INPUTS = {"input_ids", "attention_mask", "token_type_ids"}
_OUTPUT = "last_hidden_state"
# Every change of a threshold needs the vectors of the phrases again.
_MAX_CACHED = 4096
# Encoders have a limited number of positions, and commands are short.
_MAX_TOKENS = 256


class SentenceEmbedding:
    """Returns a vector of length 1 for each text: the mean of its tokens' hidden states.

    ``encoder`` takes ``input_ids``, ``attention_mask`` and optionally ``token_type_ids``, and
    returns ``last_hidden_state`` [1, tokens, size]. Not thread-safe.
    """

    def __init__(self, encoder: ModelRunner, tokens: JsonTokenizer) -> None:
        self._names = [spec.name for spec in encoder.inputs]
        if not {"input_ids", "attention_mask"} <= set(self._names) <= _INPUTS:
            raise ModelError(
                f"the sentence encoder has the inputs {', '.join(self._names)}; expected "
                "input_ids, attention_mask and perhaps token_type_ids"
            )
        self._encoder = encoder
        self._tokens = tokens
        self._cache: OrderedDict[str, NDArray[np.float32]] = OrderedDict()

    def __call__(self, token_texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors of texts, float32 [n, size]."""
        return np.stack([self._vector(text) for text in token_texts])

    def _vector(self, text: str) -> NDArray[np.float32]:
        found = self._cache.get(text)
        if found is None:
            found = self._cache[text] = self._compute(text)
            if len(self._cache) > _MAX_CACHED:
                self._cache.popitem(last=False)
        return found

    def _compute(self, text: str) -> NDArray[np.float32]:
        ids = np.array([self._tokens.encode(text, add_special_tokens=True)[:_MAX_TOKENS]], np.int64)
        given: dict[str, NDArray[Any]] = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "token_type_ids": np.zeros_like(ids),
        }
        outputs = self._encoder.infer({name: given[name] for name in self._names})
        if _OUTPUT not in outputs:
            raise ModelError(f"the sentence encoder gives {', '.join(outputs)}; expected {_OUTPUT}")
        mean: NDArray[np.float32] = outputs[_OUTPUT][0].mean(axis=0, dtype=np.float32)
        unit: NDArray[np.float32] = mean / max(float(np.linalg.norm(mean)), 1e-12)
        return unit
