"""Natural language understanding: finds the intent of a transcript."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from edge_inference.core.settings import setting
from edge_inference.core.voice import (
    NO,
    STOP,
    UNKNOWN,
    Intent,
    IntentArray,
    Transcript,
)
from edge_inference.speech.actions.table import may_move
from edge_inference.speech.language.affirmation import is_affirmation
from edge_inference.speech.language.grammar import Grammar, PhraseReading
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
    found by meaning needs confirmation if it may move the robot. ``notes`` lists the disabled steps
    and the reasons.
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

    def parse(self, transcript: Transcript) -> IntentArray:
        """Return the intents of a transcript; without any there is a ``problem``.

        Call it with all transcripts, in order: the meaning of a command depends on a negation that
        a pause has separated from it. If a transcript has no start time, motion checks this by the
        time of arrival.
        """
        blocked = ""
        if transcript.start_ns:
            blocked = self._negation_guard.observe(transcript, transcript.stamp_ns)
        found = self._parse(transcript)
        moves = any(name != NO and may_move(name) for name in found.names)
        may_answer = not found.intents and is_affirmation(found.text)
        if blocked and (moves or may_answer):
            return self._make_unknown(transcript, blocked)
        return found

    def _parse(self, transcript: Transcript) -> IntentArray:
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
        stop = self._make_intents([PhraseReading(STOP, {})], "grammar", 1.0, transcript)
        result = self._parse_exact(words, transcript)
        if result is None and is_stop(text, stop_words):
            result = stop
        # "Slow down and stop" is no sequence of known commands, but it is a stop.
        otherwise = stop if find_stop_word(text, stop_words, in_turn=False) else None
        if not self._is_confident(transcript):
            if result is None or not result.is_only(STOP):
                result = otherwise or self._make_unknown(transcript, "I did not hear that well")
        elif result is None:
            result = self._match_approximately(words, transcript)
            result = result if result.intents else otherwise or result
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

    def _parse_exact(self, words: Sequence[str], transcript: Transcript) -> IntentArray | None:
        readings = self._parse_sequence(words)
        return self._make_intents(readings, "grammar", 1.0, transcript) if readings else None

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

    def _match_approximately(self, words: Sequence[str], transcript: Transcript) -> IntentArray:
        """Return the intents of a text that does not match the grammar exactly."""
        found = self._match_fuzzy(words, transcript)
        if found is None:
            found = self._parse_parts(words, transcript)
        if found is None and self._embedding_matcher:
            match = self._embedding_matcher.find(words, self._settings.embedding_threshold)
            if match:
                found = self._make_intents([match.reading], "embedding", match.score, transcript)
        if found is not None:
            return found
        problem = self._grammar.explain_mismatch(words)
        if problem:
            return self._make_unknown(transcript, problem)
        unknown = self._make_unknown(transcript, f"I do not understand {' '.join(words)!r}")
        return replace(unknown, source=UNKNOWN)

    def _match_fuzzy(self, words: Sequence[str], transcript: Transcript) -> IntentArray | None:
        if self._fuzzy_matcher is None:
            return None
        settings = self._settings
        match = self._fuzzy_matcher.find(
            words, settings.fuzzy_threshold, settings.fuzzy_word_threshold
        )
        if match is None:
            return None
        return self._make_intents([match.reading], "fuzzy", match.score, transcript)

    def _parse_parts(self, words: Sequence[str], transcript: Transcript) -> IntentArray | None:
        """Return the intents of several commands, at least one of which does not match exactly."""
        joiners = self._find_joiners(words)
        if not joiners:
            return None
        starts = [0, *(end for _, end in joiners)]
        ends = [*(start for start, _ in joiners), len(words)]
        parts: list[IntentArray] = []
        for start, end in zip(starts, ends, strict=True):
            part = self._strip_ignored(words[start:end])
            found = self._parse_exact(part, transcript) or self._match_fuzzy(part, transcript)
            if found is None:
                problem = self._grammar.explain_mismatch(part)
                return self._make_unknown(transcript, problem) if problem else None
            if found.problem:
                return found
            parts.append(found)
        return _join(parts)

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

    def _make_intents(
        self, readings: Sequence[PhraseReading], source: str, score: float, transcript: Transcript
    ) -> IntentArray:
        problem = next((reading.problem for reading in readings if reading.problem), "")
        if problem:
            return self._make_unknown(transcript, problem)
        return IntentArray(
            intents=tuple(Intent(reading.intent, reading.slots) for reading in readings),
            confidence=transcript.confidence * score,
            text=transcript.text,
            source=source,
            stamp_ns=transcript.stamp_ns,
            needs_confirmation=source not in _UNCONFIRMED_SOURCES
            and any(may_move(reading.intent) for reading in readings),
            frame_id=transcript.frame_id,
        )

    def _make_unknown(self, transcript: Transcript, problem: str) -> IntentArray:
        return IntentArray(
            intents=(),
            confidence=0.0,
            text=transcript.text,
            source="grammar",
            stamp_ns=transcript.stamp_ns,
            problem=problem,
            frame_id=transcript.frame_id,
        )


def _join(parts: Sequence[IntentArray]) -> IntentArray:
    """Return the intents of all parts; the least certain part decides for all."""
    return replace(
        parts[0],
        intents=tuple(intent for part in parts for intent in part.intents),
        confidence=min(part.confidence for part in parts),
        source=next((part.source for part in parts if part.source != "grammar"), "grammar"),
        needs_confirmation=any(part.needs_confirmation for part in parts),
    )
