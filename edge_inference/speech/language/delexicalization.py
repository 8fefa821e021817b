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

    def fits(self, template: Template) -> bool:
        """Tell whether the values are of the template's kinds, in its order."""
        return len(self.values) == len(template.holders) and all(
            holder.kind in value
            for holder, value in zip(template.holders, self.values, strict=True)
        )

    def reading(self, template: Template) -> PhraseReading:
        """Return what the text means by a template that fits."""
        slots = dict(template.phrase.fixed)
        problems = []
        for holder, value in zip(template.holders, self.values, strict=True):
            heard = value[holder.kind]
            slots[holder.slot] = IntentSlot(holder.slot, heard.slot.value, heard.slot.unit)
            problems.append(heard.problem)
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
        heard = _values_at(grammar, words, place)
        if heard:
            left.append(None)
            values.append(heard)
            place = next(iter(heard.values())).end
        else:
            left.append(words[place])
            place += 1
    return DelexicalizedText(tuple(left), tuple(values))


def _values_at(grammar: Grammar, words: Sequence[str], place: int) -> dict[str, SlotMatch]:
    """Return the longest values at a place, by kind; all of them end at one word."""
    found: dict[str, SlotMatch] = {}
    for name, kind in grammar.kinds.items():
        known = [heard for heard in kind.heard(name, words, place) if not heard.guessed]
        if known:
            found[name] = max(known, key=lambda heard: heard.end)
    end = max((heard.end for heard in found.values()), default=0)
    return {name: heard for name, heard in found.items() if heard.end == end}
