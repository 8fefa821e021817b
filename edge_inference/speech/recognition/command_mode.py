"""Command mode: a beam search that is constrained to the phrases of a grammar, with rejection.

Recognition constrained to the phrases makes far fewer errors than free transcription. Speech may
also be none of the phrases. Therefore free greedy decoding runs in the same batches of the decoder,
and a phrase that is much less likely than the free text is rejected. This is the likelihood ratio
of keyword spotting (Rose and Paul, ICASSP 1990), with greedy decoding as the background model.
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
from edge_inference.speech.recognition.recognizer import Recognizer, mean_probability
from edge_inference.speech.recognition.tokenizer import END, START


@dataclass(frozen=True)
class CommandModeSettings:
    """Width of the search, and thresholds of acceptance."""

    beam_width: int = setting(6, "hypotheses in the beam", minimum=1, maximum=64)
    threshold: float = setting(
        -2.0, "lowest mean log-probability of a token that is accepted", maximum=0.0
    )
    margin: float = setting(
        1.25,
        "log-probability, per token from the third on, by which the free text may exceed an "
        "accepted phrase",
        minimum=0.0,
    )
    lead: float = setting(
        3.0,
        "log-probability by which a phrase must exceed phrases of another meaning",
        minimum=0.0,
    )
    eager_threshold: float = setting(
        -2.5, "threshold of phrases whose false acceptance is safe, such as stop", maximum=0.0
    )
    eager_margin: float = setting(
        8.0, "log-probability by which the free text may exceed these phrases", minimum=0.0
    )


class CommandResult(NamedTuple):
    """The recognized phrases. ``text`` is empty if none is accepted; ``problem`` gives the reason.

    ``confidence`` (0 to 1) and ``log_probabilities`` are those of the best phrases, accepted
    or not. ``free_text`` is the result of free decoding; it is empty for partial speech.
    """

    text: str
    confidence: float
    log_probabilities: tuple[float, ...]
    problem: str = ""
    free_text: str = ""


#: A hypothesis that is less likely than the free text by more than this is dropped.
_MAX_DEFICIT = 12.0


#: About one sentence in twenty joins two commands: the penalty is the natural logarithm of 20.
_JOIN_PENALTY = 3.0


class _Hypothesis(NamedTuple):
    position: GraphPosition
    token: int
    total: float
    scores: tuple[float, ...]


class _FreeHypothesis(NamedTuple):
    """The hypothesis of free decoding."""

    tokens: tuple[int, ...] = ()
    scores: tuple[float, ...] = ()
    is_over: bool = False

    @property
    def total(self) -> float:
        """Log-probability of the hypothesis."""
        return sum(self.scores)


class _Sentence(NamedTuple):
    """Phrases of the grammar, and the log-probability of every token."""

    phrases: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()

    @property
    def mean(self) -> float:
        """The mean log-probability of a token."""
        return sum(self.scores) / len(self.scores) if self.scores else -math.inf

    @property
    def total(self) -> float:
        """Log-probability of the sentence, less a penalty for each joined command."""
        return sum(self.scores) - _JOIN_PENALTY * max(len(self.phrases) - 1, 0)


class BeamSearchResult(NamedTuple):
    """The sentences of the grammar that the search found, and the free hypothesis."""

    sentences: dict[tuple[str, ...], _Sentence]
    free: _FreeHypothesis

    def add(self, sentence: _Sentence) -> None:
        """Keep a sentence if it is new or more likely than before."""
        known = self.sentences.get(sentence.phrases)
        if known is None or sentence.total > known.total:
            self.sentences[sentence.phrases] = sentence

    def best(self, threshold: float) -> _Sentence:
        """Return the most likely sentence; an empty one if there is none.

        A sentence whose mean is below the threshold is returned only if there is no other.
        """
        return max(
            self.sentences.values(),
            key=lambda sentence: (sentence.mean >= threshold, sentence.total),
            default=_Sentence(),
        )


class CommandMode:
    """Recognizes the phrases of one grammar with the models of a recognizer.

    ``eager`` phrases are accepted by ``eager_threshold`` and ``eager_margin``: for example stop
    phrases, because a needless stop is safe. ``answers`` are short words such as yes and no, which
    are often recognized by mistake: they count only after a question. ``meanings`` maps each phrase
    to its meaning: a phrase is rejected if one of another meaning is nearly as likely; without
    ``meanings`` the best phrase is accepted. ``stop_words`` take precedence: if the free text of
    final speech contains one of them, the result is that stop word, however likely a phrase is.
    """

    def __init__(
        self,
        recognizer: Recognizer,
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
        self._recognizer = recognizer
        self._graph = graph

    def recognize(
        self, samples: NDArray[np.float32], *, is_final: bool = True, expects_answer: bool = False
    ) -> CommandResult:
        """Return the recognized phrases, or the reason for rejection.

        ``samples`` and errors are those of :meth:`Recognizer.encode`.
        """
        return self.decide(self.search(samples, expects_answer=expects_answer), is_final=is_final)

    def decide(self, result: BeamSearchResult, *, is_final: bool) -> CommandResult:
        """Accept one of the sentences that the search found, or return the reason for rejection.

        The eager thresholds apply only to final speech: the start of many utterances sounds like
        an eager phrase.
        """
        best = result.best(self.settings.threshold)
        problem = self._objection(best, result, is_final)
        text = "" if problem else self._graph.text(best.phrases)
        free_text = self.free_text(result) if is_final else ""
        stop = self._find_overlooked_stop(text, free_text)
        if stop:
            scores = result.free.scores
            return CommandResult(stop, mean_probability(list(scores)), scores, free_text=free_text)
        return CommandResult(
            text, mean_probability(list(best.scores)), best.scores, problem, free_text
        )

    def free_text(self, result: BeamSearchResult) -> str:
        """Return the text of the free hypothesis, as far as it was decoded."""
        return self._recognizer.tokenizer.text([each for each in result.free.tokens if each != END])

    def _find_overlooked_stop(self, text: str, free_text: str) -> str:
        """Return the stop word of the free text; empty without one.

        "Stop, stop!" is not a phrase of the grammar. Free text that equals the recognized phrases
        ("go on, then stop") has the grammar's meaning instead.
        """
        if split_words(free_text) == split_words(text):
            return ""
        is_last_of_several = bool(find_stop_word(text, self._stop_words, in_turn=False))
        return find_stop_word(free_text, self._stop_words, in_turn=is_last_of_several)

    def _objection(self, best: _Sentence, result: BeamSearchResult, is_final: bool) -> str:
        """Return the reason to reject the best sentence; empty if it is accepted."""
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
        if result.free.total - best.total > self._margin(best, is_eager):
            free_text = self._recognizer.tokenizer.text(result.free.tokens)
            return f"I heard {free_text!r}, which is no command; the nearest is {nearest!r}"
        competitor = () if is_eager else self._competitor(best, result)
        if competitor:
            other = self._graph.text(competitor)
            return f"{nearest!r} or {other!r}: too much alike to tell; please say it again"
        return ""

    def _margin(self, sentence: _Sentence, is_eager: bool) -> float:
        """Return the log-probability by which the free text may exceed a sentence.

        The end token and the first token carry little evidence, so a short phrase has almost no
        margin.
        """
        if is_eager:
            return self.settings.eager_margin
        return self.settings.margin * max(len(sentence.scores) - 2, 0)

    def _is_eager(self, sentence: _Sentence) -> bool:
        return len(sentence.phrases) == 1 and sentence.phrases[0] in self._eager

    def _competitor(self, best: _Sentence, result: BeamSearchResult) -> tuple[str, ...]:
        """Return the acceptable sentence of another meaning that is nearly as likely, or ()."""
        if self._meanings is None:
            return ()
        meaning = self._meaning(best.phrases)
        competitors = [
            other
            for other in result.sentences.values()
            if self._meaning(other.phrases) != meaning
            and other.mean >= self.settings.threshold
            and best.total - other.total < self.settings.lead
        ]
        return max(competitors, key=lambda other: other.total, default=_Sentence()).phrases

    def _has_no_repetition(self, phrases: tuple[str, ...]) -> bool:
        """Tell whether no command is repeated: people do not repeat them, but babble looks so."""
        if self._meanings is None:
            return True
        return all(one != other for one, other in pairwise(self._meaning(phrases)))

    def _meaning(self, phrases: tuple[str, ...]) -> tuple[Hashable, ...]:
        assert self._meanings is not None
        return tuple(self._meanings.get(phrase) for phrase in phrases)

    def search(
        self, samples: NDArray[np.float32], *, expects_answer: bool, to_end: bool = True
    ) -> BeamSearchResult:
        """Search the phrases and decode freely in the same batches, both to their ends.

        ``expects_answer``: a question is open. Without ``to_end`` free decoding continues only as
        long as it may decide on a phrase.
        """
        state = self._recognizer.encode(samples)
        beam = [_Hypothesis(self._graph.start, START, 0.0, ())]
        result = BeamSearchResult({}, _FreeHypothesis())
        ids, free_row = [START], 0  # at first both share the only row
        for _ in range(self._recognizer.max_tokens(len(samples))):
            log_probs = state.step(ids)
            for hypothesis, log_prob in zip(beam, log_probs, strict=False):
                phrases = self._graph.completed_phrases(hypothesis.position)
                if (
                    phrases
                    and (expects_answer or self._answers.isdisjoint(phrases))
                    and self._has_no_repetition(phrases)
                ):
                    result.add(_Sentence(phrases, (*hypothesis.scores, float(log_prob[END]))))
            if not result.free.is_over:
                result = result._replace(free=_extend_free(result.free, log_probs[free_row]))
            # After a complete sentence only hypotheses that may still compete with it matter.
            best = result.best(self.settings.threshold)
            is_likely = best.mean >= self.settings.threshold
            min_competitor = best.total - self.settings.lead if is_likely else -math.inf
            min_total = max(result.free.total - _MAX_DEFICIT, min_competitor)
            rows, beam = self._extend_beam(beam, log_probs, min_total)
            ids = [hypothesis.token for hypothesis in beam]
            # The free hypothesis only becomes less likely, so it may no longer decide on a phrase.
            # But a stop word may follow.
            if not result.free.is_over and (beam or to_end or self._may_still_decide(result)):
                rows.append(free_row)
                ids.append(result.free.tokens[-1])
            free_row = len(beam)
            if not ids:
                break
            state.keep(rows)
        return result

    def _may_still_decide(self, result: BeamSearchResult) -> bool:
        """Tell whether the free hypothesis may still change the decision."""
        best = result.best(self.settings.threshold)
        is_eager = self._is_eager(best)
        threshold = self.settings.eager_threshold if is_eager else self.settings.threshold
        deficit = result.free.total - best.total
        return best.mean >= threshold and deficit > self._margin(best, is_eager)

    def _extend_beam(
        self, beam: list[_Hypothesis], log_probs: NDArray[np.float32], min_total: float
    ) -> tuple[list[int], list[_Hypothesis]]:
        """Return the best next hypotheses, and the row that each of them extends.

        Hypotheses below ``min_total`` are dropped.
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
