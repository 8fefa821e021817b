"""Delexicalization: replaces the values of a text by placeholders, to compare it with templates.

A fuzzy comparison must never mix up values: ``left`` is not similar to ``right``, and two is not
similar to ten. Therefore values match exactly, and only the words around them are compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edge_inference.core.voice import IntentSlot
from edge_inference.speech.language.grammar import Grammar, PhraseReading, Template
from edge_inference.speech.language.phrase import SlotMatch


@dataclass(frozen=True)
class DelexicalizedText:
    """A text: ``None`` in ``words`` for each value, and in ``values`` its matches, by kind."""

    words: tuple[str | None, ...]
    values: tuple[Mapping[str, SlotMatch], ...]

    def text(self, fallback: str = "_") -> str:
        """Return the words with ``fallback`` for each value."""
        return render_words(self.words, fallback)

    def matches(self, template: Template) -> bool:
        """Tell whether the values have the kinds of a template, in its order."""
        return len(self.values) == len(template.placeholders) and all(
            placeholder.kind in value
            for placeholder, value in zip(template.placeholders, self.values, strict=True)
        )

    def reading(self, template: Template) -> PhraseReading:
        """Return the meaning of the text by a template that it matches."""
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
    """Replace the values of a text, from left to right the longest value of any kind."""
    left: list[str | None] = []
    values: list[Mapping[str, SlotMatch]] = []
    position = 0
    while position < len(words):
        match = _match_values_at(grammar, words, position)
        if match:
            left.append(None)
            values.append(match)
            position = next(iter(match.values())).end
        else:
            left.append(words[position])
            position += 1
    return DelexicalizedText(tuple(left), tuple(values))


def _match_values_at(grammar: Grammar, words: Sequence[str], position: int) -> dict[str, SlotMatch]:
    """Return the longest values at an index, by kind; all of them end at the same word."""
    found: dict[str, SlotMatch] = {}
    for name, kind in grammar.kinds.items():
        known = [match for match in kind.match(name, words, position) if not match.guessed_words]
        if known:
            found[name] = max(known, key=lambda match: match.end)
    end = max((match.end for match in found.values()), default=0)
    return {name: match for name, match in found.items() if match.end == end}
