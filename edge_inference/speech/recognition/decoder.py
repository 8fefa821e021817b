"""Decoding of one utterance by a decoder with a key-value cache.

The graphs come from Hugging Face's exporter. A merged decoder is one graph: ``use_cache_branch``
selects between the first step, which reads the encoder's hidden states, and the later steps, which
continue from ``past_key_values``. A split decoder is two graphs without that input, one for the
first step and one for the later steps.
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
_MASK = "encoder_attention_mask"


class DecoderState:
    """The decoder's state after some tokens, for one or more hypotheses of the same utterance.

    ``states`` are the encoder's hidden states, float32 [1, frames, size]. ``samples`` is the
    number of samples: Moonshine's graph reduces a mask of samples to a mask of frames.
    ``with_past`` is the second graph of a split decoder; without it, ``decoder`` is merged.
    Raises ModelError for graphs that are neither.
    """

    def __init__(
        self,
        decoder: ModelRunner,
        states: NDArray[np.float32],
        samples: int,
        with_past: ModelRunner | None = None,
    ) -> None:
        self._first = decoder
        self._others = with_past or decoder
        self._past = _empty_past(self._others)
        if with_past is not None and _takes(decoder, *self._past):
            raise ModelError(
                "the first graph of the decoder takes past_key_values, and there is a second graph "
                "with past; expected a split pair or a merged decoder alone"
            )
        self._given: dict[str, NDArray[Any]] = {
            "encoder_hidden_states": states,
            _MASK: np.ones((1, samples), np.int64),
        }
        self._hypotheses = 1
        self._is_first = True

    def step(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Append one token to every hypothesis.

        Returns the log-probabilities of the next token: float32 [hypotheses, tokens].
        """
        if len(ids) != self._hypotheses:
            raise ValueError(f"{len(ids)} tokens for {self._hypotheses} hypotheses")
        graph = self._first if self._is_first else self._others
        known = {
            "input_ids": np.asarray(ids, np.int64)[:, None],
            "use_cache_branch": np.array([not self._is_first]),
            **self._given,
            **self._past,
        }
        names = {spec.name for spec in graph.inputs}
        outputs = graph.infer({name: known[name] for name in known if name in names})
        for name in self._past:
            # After the first step the graph returns no cache for the encoder's part.
            if self._is_first or ".decoder." in name:
                self._past[name] = outputs[_PRESENT + name.removeprefix(_PAST)]
        self._is_first = False
        return log_softmax(outputs["logits"][:, -1])

    def keep(self, parents: Sequence[int]) -> None:
        """Continue with these hypotheses, given by index; one that branches is repeated."""
        unchanged = list(parents) == list(range(self._hypotheses))
        if unchanged:
            return
        grows = len(parents) != self._hypotheses
        for name, array in self._past.items():
            # Every hypothesis has the same audio, so the encoder's part is the same.
            if ".decoder." in name or grows:
                places = parents if ".decoder." in name else [0] * len(parents)
                self._past[name] = np.ascontiguousarray(array[places])
        if grows:
            for name, array in self._given.items():
                self._given[name] = np.repeat(array[:1], len(parents), axis=0)
        self._hypotheses = len(parents)


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the logarithms of the probabilities, along the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    total: NDArray[np.float32] = np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    result: NDArray[np.float32] = shifted - total
    return result


def _takes(graph: ModelRunner, *names: str) -> bool:
    return any(spec.name in names for spec in graph.inputs)


def _empty_past(decoder: ModelRunner) -> dict[str, NDArray[Any]]:
    past: dict[str, NDArray[Any]] = {}
    for spec in decoder.inputs:
        if spec.name.startswith(_PAST):
            _, heads, _, size = spec.shape
            if heads is None or size is None:
                raise ModelError(
                    f"{spec.name}: expected a fixed number of heads and a fixed size, got shape "
                    f"{list(spec.shape)}"
                )
            past[spec.name] = np.zeros((1, heads, 0, size), np.float32)
    if not past:
        raise ModelError(
            f"the decoder has no input {_PAST}…; expected a merged decoder with past, such as "
            "Moonshine's decoder_model_merged, or a second graph with past"
        )
    return past
