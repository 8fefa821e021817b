"""Constrained greedy decoding: only tokens that can continue a valid plan are allowed."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_inference.speech.language_model.plan_schema import PlanSchema, SchemaState
from edge_inference.speech.recognition.decoder import log_softmax

_IDS = ""


class TokenScorer(Protocol):
    """A language model with a text as its context."""

    def read(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Append tokens; return the logits of the next token, float32 [tokens]."""


@dataclass(frozen=True)
class DecodedPlan:
    """A plan as text, its confidence (0 to 1), and its number of tokens.

    ``text`` is empty if ``problem`` gives the reason why there is no plan.
    """

    text: str
    confidence: float
    tokens: int
    problem: str = ""


class Vocabulary:
    """A trie of a model's tokens, by the characters of their text.

    ``token_texts`` is the text of every token by its id, None for a token that is never allowed.
    Tokens with characters outside ``alphabet`` are dropped.
    """

    def __init__(self, token_texts: Sequence[str | None], alphabet: Collection[str]) -> None:
        letters = set(alphabet)
        #: Children by character; the tokens that end at a node are under ``_IDS``.
        self.root: dict[str, Any] = {}
        for number, text in enumerate(token_texts):
            if text and letters.issuperset(text):
                node = self.root
                for character in text:
                    node = node.setdefault(character, {})
                node.setdefault(_IDS, []).append((number, text))


class Constraint:
    """Returns the tokens that can continue a valid plan."""

    def __init__(self, schema: PlanSchema, vocabulary: Vocabulary) -> None:
        self.schema = schema
        self._root = vocabulary.root

    def allowed_tokens(self, state: SchemaState) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """Return the ids of the allowed next tokens, int64 [n], and their texts."""
        tokens: list[tuple[int, str]] = []
        self._collect(self._root, state, tokens)
        token_ids = np.array([number for number, _ in tokens], np.int64)
        return token_ids, tuple(text for _, text in tokens)

    def _collect(
        self, node: dict[str, Any], state: SchemaState, tokens: list[tuple[int, str]]
    ) -> None:
        for character, below in node.items():
            if character == _IDS:
                tokens += below
                continue
            advance = self.schema.advance(state, character)
            if advance is not None:
                self._collect(below, advance, tokens)


@dataclass(frozen=True)
class DecodingLimits:
    """Limits of decoding. ``clock`` returns monotonic seconds; ``deadline_s`` is a time of it."""

    max_tokens: int
    deadline_s: float
    clock: Callable[[], float]


def decode_plan(
    model: TokenScorer,
    scores: NDArray[np.float32],
    constraint: Constraint,
    encode: Callable[[str], Sequence[int]],
    end_ids: Collection[int],
    bounds: DecodingLimits,
) -> DecodedPlan:
    """Decode a plan greedily within a schema.

    ``scores`` are the logits after the prompt. Text without an alternative is appended in one step.
    ``confidence`` is the geometric mean of the probabilities of the chosen tokens among all tokens,
    not only the allowed ones: it is low if the model prefers another text.
    """
    schema = constraint.schema
    ends = np.array(sorted(end_ids), np.int64)
    state, text, tokens = schema.start, "", 0
    log_probs: list[float] = []
    while True:
        token_ids, token_texts = constraint.allowed_tokens(state)
        is_complete = schema.is_complete(state)
        if is_complete:
            token_ids = np.concatenate((token_ids, ends))
        if not len(token_ids):
            return DecodedPlan("", 0.0, tokens, "the language model has no token to go on with")
        log_probabilities = log_softmax(scores)
        position = int(log_probabilities[token_ids].argmax())
        log_probs.append(float(log_probabilities[token_ids[position]]))
        tokens += 1
        if position >= len(token_texts):
            return DecodedPlan(text, _mean_probability(log_probs), tokens)
        said = token_texts[position]
        ids = [int(token_ids[position])]
        advance = schema.advance(state, said)
        assert advance is not None, "an allowed token continues a valid plan"
        state, text = advance, text + said
        # A space belongs to the next token, as in the text of the prompt.
        rest = schema.forced_text(state).rstrip(" ")
        if rest:
            advance = schema.advance(state, rest)
            assert advance is not None, "forced text continues a valid plan"
            state, text = advance, text + rest
            ids += encode(rest)
            tokens += len(ids) - 1
        if tokens >= bounds.max_tokens:
            return DecodedPlan("", 0.0, tokens, "the language model wrote too much")
        if bounds.clock() >= bounds.deadline_s:
            return DecodedPlan("", 0.0, tokens, "the language model took too long")
        scores = model.read(ids)


def _mean_probability(log_probabilities: Sequence[float]) -> float:
    return math.exp(sum(log_probabilities) / len(log_probabilities))
