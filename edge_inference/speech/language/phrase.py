"""The syntax of a grammar's phrases.

``[word]`` is optional, ``(one|other)`` is a choice, ``{distance}`` is a value of the slot kind
``distance``, and ``{side:direction}`` fills the slot ``side`` with a value of the kind
``direction``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from edge_inference.core.voice import IntentSlot
from edge_inference.speech.language.text_normalization import split_words

_PIECE = re.compile(r"\{[^{}]*\}|[\[\]()|{}]|[^\s\[\]()|{}]+")
_HOLDER = re.compile(r"\{\s*([a-z]\w*)\s*(?::\s*([a-z]\w*)\s*)?\}")
_CLOSING = {"[": "]", "(": ")"}
_MAX_BRACKETS = 50
_MAX_CHARACTERS = 500


@dataclass(frozen=True)
class PhraseWord:
    """A literal word."""

    text: str


@dataclass(frozen=True)
class SlotPlaceholder:
    """A placeholder: it fills the slot ``slot`` with a value of the kind ``kind``."""

    slot: str
    kind: str


@dataclass(frozen=True)
class Alternatives:
    """One of several options; an empty option makes it optional."""

    options: tuple[Elements, ...]


Element = PhraseWord | SlotPlaceholder | Alternatives
Elements = tuple[Element, ...]


@dataclass(frozen=True)
class SlotMatch:
    """A value in a text, up to the word before ``end``.

    ``problem`` is the reason why the value is not valid; ``guessed_words`` counts the words that
    were taken for an unknown value.
    """

    slot: IntentSlot
    end: int
    problem: str = ""
    guessed_words: int = 0


def parse_phrase(text: str, synonyms: Mapping[str, Sequence[Sequence[str]]]) -> Elements:
    """Return the elements of a phrase; every word with synonyms becomes a choice.

    Raises ValueError for invalid syntax.
    """
    pieces = _PIECE.findall(text)
    if sum(piece in _CLOSING for piece in pieces) > _MAX_BRACKETS:
        raise ValueError(f"expected at most {_MAX_BRACKETS} brackets; write several phrases")
    if len(text) > _MAX_CHARACTERS:
        raise ValueError(
            f"expected at most {_MAX_CHARACTERS} characters, got {len(text)}; write several phrases"
        )
    options, rest = _options(pieces, synonyms, closing="")
    if rest:
        raise ValueError(f"{rest[0]!r} has no opening bracket")
    elements = options[0] if len(options) == 1 else (Alternatives(options),)
    if _may_be_empty(elements):
        raise ValueError("every word is optional; expected a word outside brackets")
    twice = next((slot for slot, count in _count_slots(elements).items() if count > 1), None)
    if twice:
        raise ValueError(f"the slot {twice!r} is used twice; rename one to {{other:{twice}}}")
    return elements


def find_placeholders(elements: Elements) -> Iterator[SlotPlaceholder]:
    """Yield every placeholder."""
    for element in elements:
        if isinstance(element, SlotPlaceholder):
            yield element
        elif isinstance(element, Alternatives):
            for option in element.options:
                yield from find_placeholders(option)


def match_elements(
    elements: Elements,
    words: Sequence[str],
    start: int,
    match_slot: Callable[[SlotPlaceholder, Sequence[str], int], Iterable[SlotMatch]],
) -> Iterator[tuple[int, tuple[SlotMatch, ...]]]:
    """Yield every match of the words from ``start``: the index after it and the values."""
    if not elements:
        yield start, ()
        return
    first, rest = elements[0], elements[1:]
    if isinstance(first, PhraseWord):
        if start < len(words) and words[start] == first.text:
            yield from match_elements(rest, words, start + 1, match_slot)
    elif isinstance(first, Alternatives):
        for option in first.options:
            yield from match_elements(option + rest, words, start, match_slot)
    else:
        for matched in match_slot(first, words, start):
            for end, more in match_elements(rest, words, matched.end, match_slot):
                yield end, (matched, *more)


def count_expansions(elements: Elements, count: Callable[[SlotPlaceholder], int]) -> int:
    """Return the number of expansions; ``count`` returns the number for a placeholder."""
    total = 1
    for element in elements:
        if isinstance(element, Alternatives):
            total *= sum(count_expansions(option, count) for option in element.options)
        elif isinstance(element, SlotPlaceholder):
            total *= count(element)
    return total


def expand_elements(
    elements: Elements,
    expand_slot: Callable[[SlotPlaceholder], Iterable[tuple[str, IntentSlot | None]]],
) -> Iterator[tuple[tuple[str, ...], tuple[IntentSlot, ...]]]:
    """Yield every expansion of a phrase: its words and its values."""
    if not elements:
        yield (), ()
        return
    first, rest = elements[0], elements[1:]
    if isinstance(first, Alternatives):
        for option in first.options:
            yield from expand_elements(option + rest, expand_slot)
        return
    said: Iterable[tuple[str, IntentSlot | None]]
    said = [(first.text, None)] if isinstance(first, PhraseWord) else expand_slot(first)
    for text, slot in said:
        for words, slots in expand_elements(rest, expand_slot):
            yield (text, *words), slots if slot is None else (slot, *slots)


def _may_be_empty(elements: Elements) -> bool:
    return all(
        isinstance(element, Alternatives) and any(map(_may_be_empty, element.options))
        for element in elements
    )


def _count_slots(elements: Elements) -> Counter[str]:
    """Return how often one expansion fills each slot, at most."""
    total: Counter[str] = Counter()
    for element in elements:
        if isinstance(element, SlotPlaceholder):
            total[element.slot] += 1
        elif isinstance(element, Alternatives):
            most: Counter[str] = Counter()
            for option in element.options:
                most |= _count_slots(option)
            total += most
    return total


def _options(
    pieces: Sequence[str], synonyms: Mapping[str, Sequence[Sequence[str]]], closing: str
) -> tuple[tuple[Elements, ...], Sequence[str]]:
    """Parse options separated by ``|`` up to ``closing``; return them and the remaining pieces."""
    options: list[Elements] = []
    current: list[Element] = []
    while pieces and pieces[0] not in ("]", ")"):
        piece, pieces = pieces[0], pieces[1:]
        if piece == "|":
            options.append(tuple(current))
            current = []
        elif piece in _CLOSING:
            inner, pieces = _options(pieces, synonyms, _CLOSING[piece])
            current.append(Alternatives((*inner, ()) if piece == "[" else inner))
        else:
            current += _elements(piece, synonyms)
    if closing and (not pieces or pieces[0] != closing):
        raise ValueError(f"{closing!r} is missing")
    options.append(tuple(current))
    return tuple(options), pieces[1:] if closing else pieces


def _elements(piece: str, synonyms: Mapping[str, Sequence[Sequence[str]]]) -> list[Element]:
    if piece[0] in "{}":
        held = _HOLDER.fullmatch(piece)
        if not held:
            raise ValueError(f"{piece!r} is not a slot; expected {{slot}} or {{slot:kind}}")
        return [SlotPlaceholder(held[1], held[2] or held[1])]
    words = split_words(piece)
    if not words:
        raise ValueError(f"{piece!r} has no word")
    return [_word(word, synonyms) for word in words]


def _word(word: str, synonyms: Mapping[str, Sequence[Sequence[str]]]) -> Element:
    others = synonyms.get(word, ())
    if not others:
        return PhraseWord(word)
    phrasings = ((word,), *others)
    return Alternatives(
        tuple(tuple(PhraseWord(part) for part in phrasing) for phrasing in phrasings)
    )
