"""A grammar: the sentences that a user can say, and their meaning."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_inference.core.voice import IntentSlot
from edge_inference.errors import ConfigError
from edge_inference.speech.language.phrase import (
    Elements,
    SlotMatch,
    SlotPlaceholder,
    count_expansions,
    expand_elements,
    match_elements,
)
from edge_inference.speech.language.slot_kinds import SlotKind
from edge_inference.speech.language.text_normalization import split_words

#: Most sentences of a grammar; command mode searches all of them.
MAX_SENTENCES = 50_000


@dataclass(frozen=True)
class Phrase:
    """One phrase of an intent: its elements, its fixed slots, and its line in the file."""

    intent: str
    text: str
    elements: Elements
    fixed: Mapping[str, IntentSlot]
    line: int


@dataclass(frozen=True)
class PhraseReading:
    """The meaning of a text by one phrase; ``problem`` is the reason why it is invalid."""

    intent: str
    slots: Mapping[str, IntentSlot]
    problem: str = ""


@dataclass(frozen=True)
class GrammarSentence:
    """One sentence of the grammar, and its meaning."""

    text: str
    intent: str
    slots: Mapping[str, IntentSlot]
    line: int


@dataclass(frozen=True)
class Template:
    """A phrase with open slots: ``words`` has one ``None`` for each of ``placeholders``."""

    phrase: Phrase
    words: tuple[str | None, ...]
    placeholders: tuple[SlotPlaceholder, ...]


class Grammar:
    """Phrases of intents, with slots.

    ``ignored`` are words around a command without meaning (please); ``joiners`` are words between
    two commands (then). Raises ConfigError, with both lines, if two phrases have the same text but
    different meanings, and if the phrases have more than ``MAX_SENTENCES`` sentences.
    """

    def __init__(
        self,
        file: Path,
        phrases: Sequence[Phrase],
        kinds: Mapping[str, SlotKind],
        ignored: Iterable[str] = (),
        joiners: Iterable[str] = (),
    ) -> None:
        self.file = file
        self.kinds = dict(kinds)
        self.ignored = _sort_longest_first(ignored)
        self.joiners = _sort_longest_first(joiners)
        self._phrases = tuple(phrases)
        self._check_conflicts()

    @property
    def definitions(self) -> tuple[Phrase, ...]:
        """The phrases as the file defines them, in its order."""
        return self._phrases

    @property
    def intents(self) -> tuple[str, ...]:
        """The names of the intents."""
        return tuple(dict.fromkeys(phrase.intent for phrase in self._phrases))

    def parse(self, words: Sequence[str]) -> PhraseReading | None:
        """Return the meaning of a whole text, or None if no phrase matches exactly."""
        for phrase in self._phrases:
            for end, matched in match_elements(phrase.elements, words, 0, self._match_slot):
                if end == len(words):
                    return _make_reading(phrase, matched)
        return None

    def explain_mismatch(self, words: Sequence[str]) -> str:
        """Return why a text does not match a phrase except for its values; else an empty text.

        Of several phrases, the one with the fewest unknown words counts.
        """
        found = []
        for phrase in self._phrases:
            for end, matched in match_elements(
                phrase.elements, words, 0, self._match_or_guess_slot
            ):
                guessed_words = sum(value.guessed_words for value in matched)
                if end == len(words) and guessed_words < len(words):
                    found.append((guessed_words, _make_reading(phrase, matched).problem))
        return min(found)[1] if found else ""

    def sentences(self, *, digits: bool = False) -> tuple[GrammarSentence, ...]:
        """Return all sentences, each once.

        Numbers are the values of the slots' ``spoken``, in words or, with ``digits``, in digits.
        Raises ConfigError for more than ``MAX_SENTENCES``.
        """

        def expand_slot(placeholder: SlotPlaceholder) -> Iterator[tuple[str, IntentSlot]]:
            return self.kinds[placeholder.kind].spoken(placeholder.slot, digits=digits)

        found: dict[str, GrammarSentence] = {}
        for text, phrase, slots in self._expand_within_limit(expand_slot):
            found.setdefault(text, GrammarSentence(text, phrase.intent, slots, phrase.line))
        return tuple(found.values())

    def phrases(self, *, digits: bool = False) -> tuple[str, ...]:
        """Return the texts of :meth:`sentences`, for command mode."""
        return tuple(sentence.text for sentence in self.sentences(digits=digits))

    def templates(self) -> tuple[Template, ...]:
        """Return the phrases with all alternatives expanded and the slots left open."""
        found: dict[tuple[object, ...], Template] = {}
        for phrase in self._phrases:
            for words, slots in expand_elements(phrase.elements, _leave_open):
                placeholders = tuple(SlotPlaceholder(slot.name, str(slot.value)) for slot in slots)
                places = tuple(word or None for word in words)
                key = (phrase.intent, places, placeholders, tuple(phrase.fixed.items()))
                found.setdefault(key, Template(phrase, places, placeholders))
        return tuple(found.values())

    def _match_slot(
        self, placeholder: SlotPlaceholder, words: Sequence[str], start: int
    ) -> Iterator[SlotMatch]:
        matched = self.kinds[placeholder.kind].match(placeholder.slot, words, start)
        return (value for value in matched if not value.problem)

    def _match_or_guess_slot(
        self, placeholder: SlotPlaceholder, words: Sequence[str], start: int
    ) -> Iterator[SlotMatch]:
        return self.kinds[placeholder.kind].match_or_guess(placeholder.slot, words, start)

    def _expand(
        self, expand_slot: Callable[[SlotPlaceholder], Iterator[tuple[str, IntentSlot]]]
    ) -> Iterator[tuple[str, Phrase, dict[str, IntentSlot]]]:
        for phrase in self._phrases:
            for words, slots in expand_elements(phrase.elements, expand_slot):
                named = {**phrase.fixed, **{slot.name: slot for slot in slots}}
                yield " ".join(words), phrase, named

    def _expand_within_limit(
        self, expand_slot: Callable[[SlotPlaceholder], Iterator[tuple[str, IntentSlot]]]
    ) -> Iterator[tuple[str, Phrase, dict[str, IntentSlot]]]:
        count = 0
        for phrase in self._phrases:
            count += count_expansions(
                phrase.elements, lambda placeholder: sum(1 for _ in expand_slot(placeholder))
            )
            if count > MAX_SENTENCES:
                raise ConfigError(
                    f"{self.file}, line {phrase.line}: with {phrase.text!r} there are more than "
                    f"{MAX_SENTENCES} sentences; leave out synonyms, choices or `spoken` values"
                )
        return self._expand(expand_slot)

    def _check_conflicts(self) -> None:
        def expand_slot(placeholder: SlotPlaceholder) -> Iterator[tuple[str, IntentSlot]]:
            return self.kinds[placeholder.kind].placeholders(placeholder.slot)

        first: dict[str, tuple[Phrase, dict[str, IntentSlot]]] = {}
        for text, phrase, slots in self._expand_within_limit(expand_slot):
            other, other_slots = first.setdefault(text, (phrase, slots))
            if (other.intent, other_slots) != (phrase.intent, slots):
                raise ConfigError(
                    f"{self.file}, lines {other.line} and {phrase.line}: {text!r} is said by "
                    f"{other.text!r} of {other.intent} and by {phrase.text!r} of {phrase.intent}; "
                    "one text must have one meaning"
                )


def _sort_longest_first(texts: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    return tuple(sorted(map(split_words, texts), key=len, reverse=True))


def _leave_open(placeholder: SlotPlaceholder) -> list[tuple[str, IntentSlot | None]]:
    return [("", IntentSlot(placeholder.slot, placeholder.kind))]


def _make_reading(phrase: Phrase, matched: Iterable[SlotMatch]) -> PhraseReading:
    matched = tuple(matched)
    slots = {**phrase.fixed, **{value.slot.name: value.slot for value in matched}}
    problem = "; ".join(value.problem for value in matched if value.problem)
    return PhraseReading(phrase.intent, slots, problem)
