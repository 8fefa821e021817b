"""Natural language understanding: finds the intent of a transcript."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from edge_inference.core.settings import setting
from edge_inference.core.voice import UNKNOWN, Intent, Transcript
from edge_inference.speech.language.affirmation import is_affirmation
from edge_inference.speech.language.grammar import Grammar, PhraseReading
from edge_inference.speech.language.intent_sequence import join_intents
from edge_inference.speech.language.stop_phrases import (
    NegationGuard,
    StopSettings,
    find_stop_word,
    is_stop,
)
from edge_inference.speech.language.template_matching import (
    EmbeddingMatcher,
    FuzzyMatcher,
    TextEmbedder,
    load_edit_similarity,
)
from edge_inference.speech.language.text_normalization import split_words

__all__ = ["UNKNOWN", "Understanding", "UnderstandingSettings", "is_stop"]

#: Sources whose intents act without confirmation.
_UNCONFIRMED_SOURCES = ("grammar", "fuzzy")
# Intents that are allowed after a negation before a pause.
_STILL_INTENTS = frozenset({"stop", "look", "deny"})
#: A longer text is conversation, not a command.
MAX_WORDS = 100
MAX_CHARACTERS = 1000


@dataclass(frozen=True)
class UnderstandingSettings(StopSettings):
    """Thresholds of the similarity to the grammar."""

    fuzzy: bool = setting(True, "accept texts that differ from the grammar by a few letters")
    fuzzy_threshold: float = setting(
        0.88, "similarity from which a fuzzy match is accepted", minimum=0.5, maximum=1.0
    )
    fuzzy_word_threshold: float = setting(
        0.85,
        "similarity from which an unknown word counts as a known one",
        minimum=0.5,
        maximum=1.0,
    )
    embedding_threshold: float = setting(
        0.65,
        "similarity in meaning from which the robot asks for confirmation",
        minimum=0.0,
        maximum=1.0,
    )
    min_confidence: float = setting(
        0.0, "lowest confidence of the recognizer; stop counts with any", minimum=0.0, maximum=1.0
    )


class Understanding:
    """Finds intents by grammar, then by letters, then by meaning if ``embed`` is given.

    A stop has priority over everything that does not match the grammar exactly. An intent that is
    found by meaning needs confirmation. ``notes`` lists the disabled steps and the reasons.
    """

    def __init__(
        self,
        grammar: Grammar,
        settings: UnderstandingSettings | None = None,
        embed: TextEmbedder | None = None,
    ) -> None:
        self._grammar = grammar
        self._settings = settings or UnderstandingSettings()
        self.notes: tuple[str, ...] = ()
        self._fuzzy_matcher = self._make_fuzzy_matcher()
        self._embedding_matcher = EmbeddingMatcher(grammar, embed) if embed else None
        self._negation_guard = NegationGuard()

    def parse(self, transcript: Transcript) -> Intent:
        """Return the intent of a transcript; an intent without a name has a ``problem``.

        Call it with all transcripts, in order: the meaning of a command depends on a negation that
        a pause has separated from it. If a transcript has no start time, motion checks this by the
        time of arrival.
        """
        blocked = ""
        if transcript.start_ns:
            blocked = self._negation_guard.observe(transcript, transcript.stamp_ns)
        intent = self._parse(transcript)
        may_move = bool(intent.name) or is_affirmation(intent.text)
        if blocked and may_move and intent.name not in _STILL_INTENTS:
            return self._make_unknown(transcript, blocked)
        return intent

    def _parse(self, transcript: Transcript) -> Intent:
        if transcript.problem:  # the text of a problem is no command and needs no answer
            return replace(self._make_unknown(transcript, transcript.problem), text="")
        if len(transcript.text) > MAX_CHARACTERS:
            short = replace(transcript, text=transcript.text[:MAX_CHARACTERS])
            problem = f"{len(transcript.text)} letters are too many for a command"
            return self._make_unknown(short, problem)
        words = split_words(transcript.text)
        if len(words) > MAX_WORDS:  # before any step that takes long for many words
            return self._make_unknown(transcript, f"{len(words)} words are too many for a command")
        words = self._strip_ignored(words)
        if not words:
            nothing = self._make_unknown(transcript, "I heard nothing")
            # "Okay" is an ignored word around commands, but a yes to a question.
            is_answer = is_affirmation(transcript.text) and self._is_confident(transcript)
            return replace(nothing, source=UNKNOWN) if is_answer else nothing
        text, stop_words = transcript.text, self._settings.stop_words
        stop = self._make_intent(PhraseReading("stop", {}), "grammar", 1.0, transcript)
        result = self._parse_exact(words, transcript)
        if result is None and is_stop(text, stop_words):
            result = stop
        # "Slow down and stop" is no sequence of known commands, but it is a stop.
        otherwise = stop if find_stop_word(text, stop_words, in_turn=False) else None
        if not self._is_confident(transcript):
            if result is None or result.name != "stop":
                result = otherwise or self._make_unknown(transcript, "I did not hear that well")
        elif result is None:
            result = self._match_approximately(words, transcript)
            result = result if result.name else otherwise or result
        return replace(result, text=text)

    def _is_confident(self, transcript: Transcript) -> bool:
        return transcript.confidence >= self._settings.min_confidence

    def _make_fuzzy_matcher(self) -> FuzzyMatcher | None:
        if not self._settings.fuzzy:
            return None
        similarity = load_edit_similarity()
        if similarity is None:
            self.notes += (
                "fuzzy matching is disabled: rapidfuzz is not installed; "
                "install it with: pip install rapidfuzz",
            )
            return None
        return FuzzyMatcher(self._grammar, similarity)

    def _parse_exact(self, words: Sequence[str], transcript: Transcript) -> Intent | None:
        readings = self._parse_sequence(words)
        if not readings:
            return None
        return join_intents([self._make_intent(r, "grammar", 1.0, transcript) for r in readings])

    def _parse_sequence(self, words: Sequence[str]) -> list[PhraseReading]:
        """Return the readings of one or several commands; none if one does not match."""
        words = self._strip_ignored(words)
        result = self._grammar.parse(words)
        if result:
            return [result]
        for start, end in self._find_joiners(words):
            first = self._grammar.parse(self._strip_ignored(words[:start]))
            rest = self._parse_sequence(words[end:]) if first else []
            if first and rest:
                return [first, *rest]
        return []

    def _match_approximately(self, words: Sequence[str], transcript: Transcript) -> Intent:
        """Return the intent of a text that does not match the grammar exactly."""
        intent = self._match_fuzzy(words, transcript)
        if intent is None:
            intent = self._parse_parts(words, transcript)
        if intent is None and self._embedding_matcher:
            match = self._embedding_matcher.find(words, self._settings.embedding_threshold)
            if match:
                intent = self._make_intent(match.reading, "embedding", match.score, transcript)
        if intent is not None:
            return intent
        problem = self._grammar.explain_mismatch(words)
        if problem:
            return self._make_unknown(transcript, problem)
        unknown = self._make_unknown(transcript, f"I do not understand {' '.join(words)!r}")
        return replace(unknown, source=UNKNOWN)

    def _match_fuzzy(self, words: Sequence[str], transcript: Transcript) -> Intent | None:
        if self._fuzzy_matcher is None:
            return None
        settings = self._settings
        match = self._fuzzy_matcher.find(
            words, settings.fuzzy_threshold, settings.fuzzy_word_threshold
        )
        return self._make_intent(match.reading, "fuzzy", match.score, transcript) if match else None

    def _parse_parts(self, words: Sequence[str], transcript: Transcript) -> Intent | None:
        """Return the intent of several commands, at least one of which does not match exactly."""
        joiners = self._find_joiners(words)
        if not joiners:
            return None
        starts = [0, *(end for _, end in joiners)]
        ends = [*(start for start, _ in joiners), len(words)]
        parts = []
        for start, end in zip(starts, ends, strict=True):
            part = self._strip_ignored(words[start:end])
            intent = self._parse_exact(part, transcript) or self._match_fuzzy(part, transcript)
            if intent is None:
                problem = self._grammar.explain_mismatch(part)
                return self._make_unknown(transcript, problem) if problem else None
            if intent.problem:
                return intent
            parts.append(intent)
        return join_intents(parts)

    def _find_joiners(self, words: Sequence[str]) -> list[tuple[int, int]]:
        """Return the start of each joiner between words, and the index after it."""
        found = []
        index = 1
        while index < len(words) - 1:
            joiner = next(
                (w for w in self._grammar.joiners if tuple(words[index : index + len(w)]) == w), ()
            )
            if joiner and index + len(joiner) < len(words):
                found.append((index, index + len(joiner)))
            index += max(1, len(joiner))
        return found

    def _strip_ignored(self, words: Sequence[str]) -> tuple[str, ...]:
        """Return the words without ignored words at both ends."""
        left = tuple(words)
        while left:
            before = left
            for expression in self._grammar.ignored:
                if left[: len(expression)] == expression:
                    left = left[len(expression) :]
                elif left[len(left) - len(expression) :] == expression:
                    left = left[: len(left) - len(expression)]
            if left == before or self._grammar.parse(before):
                return before
        return left

    def _make_intent(
        self, reading: PhraseReading, source: str, score: float, transcript: Transcript
    ) -> Intent:
        if reading.problem:
            return self._make_unknown(transcript, reading.problem)
        return Intent(
            name=reading.intent,
            slots=reading.slots,
            confidence=transcript.confidence * score,
            text=transcript.text,
            source=source,
            stamp_ns=transcript.stamp_ns,
            needs_confirmation=source not in _UNCONFIRMED_SOURCES,
            frame_id=transcript.frame_id,
        )

    def _make_unknown(self, transcript: Transcript, problem: str) -> Intent:
        return Intent(
            name="",
            slots={},
            confidence=0.0,
            text=transcript.text,
            source="grammar",
            stamp_ns=transcript.stamp_ns,
            problem=problem,
            frame_id=transcript.frame_id,
        )
