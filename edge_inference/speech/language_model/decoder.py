"""A decoder-only language model with past key values, as Hugging Face's exporter writes it.

Inputs: ``input_ids``, ``attention_mask``, optionally ``position_ids`` and ``use_cache_branch``, and
``past_key_values.N.key`` and ``.value``. Outputs: ``logits`` and ``present.N.key`` and ``.value``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.errors import ModelError
from edge_inference.speech.model_runner import ModelRunner

_PAST = "past_key_values."
_PRESENT = "present."
_KNOWN = {"input_ids", "attention_mask", "position_ids", "use_cache_branch"}


class LanguageDecoder:
    """A text in a decoder, with its key-value cache (float32)."""

    def __init__(self, decoder: ModelRunner) -> None:
        self._decoder = decoder
        self._names = [spec.name for spec in decoder.inputs]
        self._past = _empty_past(decoder)
        self._length = 0

    def copy(self) -> LanguageDecoder:
        """Return a copy with the same text; neither changes the other."""
        other = LanguageDecoder.__new__(LanguageDecoder)
        other._decoder, other._names = self._decoder, self._names
        other._past, other._length = dict(self._past), self._length
        return other

    def read(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Append tokens; return the logits of the next token, float32 [tokens]."""
        length = self._length + len(ids)
        given: dict[str, NDArray[Any]] = {
            "input_ids": np.array([ids], np.int64),
            "attention_mask": np.ones((1, length), np.int64),
            "position_ids": np.arange(self._length, length, dtype=np.int64)[None],
            "use_cache_branch": np.array([self._length > 0]),
        }
        inputs = {name: given[name] for name in self._names if name in given} | self._past
        outputs = self._decoder.infer(inputs)
        self._past = {name: outputs[_PRESENT + name.removeprefix(_PAST)] for name in self._past}
        self._length = length
        logits: NDArray[np.float32] = outputs["logits"][0, -1].astype(np.float32, copy=False)
        return logits


def _empty_past(decoder: ModelRunner) -> dict[str, NDArray[Any]]:
    past: dict[str, NDArray[Any]] = {}
    for spec in decoder.inputs:
        if spec.name.startswith(_PAST):
            heads, size = (spec.shape[1], spec.shape[3]) if len(spec.shape) == 4 else (None, None)
            if heads is None or size is None:
                raise ModelError(
                    f"{spec.name}: expected [batch, heads, past, size], got shape "
                    f"{list(spec.shape)} without a fixed number of heads and size"
                )
            past[spec.name] = np.zeros((1, heads, 0, size), np.float32)
        elif spec.name not in _KNOWN:
            raise ModelError(
                f"the language model has an input {spec.name!r}; expected {', '.join(_KNOWN)} and "
                f"{_PAST}…: export it as text-generation-with-past"
            )
    if not past or "input_ids" not in {spec.name for spec in decoder.inputs}:
        raise ModelError(
            f"the language model has no inputs input_ids and {_PAST}…; export it as "
            "text-generation-with-past"
        )
    return past
