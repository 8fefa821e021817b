"""Texts with their values taken out, to be compared with the templates of a grammar.

What a fuzzy comparison must never blur are the values: ``left`` is not nearly ``right`` and two is
not nearly ten. So they are read exactly, and only the words around them are compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edge_inference.core.voice import IntentSlot
from edge_inference.speech.language.grammar import Grammar, PhraseReading, Template
from edge_inference.speech.language.phrase import SlotMatch


@dataclass(frozen=True)
class DelexicalizedText:
    """A text: ``None`` in ``words`` for each value; by kind, what the value can be."""

    words: tuple[str | None, ...]
    values: tuple[Mapping[str, SlotMatch], ...]

    def text(self, fallback: str = "_") -> str:
        """Return the words with ``fallback`` for each value."""
        return render_words(self.words, fallback)

    def matches(self, template: Template) -> bool:
        """Tell whether the values are of the template's kinds, in its order."""
        return len(self.values) == len(template.placeholders) and all(
            placeholder.kind in value
            for placeholder, value in zip(template.placeholders, self.values, strict=True)
        )

    def reading(self, template: Template) -> PhraseReading:
        """Return what the text means by a template that fits."""
        slots = dict(template.phrase.fixed)
        problems = []
        for placeholder, value in zip(template.placeholders, self.values, strict=True):
            match = value[placeholder.kind]
            slots[placeholder.slot] = IntentSlot(
                placeholder.slot, match.slot.value, match.slot.unit
            )
            problems.append(match.problem)
        return PhraseReading(template.phrase.intent, slots, "; ".join(filter(None, problems)))


def render_words(words: Sequence[str | None], fallback: str = "_") -> str:
    """Return words as one text, with ``fallback`` for each ``None``."""
    return " ".join(fallback if word is None else word for word in words)


def delexicalize(grammar: Grammar, words: Sequence[str]) -> DelexicalizedText:
    """Return a text's outline: from left to right the longest value of any kind is taken out."""
    left: list[str | None] = []
    values: list[Mapping[str, SlotMatch]] = []
    place = 0
    while place < len(words):
        match = _values_at(grammar, words, place)
        if match:
            left.append(None)
            values.append(match)
            place = next(iter(match.values())).end
        else:
            left.append(words[place])
            place += 1
    return DelexicalizedText(tuple(left), tuple(values))


def _values_at(grammar: Grammar, words: Sequence[str], place: int) -> dict[str, SlotMatch]:
    """Return the longest values at a place, by kind; all of them end at one word."""
    found: dict[str, SlotMatch] = {}
    for name, kind in grammar.kinds.items():
        known = [match for match in kind.match(name, words, place) if not match.guessed_words]
        if known:
            found[name] = max(known, key=lambda match: match.end)
    end = max((match.end for match in found.values()), default=0)
    return {name: match for name, match in found.items() if match.end == end}
