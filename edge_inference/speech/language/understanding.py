"""From what was said to what is meant."""

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

#: What is found in any other way waits for a yes.
_UNCONFIRMED_SOURCES = ("grammar", "fuzzy")
# What may be said behind a negation that a pause cut off.
_STILL_INTENTS = frozenset({"stop", "look", "deny"})
#: A longer text is talk, not a command.
MAX_WORDS = 100
MAX_CHARACTERS = 1000


@dataclass(frozen=True)
class UnderstandingSettings(StopSettings):
    """How near to the grammar a text must be."""

    fuzzy: bool = setting(True, "accept what differs from the grammar by a few letters")
    fuzzy_threshold: float = setting(
        0.88, "likeness from which a fuzzy match is accepted", minimum=0.5, maximum=1.0
    )
    fuzzy_word_threshold: float = setting(
        0.85, "likeness from which an unknown word is a known one", minimum=0.5, maximum=1.0
    )
    embedding_threshold: float = setting(
        0.65, "likeness in meaning from which one is asked about", minimum=0.0, maximum=1.0
    )
    min_confidence: float = setting(
        0.0, "lowest confidence of the recogniser; stop is heard with any", minimum=0.0, maximum=1.0
    )


class Understanding:
    """Finds intents by grammar, then by letters, then by meaning where ``embed`` is given.

    Stop is understood before anything that is not exactly in the grammar. What is found by
    meaning needs confirmation. ``notes`` says which steps are left out, and why.
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
        """Return what is meant; a name that is empty has a ``problem`` in words.

        To be called with everything that is said, in order: what is meant by a command depends on
        what a pause has cut off before it. Where nobody knows when it began, motion tells by the
        moment at which it comes.
        """
        held_back = ""
        if transcript.start_ns:
            held_back = self._negation_guard.observe(transcript, transcript.stamp_ns)
        meant = self._parse(transcript)
        may_move = bool(meant.name) or is_affirmation(meant.text)
        if held_back and may_move and meant.name not in _STILL_INTENTS:
            return self._make_unknown(transcript, held_back)
        return meant

    def _parse(self, transcript: Transcript) -> Intent:
        if transcript.problem:  # what was heard beside it is no command, and needs no answer
            return replace(self._make_unknown(transcript, transcript.problem), text="")
        if len(transcript.text) > MAX_CHARACTERS:
            short = replace(transcript, text=transcript.text[:MAX_CHARACTERS])
            problem = f"{len(transcript.text)} letters are too many for a command"
            return self._make_unknown(short, problem)
        words = split_words(transcript.text)
        if len(words) > MAX_WORDS:  # before anything looks at them all again and again
            return self._make_unknown(transcript, f"{len(words)} words are too many for a command")
        words = self._strip_ignored(words)
        if not words:
            nothing = self._make_unknown(transcript, "I heard nothing")
            # "Okay" is a word around commands, and a yes to a question.
            is_answer = is_affirmation(transcript.text) and self._is_confident(transcript)
            return replace(nothing, source=UNKNOWN) if is_answer else nothing
        text, stop_words = transcript.text, self._settings.stop_words
        stop = self._make_intent(PhraseReading("stop", {}), "grammar", 1.0, transcript)
        whole = self._parse_exact(words, transcript)
        if whole is None and is_stop(text, stop_words):
            whole = stop
        # "Slow down and stop" is no sequence of commands, and says stop all the same.
        otherwise = stop if find_stop_word(text, stop_words, in_turn=False) else None
        if not self._is_confident(transcript):
            if whole is None or whole.name != "stop":
                whole = otherwise or self._make_unknown(transcript, "I did not hear that well")
        elif whole is None:
            whole = self._match_approximately(words, transcript)
            whole = whole if whole.name else otherwise or whole
        return replace(whole, text=text)

    def _is_confident(self, transcript: Transcript) -> bool:
        return transcript.confidence >= self._settings.min_confidence

    def _make_fuzzy_matcher(self) -> FuzzyMatcher | None:
        if not self._settings.fuzzy:
            return None
        alike = load_edit_similarity()
        if alike is None:
            self.notes += (
                "fuzzy matching is left out: rapidfuzz is not installed; "
                "install it with: pip install rapidfuzz",
            )
            return None
        return FuzzyMatcher(self._grammar, alike)

    def _parse_exact(self, words: Sequence[str], transcript: Transcript) -> Intent | None:
        readings = self._parse_sequence(words)
        if not readings:
            return None
        return join_intents([self._make_intent(r, "grammar", 1.0, transcript) for r in readings])

    def _parse_sequence(self, words: Sequence[str]) -> list[PhraseReading]:
        """Return the readings of a text of one or several commands; none if one does not fit."""
        words = self._strip_ignored(words)
        whole = self._grammar.parse(words)
        if whole:
            return [whole]
        for start, end in self._find_joiners(words):
            first = self._grammar.parse(self._strip_ignored(words[:start]))
            rest = self._parse_sequence(words[end:]) if first else []
            if first and rest:
                return [first, *rest]
        return []

    def _match_approximately(self, words: Sequence[str], transcript: Transcript) -> Intent:
        """Return the intent of a text that is not in the grammar as it stands."""
        found = self._match_fuzzy(words, transcript)
        if found is None:
            found = self._parse_parts(words, transcript)
        if found is None and self._embedding_matcher:
            near = self._embedding_matcher.find(words, self._settings.embedding_threshold)
            if near:
                found = self._make_intent(near.reading, "embedding", near.score, transcript)
        if found is not None:
            return found
        problem = self._grammar.explain_mismatch(words)
        if problem:
            return self._make_unknown(transcript, problem)
        unknown = self._make_unknown(transcript, f"I do not understand {' '.join(words)!r}")
        return replace(unknown, source=UNKNOWN)

    def _match_fuzzy(self, words: Sequence[str], transcript: Transcript) -> Intent | None:
        if self._fuzzy_matcher is None:
            return None
        settings = self._settings
        near = self._fuzzy_matcher.find(
            words, settings.fuzzy_threshold, settings.fuzzy_word_threshold
        )
        return self._make_intent(near.reading, "fuzzy", near.score, transcript) if near else None

    def _parse_parts(self, words: Sequence[str], transcript: Transcript) -> Intent | None:
        """Return the intent of several commands, one of which at least is not quite exact."""
        joints = self._find_joiners(words)
        if not joints:
            return None
        starts = [0, *(end for _, end in joints)]
        ends = [*(start for start, _ in joints), len(words)]
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
        """Return where joiners stand between words: the first word of each, and the one behind."""
        found = []
        place = 1
        while place < len(words) - 1:
            joiner = next(
                (w for w in self._grammar.joiners if tuple(words[place : place + len(w)]) == w), ()
            )
            if joiner and place + len(joiner) < len(words):
                found.append((place, place + len(joiner)))
            place += max(1, len(joiner))
        return found

    def _strip_ignored(self, words: Sequence[str]) -> tuple[str, ...]:
        """Return the words without those around them that mean nothing."""
        left = tuple(words)
        while left:
            before = left
            for joiner in self._grammar.ignored:
                if left[: len(joiner)] == joiner:
                    left = left[len(joiner) :]
                elif left[len(left) - len(joiner) :] == joiner:
                    left = left[: len(left) - len(joiner)]
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
