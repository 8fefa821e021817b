"""Finds the template of a grammar that is most similar to a text, by letters or by meaning."""

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

#: Returns a vector for each text, float32 [n, d]; similar meanings have a small angle.
TextEmbedder = Callable[[Sequence[str]], NDArray[np.float32]]
#: Returns the similarity of two texts, 0 to 1.
TextSimilarity = Callable[[str, str], float]

# Two readings whose scores differ by less than this are ambiguous.
_MARGIN = 0.02
_MIN_CORRECTED_LENGTH = 5


@dataclass(frozen=True)
class ScoredReading:
    """The most similar reading and its score, 0 to 1."""

    reading: PhraseReading
    score: float


def load_edit_similarity() -> TextSimilarity | None:
    """Return the normalised edit similarity of rapidfuzz, or None without rapidfuzz."""
    try:
        from rapidfuzz import fuzz
    except ImportError:
        return None
    return lambda one, other: float(fuzz.ratio(one, other)) / 100.0


class FuzzyMatcher:
    """Finds the phrase that differs from a text by a few letters; values must match exactly."""

    def __init__(self, grammar: Grammar, similarity: TextSimilarity) -> None:
        self._grammar = grammar
        self._similarity = similarity
        self._templates = grammar.templates()
        self._vocabulary = _vocabulary(grammar, self._templates)

    def find(
        self, words: Sequence[str], threshold: float, fuzzy_word_threshold: float
    ) -> ScoredReading | None:
        """Return the most similar reading of at least ``threshold``, or None.

        If there is none, unknown words are replaced by similar known words
        (``fuzzy_word_threshold``) and the search is repeated. Short words and numbers are not
        replaced: one letter changes them into another word.
        """
        match = self._find(words, threshold)
        if match:
            return match
        corrected = [self._correct_word(word, fuzzy_word_threshold) for word in words]
        match = self._find(corrected, threshold)
        if match is None:
            return None
        return ScoredReading(
            match.reading, match.score * self._similarity(" ".join(words), " ".join(corrected))
        )

    def _find(self, words: Sequence[str], threshold: float) -> ScoredReading | None:
        delexicalized = delexicalize(self._grammar, words)
        text = delexicalized.text()
        scored = [
            (self._similarity(text, render_words(template.words)), template)
            for template in _select_matching(delexicalized, self._templates)
        ]
        return _choose_best(scored, delexicalized, threshold)

    def _correct_word(self, word: str, threshold: float) -> str:
        if len(word) < _MIN_CORRECTED_LENGTH or word in self._vocabulary or word[0].isdigit():
            return word
        match = {known: self._similarity(word, known) for known in self._vocabulary}
        best = sorted(match.values(), reverse=True)[:2]
        if not best or best[0] < threshold or (len(best) > 1 and best[0] - best[1] < _MARGIN):
            return word
        known = max(match, key=lambda other: match[other])
        return word if known in NUMBER_WORDS else known


class EmbeddingMatcher:
    """Finds a phrase of similar meaning by sentence vectors; values must match exactly."""

    def __init__(self, grammar: Grammar, embed: TextEmbedder) -> None:
        self._grammar = grammar
        self._embed = embed
        self._templates = grammar.templates()
        self._vectors = _unit_vectors(embed([_render_template(t) for t in self._templates]))

    def find(self, words: Sequence[str], threshold: float) -> ScoredReading | None:
        """Return the most similar reading of at least ``threshold`` (a cosine), or None."""
        delexicalized = delexicalize(self._grammar, words)
        candidates = _select_matching(delexicalized, self._templates)
        if not candidates:
            return None
        kinds = iter([next(iter(value)).replace("_", " ") for value in delexicalized.values])
        text = " ".join(next(kinds) if word is None else word for word in delexicalized.words)
        similarities = self._vectors @ _unit_vectors(self._embed([text]))[0]
        indices = {id(template): position for position, template in enumerate(self._templates)}
        scored = [(float(similarities[indices[id(template)]]), template) for template in candidates]
        return _choose_best(scored, delexicalized, threshold)


def _select_matching(
    delexicalized: DelexicalizedText, templates: Sequence[Template]
) -> list[Template]:
    negations = NEGATIONS_AND_CONDITIONS.intersection(word for word in delexicalized.words if word)
    return [t for t in templates if delexicalized.matches(t) and negations <= set(t.words)]


def _choose_best(
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


def _render_template(template: Template) -> str:
    kinds = iter([placeholder.kind.replace("_", " ") for placeholder in template.placeholders])
    return " ".join(next(kinds) if word is None else word for word in template.words)


def _vocabulary(grammar: Grammar, templates: Sequence[Template]) -> frozenset[str]:
    words = {word for template in templates for word in template.words if word}
    words.update(word for kind in grammar.kinds.values() for word in kind.vocabulary())
    words.update(word for expression in (*grammar.ignored, *grammar.joiners) for word in expression)
    return frozenset(words | NUMBER_WORDS | UNIT_WORDS)


def _unit_vectors(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    normalized: NDArray[np.float32] = vectors / np.maximum(norms, np.finfo(np.float32).tiny)
    return normalized
