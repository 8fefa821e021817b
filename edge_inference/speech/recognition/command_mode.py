"""Speech to the phrases of a grammar, or to none: a beam search that only follows the phrases.

A free recogniser writes what sounds likely; asked only for the grammar's phrases it is right far
more often. What was said may be none of them, so it is heard freely beside that, in the same
runs of the decoder: a phrase that is much less likely than what was heard freely is not accepted.
That is the likelihood ratio of keyword spotting (Rose and Paul, ICASSP 1990), with greedy
decoding as the model of all other speech.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.settings import setting
from edge_inference.speech.language.stop_phrases import find_stop_word
from edge_inference.speech.language.text_normalization import split_words
from edge_inference.speech.recognition.phrase_graph import GraphPosition, PhraseGraph
from edge_inference.speech.recognition.recogniser import Recogniser, mean_probability
from edge_inference.speech.recognition.tokenizer import END, START


@dataclass(frozen=True)
class CommandModeSettings:
    """How wide the search is, and what it accepts."""

    beam_width: int = setting(6, "hypotheses followed at a time", minimum=1, maximum=64)
    threshold: float = setting(
        -2.0, "lowest mean log-probability of a token that is accepted", maximum=0.0
    )
    margin: float = setting(
        1.25,
        "log-probability for each token from the third on by which what is heard freely may lead "
        "the phrase that is accepted",
        minimum=0.0,
    )
    lead: float = setting(
        3.0,
        "log-probability by which a phrase must lead those that mean something else",
        minimum=0.0,
    )
    eager_threshold: float = setting(
        -2.5, "threshold of phrases that are better heard once too often, such as stop", maximum=0.0
    )
    eager_margin: float = setting(
        8.0, "log-probability by which what is heard freely may lead those", minimum=0.0
    )


class CommandResult(NamedTuple):
    """The phrases that were said. ``text`` is empty where none was; ``problem`` then says why.

    ``confidence`` (0 to 1) and ``log_probabilities`` are those of the best phrases, accepted
    or not. ``heard`` is what was heard freely, of speech that is over.
    """

    text: str
    confidence: float
    log_probabilities: tuple[float, ...]
    problem: str = ""
    free_text: str = ""


#: What is so much less likely than what is heard freely so far does not catch up.
_MAX_DEFICIT = 12.0


#: Of every twenty sentences or so one joins two commands; the natural logarithm of that.
_JOIN_PENALTY = 3.0


class _Hypothesis(NamedTuple):
    position: GraphPosition
    token: int
    total: float
    scores: tuple[float, ...]


class _FreeHypothesis(NamedTuple):
    """What is heard without a grammar, so far."""

    tokens: tuple[int, ...] = ()
    scores: tuple[float, ...] = ()
    is_over: bool = False

    @property
    def total(self) -> float:
        """Log-probability that it was this."""
        return sum(self.scores)


class _Sentence(NamedTuple):
    """Phrases of the grammar, and the log-probability of every token."""

    phrases: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()

    @property
    def mean(self) -> float:
        """What a token was thought of on average."""
        return sum(self.scores) / len(self.scores) if self.scores else -math.inf

    @property
    def total(self) -> float:
        """Log-probability that it was this: several commands in one sentence are rare."""
        return sum(self.scores) - _JOIN_PENALTY * max(len(self.phrases) - 1, 0)


class BeamSearchResult(NamedTuple):
    """The sentences of the grammar that were found, and what was heard freely."""

    sentences: dict[tuple[str, ...], _Sentence]
    free: _FreeHypothesis

    def add(self, sentence: _Sentence) -> None:
        """Keep a sentence where it is new, or likelier than before."""
        known = self.sentences.get(sentence.phrases)
        if known is None or sentence.total > known.total:
            self.sentences[sentence.phrases] = sentence

    def best(self, threshold: float) -> _Sentence:
        """Return the likeliest sentence; an empty one if there is none.

        One whose mean is below the threshold is returned only where there is no other.
        """
        return max(
            self.sentences.values(),
            key=lambda sentence: (sentence.mean >= threshold, sentence.total),
            default=_Sentence(),
        )


class CommandMode:
    """Recognises the phrases of one grammar with a recogniser's models.

    ``eager`` are the phrases that ``eager_threshold`` and ``eager_margin`` decide on, such as those
    that stop the robot: to stop needlessly is safe. ``answers`` are short words such as yes and no,
    which much is taken for: they count only after a question. ``meanings`` tells what each phrase
    means: one that hardly leads another of a different meaning is not accepted; without it
    nothing is known of that, and the best phrase counts. ``stop_words`` overtake: of speech that is
    over, what is heard freely and says stop by them is that, however near a phrase is.
    """

    def __init__(
        self,
        recogniser: Recogniser,
        graph: PhraseGraph,
        settings: CommandModeSettings | None = None,
        eager: Iterable[str] = (),
        answers: Iterable[str] = (),
        meanings: Mapping[str, Hashable] | None = None,
        stop_words: Collection[str] = (),
    ) -> None:
        self.settings = settings or CommandModeSettings()
        self._eager = frozenset(eager)
        self._answers = frozenset(answers)
        self._meanings = meanings
        self._stop_words = stop_words
        self._recogniser = recogniser
        self._graph = graph

    def recognise(
        self, samples: NDArray[np.float32], *, is_final: bool = True, expects_answer: bool = False
    ) -> CommandResult:
        """Return the phrases that were said, or why it was none.

        ``samples`` as in :meth:`Recogniser.encode`, with its errors.
        """
        return self.decide(self.search(samples, expects_answer=expects_answer), is_final=is_final)

    def decide(self, found: BeamSearchResult, *, is_final: bool) -> CommandResult:
        """Return which of the sentences that were found counts, or why none does.

        Eager phrases are taken eagerly only of speech that is over: the beginning of much sounds
        like them.
        """
        best = found.best(self.settings.threshold)
        problem = self._objection(best, found, is_final)
        text = "" if problem else self._graph.text(best.phrases)
        free_text = self.free_text(found) if is_final else ""
        stop = self._find_overlooked_stop(text, free_text)
        if stop:
            scores = found.free.scores
            return CommandResult(stop, mean_probability(list(scores)), scores, free_text=free_text)
        return CommandResult(
            text, mean_probability(list(best.scores)), best.scores, problem, free_text
        )

    def free_text(self, found: BeamSearchResult) -> str:
        """Return what was heard freely, as far as it was followed."""
        return self._recogniser.tokenizer.text([each for each in found.free.tokens if each != END])

    def _find_overlooked_stop(self, text: str, free_text: str) -> str:
        """Return the word by which what was free_text freely says stop; empty where it does not.

        "Stop, stop!" is no phrase. What is one word for word ("go on, then stop") means what the
        grammar says.
        """
        if split_words(free_text) == split_words(text):
            return ""
        is_last_of_several = bool(find_stop_word(text, self._stop_words, in_turn=False))
        return find_stop_word(free_text, self._stop_words, in_turn=is_last_of_several)

    def _objection(self, best: _Sentence, found: BeamSearchResult, is_final: bool) -> str:
        """Return why the best sentence is not accepted; empty where it is."""
        if not best.phrases:
            return "none of the grammar's phrases"
        nearest = self._graph.text(best.phrases)
        is_eager = is_final and self._is_eager(best)
        threshold = self.settings.eager_threshold if is_eager else self.settings.threshold
        if best.mean < threshold:
            return (
                f"none of the grammar's phrases: the nearest is {nearest!r} with a mean "
                f"log-probability of {best.mean:.2f}, below the threshold of {threshold:.2f}"
            )
        if found.free.total - best.total > self._margin(best, is_eager):
            free_text = self._recogniser.tokenizer.text(found.free.tokens)
            return f"I free_text {free_text!r}, which is no command; the nearest is {nearest!r}"
        competitor = () if is_eager else self._competitor(best, found)
        if competitor:
            other = self._graph.text(competitor)
            return f"{nearest!r} or {other!r}: too much alike to tell; please say it again"
        return ""

    def _margin(self, sentence: _Sentence, is_eager: bool) -> float:
        """Return by how much what is heard freely may lead.

        The end mark and a first token say little, so a short phrase has next to no margin.
        """
        if is_eager:
            return self.settings.eager_margin
        return self.settings.margin * max(len(sentence.scores) - 2, 0)

    def _is_eager(self, sentence: _Sentence) -> bool:
        return len(sentence.phrases) == 1 and sentence.phrases[0] in self._eager

    def _competitor(self, best: _Sentence, found: BeamSearchResult) -> tuple[str, ...]:
        """Return the acceptable sentence of another meaning that is nearly as probable, or ()."""
        if self._meanings is None:
            return ()
        meaning = self._meaning(best.phrases)
        competitors = [
            other
            for other in found.sentences.values()
            if self._meaning(other.phrases) != meaning
            and other.mean >= self.settings.threshold
            and best.total - other.total < self.settings.lead
        ]
        return max(competitors, key=lambda other: other.total, default=_Sentence()).phrases

    def _has_no_repetition(self, phrases: tuple[str, ...]) -> bool:
        """Tell whether no command is given twice in a row: nobody does, but babble sounds so."""
        if self._meanings is None:
            return True
        return all(one != other for one, other in pairwise(self._meaning(phrases)))

    def _meaning(self, phrases: tuple[str, ...]) -> tuple[Hashable, ...]:
        assert self._meanings is not None
        return tuple(self._meanings.get(phrase) for phrase in phrases)

    def search(
        self, samples: NDArray[np.float32], *, expects_answer: bool, to_end: bool = True
    ) -> BeamSearchResult:
        """Follow the phrases, and beside them what is most probable of all, to their ends.

        ``expects_answer`` tells that an answer is waited for. Without ``to_end`` what is most probable
        is followed only as far as it decides on a phrase.
        """
        state = self._recogniser.encode(samples)
        beam = [_Hypothesis(self._graph.start, START, 0.0, ())]
        found = BeamSearchResult({}, _FreeHypothesis())
        ids, free_row = [START], 0  # the free one is the beam's only one at first
        for _ in range(self._recogniser.max_tokens(len(samples))):
            log_probs = state.step(ids)
            for hypothesis, log_prob in zip(beam, log_probs, strict=False):
                phrases = self._graph.completed_phrases(hypothesis.position)
                if (
                    phrases
                    and (expects_answer or self._answers.isdisjoint(phrases))
                    and self._has_no_repetition(phrases)
                ):
                    found.add(_Sentence(phrases, (*hypothesis.scores, float(log_prob[END]))))
            if not found.free.is_over:
                found = found._replace(free=_extend_free(found.free, log_probs[free_row]))
            # Beside a whole sentence only what might yet be its rival matters.
            best = found.best(self.settings.threshold)
            is_likely = best.mean >= self.settings.threshold
            competitors = best.total - self.settings.lead if is_likely else -math.inf
            min_total = max(found.free.total - _MAX_DEFICIT, competitors)
            rows, beam = self._extend_beam(beam, log_probs, min_total)
            ids = [hypothesis.token for hypothesis in beam]
            # What is heard freely only gets less likely: of a phrase there may be no more to learn,
            # but a stop may come behind it.
            if not found.free.is_over and (beam or to_end or self._may_still_decide(found)):
                rows.append(free_row)
                ids.append(found.free.tokens[-1])
            free_row = len(beam)
            if not ids:
                break
            state.keep(rows)
        return found

    def _may_still_decide(self, found: BeamSearchResult) -> bool:
        """Tell whether what is heard freely may still decide."""
        best = found.best(self.settings.threshold)
        is_eager = self._is_eager(best)
        threshold = self.settings.eager_threshold if is_eager else self.settings.threshold
        behind = found.free.total - best.total
        return best.mean >= threshold and behind > self._margin(best, is_eager)

    def _extend_beam(
        self, beam: list[_Hypothesis], log_probs: NDArray[np.float32], min_total: float
    ) -> tuple[list[int], list[_Hypothesis]]:
        """Return the best next hypotheses, and the row of what each goes on from.

        What is less likely than ``min_total`` is given up.
        """
        options: list[tuple[float, int, int, GraphPosition]] = []
        for row, hypothesis in enumerate(beam):
            moves = list(self._graph.transitions(hypothesis.position))
            totals = log_probs[row, [token for token, _ in moves]] + hypothesis.total
            options += (
                (total, row, token, position)
                for total, (token, position) in zip(totals.tolist(), moves, strict=True)
                if total >= min_total
            )
        options.sort(key=lambda option: option[0], reverse=True)
        kept = options[: self.settings.beam_width]
        return [row for _, row, _, _ in kept], [
            _Hypothesis(position, token, total, (*beam[row].scores, float(log_probs[row, token])))
            for total, row, token, position in kept
        ]


def _extend_free(free: _FreeHypothesis, log_probs: NDArray[np.float32]) -> _FreeHypothesis:
    tokens = (*free.tokens, int(log_probs.argmax()))
    scores = (*free.scores, float(log_probs.max()))
    return _FreeHypothesis(tokens, scores, is_over=tokens[-1] == END)
