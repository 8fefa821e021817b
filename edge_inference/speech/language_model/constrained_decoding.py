"""Greedy decoding within a schema: chosen is from tokens that keep a plan alive only."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_inference.speech.language_model.plan_schema import PlanSchema, State
from edge_inference.speech.recognition.decoder import log_softmax

_IDS = ""


class TokenScorer(Protocol):
    """A language model in the middle of a text."""

    def read(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Append tokens; return the scores (logits) of what comes next, float32 [tokens]."""


@dataclass(frozen=True)
class DecodedPlan:
    """A plan as text, how sure the model is (0 to 1), and how many tokens it took.

    ``text`` is empty where ``problem`` says why there is no plan.
    """

    text: str
    confidence: float
    tokens: int
    problem: str = ""


class Vocabulary:
    """The tokens of a model by their text, one character after the other.

    ``texts`` is the text of every token by its number, None for one that never may be written.
    Tokens with other characters than ``alphabet`` are left out.
    """

    def __init__(self, texts: Sequence[str | None], alphabet: Collection[str]) -> None:
        letters = set(alphabet)
        #: The tokens that begin with each character; those that end here are under ``_IDS``.
        self.root: dict[str, Any] = {}
        for number, text in enumerate(texts):
            if text and letters.issuperset(text):
                node = self.root
                for character in text:
                    node = node.setdefault(character, {})
                node.setdefault(_IDS, []).append((number, text))


class Constraint:
    """Tells which tokens keep a plan alive."""

    def __init__(self, schema: PlanSchema, vocabulary: Vocabulary) -> None:
        self.schema = schema
        self._root = vocabulary.root

    def allowed(self, state: State) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """Return the tokens that may come next, int64 [n], and the text of each."""
        tokens: list[tuple[int, str]] = []
        self._collect(self._root, state, tokens)
        numbers = np.array([number for number, _ in tokens], np.int64)
        return numbers, tuple(text for _, text in tokens)

    def _collect(self, node: dict[str, Any], state: State, tokens: list[tuple[int, str]]) -> None:
        for character, below in node.items():
            if character == _IDS:
                tokens += below
                continue
            after = self.schema.after(state, character)
            if after is not None:
                self._collect(below, after, tokens)


@dataclass(frozen=True)
class DecodingLimits:
    """How long writing may take. ``clock`` gives rising seconds, ``deadline_s`` on it."""

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
    """Write the plan that a model goes on with, greedy, within a schema.

    ``scores`` are those behind the prompt. Where there is only one way to go on, that text is
    read in one step. ``confidence`` is the geometric mean of what the model gave the tokens that
    were chosen, out of all tokens and not only of those that are allowed: a model that would
    rather write something else is not sure.
    """
    schema = constraint.schema
    ends = np.array(sorted(end_ids), np.int64)
    state, text, tokens = schema.start, "", 0
    chances: list[float] = []
    while True:
        numbers, texts = constraint.allowed(state)
        is_complete = schema.is_complete(state)
        if is_complete:
            numbers = np.concatenate((numbers, ends))
        if not len(numbers):
            return DecodedPlan("", 0.0, tokens, "the language model has no token to go on with")
        log_chances = log_softmax(scores)
        place = int(log_chances[numbers].argmax())
        chances.append(float(log_chances[numbers[place]]))
        tokens += 1
        if place >= len(texts):
            return DecodedPlan(text, _mean(chances), tokens)
        said = texts[place]
        ids = [int(numbers[place])]
        after = schema.after(state, said)
        assert after is not None, "an allowed token keeps the plan alive"
        state, text = after, text + said
        # A blank belongs to the token behind it, as it does in what the model has read.
        rest = schema.forced(state).rstrip(" ")
        if rest:
            after = schema.after(state, rest)
            assert after is not None, "what is forced keeps the plan alive"
            state, text = after, text + rest
            ids += encode(rest)
            tokens += len(ids) - 1
        if tokens >= bounds.max_tokens:
            return DecodedPlan("", 0.0, tokens, "the language model wrote too much")
        if bounds.clock() >= bounds.deadline_s:
            return DecodedPlan("", 0.0, tokens, "the language model took too long")
        scores = model.read(ids)


def _mean(log_chances: Sequence[float]) -> float:
    return math.exp(sum(log_chances) / len(log_chances))
