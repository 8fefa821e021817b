"""Speech to one phrase of a grammar, or to none: a beam search that only follows the phrases.

A free recogniser writes what sounds likely; asked only for the grammar's phrases it is right far
more often, and the mean log-probability of the best one tells commands from other speech.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.settings import setting
from edge_inference.speech.phrase_trie import TrieNode, build_trie, written
from edge_inference.speech.recogniser import Recogniser, confidence_of
from edge_inference.speech.tokenizer import END, START


@dataclass(frozen=True)
class CommandSettings:
    """How wide the search is, and what it accepts."""

    beam: int = setting(6, "hypotheses followed at a time", minimum=1, maximum=64)
    threshold: float = setting(
        -2.0, "lowest mean log-probability of a token that is accepted", maximum=0.0
    )
    eager_threshold: float = setting(
        -3.5, "the same for phrases that are better heard once too often: stop", maximum=0.0
    )
    lead: float = setting(
        2.0,
        "log-probability by which a phrase must lead those that mean something else",
        minimum=0.0,
    )


class Command(NamedTuple):
    """The phrase that was said. ``text`` is empty where none was; ``problem`` then says why.

    ``confidence`` (0 to 1) and ``log_probabilities`` are those of the best phrase, accepted or not.
    """

    text: str
    confidence: float
    log_probabilities: tuple[float, ...]
    problem: str = ""


class _Hypothesis(NamedTuple):
    node: TrieNode
    token: int
    scores: tuple[float, ...]

    @property
    def total(self) -> float:
        return sum(self.scores)


class CommandMode:
    """Recognises the phrases of one grammar with a recogniser's models.

    ``spellings`` gives the ways in which the recogniser may write a phrase. ``eager`` are the
    phrases that ``eager_threshold`` decides on, such as those that stop the robot: to stop
    needlessly is safe. ``meanings`` tells what each phrase means: one that hardly leads another
    of a different meaning is not accepted; without it nothing is known of that, and the best
    phrase counts. Raises ConfigError where there are no phrases.
    """

    def __init__(
        self,
        recogniser: Recogniser,
        phrases: Iterable[str],
        settings: CommandSettings | None = None,
        spellings: Callable[[str], Iterable[str]] = written,
        eager: Iterable[str] = (),
        meanings: Mapping[str, Hashable] | None = None,
    ) -> None:
        self.settings = settings or CommandSettings()
        self._eager = frozenset(eager)
        self._meanings = meanings
        self._recogniser = recogniser
        self._root = build_trie(phrases, recogniser.tokenizer, spellings)

    def recognise(self, samples: NDArray[np.float32]) -> Command:
        """Return the phrase that was said, or why it was none.

        ``samples`` as in :meth:`Recogniser.listen`, with its errors.
        """
        found = self._search(samples)
        phrase, scores = max(found.items(), key=lambda item: _mean(item[1]))
        mean = _mean(scores)
        confidence = confidence_of(list(scores))
        settings = self.settings
        threshold = settings.eager_threshold if phrase in self._eager else settings.threshold
        if mean < threshold:
            problem = (
                f"none of the grammar's phrases: the nearest is {phrase!r} with a mean "
                f"log-probability of {mean:.2f}, below the threshold of "
                f"{threshold:.2f}"
            )
            return Command("", confidence, scores, problem)
        rival = self._rival(phrase, found)
        if rival:
            problem = f"{phrase!r} or {rival!r}: too much alike to tell; please say it again"
            return Command("", confidence, scores, problem)
        return Command(phrase, confidence, scores)

    def _rival(self, phrase: str, found: Mapping[str, tuple[float, ...]]) -> str:
        """Return the acceptable phrase of another meaning that is nearly as probable, or ''."""
        if self._meanings is None or phrase in self._eager:
            return ""
        meanings = self._meanings
        totals = {other: sum(scores) for other, scores in found.items()}
        meaning = meanings.get(phrase)
        # A meaning may be found in several phrases; the most probable one speaks for it.
        best = max(totals[other] for other in found if meanings.get(other) == meaning)
        rivals = [
            other
            for other, scores in found.items()
            if meanings.get(other) != meaning
            and _mean(scores) >= self.settings.threshold
            and best - totals[other] < self.settings.lead
        ]
        return max(rivals, key=totals.__getitem__, default="")

    def _search(self, samples: NDArray[np.float32]) -> dict[str, tuple[float, ...]]:
        """Return the phrases that the beam has found, each with its best log-probabilities."""
        state = self._recogniser.listen(samples)
        beam = [_Hypothesis(self._root, START, ())]
        found: dict[str, tuple[float, ...]] = {}
        while beam:
            chances = state.step([hypothesis.token for hypothesis in beam])
            for hypothesis, row in zip(beam, chances, strict=True):
                phrase = hypothesis.node.phrase
                if phrase is not None:
                    scores = (*hypothesis.scores, float(row[END]))
                    if phrase not in found or _mean(scores) > _mean(found[phrase]):
                        found[phrase] = scores
            parents, beam = self._widen(beam, chances)
            if beam:
                state.keep(parents)
        return found  # at least one: every branch of the tree ends in a phrase

    def _widen(
        self, beam: list[_Hypothesis], chances: NDArray[np.float32]
    ) -> tuple[list[int], list[_Hypothesis]]:
        """Return the best next hypotheses, and the place of what each goes on from."""
        options: list[tuple[float, int, int]] = []
        for place, hypothesis in enumerate(beam):
            tokens = list(hypothesis.node.children)
            sums = chances[place, tokens] + hypothesis.total
            options += zip(sums.tolist(), [place] * len(tokens), tokens, strict=True)
        options.sort(reverse=True)
        kept = options[: self.settings.beam]
        parents = [place for _, place, _ in kept]
        return parents, [
            _Hypothesis(
                beam[place].node.children[token],
                token,
                (*beam[place].scores, float(chances[place, token])),
            )
            for _, place, token in kept
        ]


def _mean(scores: tuple[float, ...]) -> float:
    return sum(scores) / len(scores)
