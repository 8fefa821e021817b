"""A grammar: what can be said, and what is meant by it."""

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

#: More sentences than this are no grammar for command mode.
MAX_SENTENCES = 50_000


@dataclass(frozen=True)
class Phrase:
    """One phrase of an intent: its elements, the slots that it always sets, and its line."""

    intent: str
    text: str
    elements: Elements
    fixed: Mapping[str, IntentSlot]
    line: int


@dataclass(frozen=True)
class PhraseReading:
    """What a text means by one phrase; ``problem`` says why that cannot be meant."""

    intent: str
    slots: Mapping[str, IntentSlot]
    problem: str = ""


@dataclass(frozen=True)
class GrammarSentence:
    """One thing that can be said in full, and what it means."""

    text: str
    intent: str
    slots: Mapping[str, IntentSlot]
    line: int


@dataclass(frozen=True)
class Template:
    """A phrase with places left open: ``words`` has one ``None`` for each of ``placeholders``."""

    phrase: Phrase
    words: tuple[str | None, ...]
    placeholders: tuple[SlotPlaceholder, ...]


class Grammar:
    """Phrases of intents over kinds of slots.

    ``ignored`` are words around a command that mean nothing (please), ``joiners`` those between
    two commands (then). Raises ConfigError, with both lines, where two phrases say the same and
    mean different things, and where the phrases can be said in more than ``MOST_SENTENCES`` ways.
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
        self.ignored = _longest_first(ignored)
        self.joiners = _longest_first(joiners)
        self._phrases = tuple(phrases)
        self._check_conflicts()

    @property
    def intents(self) -> tuple[str, ...]:
        """The names of the intents."""
        return tuple(dict.fromkeys(phrase.intent for phrase in self._phrases))

    def parse(self, words: Sequence[str]) -> PhraseReading | None:
        """Return what a text means as a whole, or None where no phrase fits exactly."""
        for phrase in self._phrases:
            for end, matched in match_elements(phrase.elements, words, 0, self._hear):
                if end == len(words):
                    return _reading(phrase, matched)
        return None

    def explain_mismatch(self, words: Sequence[str]) -> str:
        """Return why a text is none of a phrase that would fit but for its values; else empty.

        Of several phrases it is the one with the fewest unknown words.
        """
        found = []
        for phrase in self._phrases:
            for end, matched in match_elements(phrase.elements, words, 0, self._guess):
                guessed_words = sum(value.guessed_words for value in matched)
                if end == len(words) and guessed_words < len(words):
                    found.append((guessed_words, _reading(phrase, matched).problem))
        return min(found)[1] if found else ""

    def sentences(self, *, digits: bool = False) -> tuple[GrammarSentence, ...]:
        """Return all that can be said, each sentence once.

        Numbers are those of the slots' ``spoken``, in words, or with ``digits`` in figures.
        Raises ConfigError where there are more than ``MOST_SENTENCES``.
        """

        def expand_slot(placeholder: SlotPlaceholder) -> Iterator[tuple[str, IntentSlot]]:
            return self.kinds[placeholder.kind].spoken(placeholder.slot, digits=digits)

        found: dict[str, GrammarSentence] = {}
        for text, phrase, slots in self._bounded_forms(expand_slot):
            found.setdefault(text, GrammarSentence(text, phrase.intent, slots, phrase.line))
        return tuple(found.values())

    def phrases(self, *, digits: bool = False) -> tuple[str, ...]:
        """Return the texts of :meth:`sentences`, for command mode."""
        return tuple(sentence.text for sentence in self.sentences(digits=digits))

    def templates(self) -> tuple[Template, ...]:
        """Return the phrases with every choice made and places for values left open."""
        found: dict[tuple[object, ...], Template] = {}
        for phrase in self._phrases:
            for words, slots in expand_elements(phrase.elements, _open_place):
                placeholders = tuple(SlotPlaceholder(slot.name, str(slot.value)) for slot in slots)
                places = tuple(word or None for word in words)
                key = (phrase.intent, places, placeholders, tuple(phrase.fixed.items()))
                found.setdefault(key, Template(phrase, places, placeholders))
        return tuple(found.values())

    def _hear(
        self, placeholder: SlotPlaceholder, words: Sequence[str], start: int
    ) -> Iterator[SlotMatch]:
        matched = self.kinds[placeholder.kind].match(placeholder.slot, words, start)
        return (value for value in matched if not value.problem)

    def _guess(
        self, placeholder: SlotPlaceholder, words: Sequence[str], start: int
    ) -> Iterator[SlotMatch]:
        return self.kinds[placeholder.kind].match_or_guess(placeholder.slot, words, start)

    def _forms(
        self, expand_slot: Callable[[SlotPlaceholder], Iterator[tuple[str, IntentSlot]]]
    ) -> Iterator[tuple[str, Phrase, dict[str, IntentSlot]]]:
        for phrase in self._phrases:
            for words, slots in expand_elements(phrase.elements, expand_slot):
                named = {**phrase.fixed, **{slot.name: slot for slot in slots}}
                yield " ".join(words), phrase, named

    def _bounded_forms(
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
        return self._forms(expand_slot)

    def _check_conflicts(self) -> None:
        def expand_slot(placeholder: SlotPlaceholder) -> Iterator[tuple[str, IntentSlot]]:
            return self.kinds[placeholder.kind].placeholders(placeholder.slot)

        first: dict[str, tuple[Phrase, dict[str, IntentSlot]]] = {}
        for text, phrase, slots in self._bounded_forms(expand_slot):
            other, other_slots = first.setdefault(text, (phrase, slots))
            if (other.intent, other_slots) != (phrase.intent, slots):
                raise ConfigError(
                    f"{self.file}, lines {other.line} and {phrase.line}: {text!r} is said by "
                    f"{other.text!r} of {other.intent} and by {phrase.text!r} of {phrase.intent}; "
                    "one text must have one meaning"
                )


def _longest_first(texts: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    return tuple(sorted(map(split_words, texts), key=len, reverse=True))


def _open_place(placeholder: SlotPlaceholder) -> list[tuple[str, IntentSlot | None]]:
    return [("", IntentSlot(placeholder.slot, placeholder.kind))]


def _reading(phrase: Phrase, matched: Iterable[SlotMatch]) -> PhraseReading:
    matched = tuple(matched)
    slots = {**phrase.fixed, **{value.slot.name: value.slot for value in matched}}
    problem = "; ".join(value.problem for value in matched if value.problem)
    return PhraseReading(phrase.intent, slots, problem)
