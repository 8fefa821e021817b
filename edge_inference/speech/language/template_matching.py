"""The template of a grammar that is nearest to a text: by its letters, or by its meaning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_inference.speech.language.delexicalization import (
    DelexicalizedText,
    delexicalize,
    render_words,
)
from edge_inference.speech.language.grammar import Grammar, PhraseReading, Template
from edge_inference.speech.language.numbers import NUMBER_WORDS
from edge_inference.speech.language.stop_phrases import NEGATIONS_AND_CONDITIONS
from edge_inference.speech.language.units import UNIT_WORDS

#: Gives a vector for each text, float32 [n, d]; what is alike in meaning has a small angle.
TextEmbedder = Callable[[Sequence[str]], NDArray[np.float32]]
#: Gives how alike two texts are, 0 to 1.
TextSimilarity = Callable[[str, str], float]

# Two readings so near to each other are told apart by nobody.
_MARGIN = 0.02
_MIN_CORRECTED_LENGTH = 5


@dataclass(frozen=True)
class ScoredReading:
    """The nearest reading and how near it is, 0 to 1."""

    reading: PhraseReading
    score: float


def load_edit_similarity() -> TextSimilarity | None:
    """Return rapidfuzz's normalised edit similarity of two texts, or None without rapidfuzz."""
    try:
        from rapidfuzz import fuzz
    except ImportError:
        return None
    return lambda one, other: float(fuzz.ratio(one, other)) / 100.0


class FuzzyMatcher:
    """Finds what differs from a text by a few letters, values excepted."""

    def __init__(self, grammar: Grammar, similarity: TextSimilarity) -> None:
        self._grammar = grammar
        self._similarity = similarity
        self._templates = grammar.templates()
        self._vocabulary = _vocabulary(grammar, self._templates)

    def find(
        self, words: Sequence[str], threshold: float, fuzzy_word_threshold: float
    ) -> ScoredReading | None:
        """Return the nearest reading of at least ``threshold``, or None.

        If there is none, unknown words are first replaced by the known ones that they are nearly
        (``fuzzy_word_threshold``). Short words and numbers stay: one letter makes others of them.
        """
        near = self._find(words, threshold)
        if near:
            return near
        corrected = [self._corrected(word, fuzzy_word_threshold) for word in words]
        near = self._find(corrected, threshold)
        if near is None:
            return None
        return ScoredReading(
            near.reading, near.score * self._similarity(" ".join(words), " ".join(corrected))
        )

    def _find(self, words: Sequence[str], threshold: float) -> ScoredReading | None:
        delexicalized = delexicalize(self._grammar, words)
        text = delexicalized.text()
        scored = [
            (self._similarity(text, render_words(template.words)), template)
            for template in _fitting(delexicalized, self._templates)
        ]
        return _best(scored, delexicalized, threshold)

    def _corrected(self, word: str, threshold: float) -> str:
        if len(word) < _MIN_CORRECTED_LENGTH or word in self._vocabulary or word[0].isdigit():
            return word
        near = {known: self._similarity(word, known) for known in self._vocabulary}
        best = sorted(near.values(), reverse=True)[:2]
        if not best or best[0] < threshold or (len(best) > 1 and best[0] - best[1] < _MARGIN):
            return word
        known = max(near, key=lambda other: near[other])
        return word if known in NUMBER_WORDS else known


class EmbeddingMatcher:
    """Finds what means nearly the same, by sentence vectors; values are read exactly."""

    def __init__(self, grammar: Grammar, embed: TextEmbedder) -> None:
        self._grammar = grammar
        self._embed = embed
        self._templates = grammar.templates()
        self._vectors = _unit_vectors(embed([_by_kind(t) for t in self._templates]))

    def find(self, words: Sequence[str], threshold: float) -> ScoredReading | None:
        """Return the nearest reading of at least ``threshold`` (a cosine), or None."""
        delexicalized = delexicalize(self._grammar, words)
        fitting = _fitting(delexicalized, self._templates)
        if not fitting:
            return None
        kinds = iter([next(iter(value)).replace("_", " ") for value in delexicalized.values])
        text = " ".join(next(kinds) if word is None else word for word in delexicalized.words)
        likeness = self._vectors @ _unit_vectors(self._embed([text]))[0]
        places = {id(template): place for place, template in enumerate(self._templates)}
        scored = [(float(likeness[places[id(template)]]), template) for template in fitting]
        return _best(scored, delexicalized, threshold)


def _fitting(delexicalized: DelexicalizedText, templates: Sequence[Template]) -> list[Template]:
    turning = NEGATIONS_AND_CONDITIONS.intersection(word for word in delexicalized.words if word)
    return [t for t in templates if delexicalized.matches(t) and turning <= set(t.words)]


def _best(
    scored: Sequence[tuple[float, Template]], delexicalized: DelexicalizedText, threshold: float
) -> ScoredReading | None:
    score, best = max(scored, key=lambda pair: pair[0], default=(0.0, None))
    if best is None or score < threshold:
        return None
    reading = delexicalized.reading(best)
    for other_score, template in scored:
        other = delexicalized.reading(template)
        if score - other_score < _MARGIN and (other.intent, other.slots) != (
            reading.intent,
            reading.slots,
        ):
            problem = f"that could be {reading.intent} or {other.intent}; say it in other words"
            return ScoredReading(PhraseReading(reading.intent, reading.slots, problem), score)
    return ScoredReading(reading, score)


def _by_kind(template: Template) -> str:
    kinds = iter([placeholder.kind.replace("_", " ") for placeholder in template.placeholders])
    return " ".join(next(kinds) if word is None else word for word in template.words)


def _vocabulary(grammar: Grammar, templates: Sequence[Template]) -> frozenset[str]:
    words = {word for template in templates for word in template.words if word}
    words.update(word for kind in grammar.kinds.values() for word in kind.words())
    words.update(word for way in (*grammar.ignored, *grammar.joiners) for word in way)
    return frozenset(words | NUMBER_WORDS | UNIT_WORDS)


def _unit_vectors(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    found: NDArray[np.float32] = vectors / np.maximum(norms, np.finfo(np.float32).tiny)
    return found
