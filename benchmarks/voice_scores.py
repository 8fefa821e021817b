"""Counting what was heard against what was said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from edge_inference.speech.language.numbers import parse_number, spell_number
from edge_inference.speech.language.text_normalization import split_words

#: By meaning: what was said, another command or more than one, nothing.
RIGHT, WRONG, NONE = "right", "wrong", "none"


def outcome(said: Hashable, heard: Sequence[Hashable]) -> str:
    """Compare the one command that was said with the commands that came of it."""
    if not heard:
        return NONE
    return RIGHT if list(heard) == [said] else WRONG


@dataclass
class Tally:
    """Commands and other speech of one condition."""

    outcomes: Counter[str] = field(default_factory=Counter)
    others: int = 0
    accepted: int = 0
    #: What the others that were accepted were taken for, by intent.
    taken_for: Counter[str] = field(default_factory=Counter)

    def add_command(self, found: str) -> None:
        """Count what became of a command."""
        self.outcomes[found] += 1

    def add_other(self, intents: Sequence[str]) -> None:
        """Count speech that was no command, and the intents that came of it."""
        self.others += 1
        self.accepted += bool(intents)
        self.taken_for.update(intents)

    @property
    def commands(self) -> int:
        """How many commands were said."""
        return sum(self.outcomes.values())

    @property
    def accuracy(self) -> float:
        """Share of the commands that were heard right; NaN without commands."""
        return self.outcomes[RIGHT] / self.commands if self.commands else float("nan")

    def line(self) -> str:
        """Return the counts in words."""
        counts = ", ".join(f"{self.outcomes[each]} {each}" for each in (RIGHT, WRONG, NONE))
        taken = ", ".join(f"{count} {intent}" for intent, count in sorted(self.taken_for.items()))
        others = f"{self.others} others: {self.accepted} accepted{f' ({taken})' if taken else ''}"
        return f"{self.commands} commands: {counts}; {others}"


def spelled(text: str) -> list[str]:
    """Return the words of a text, numbers always written out, so that 2 is two."""
    words = split_words(text)
    written: list[str] = []
    place = 0
    while place < len(words):
        found = parse_number(words, place) if words[place][0].isdigit() else None
        value, end = found or (None, place + 1)
        if value is None:
            written.append(words[place])
        else:
            try:
                written += spell_number(value).split()
            except ValueError:  # too long for words, so it stays as it is written
                written += words[place:end]
        place = end
    return written


def word_errors(said: str, heard: str) -> tuple[int, int]:
    """Return the word errors (Levenshtein 1966) and the words that were said."""
    reference, found = spelled(said), spelled(heard)
    row = list(range(len(found) + 1))
    for i, word in enumerate(reference, start=1):
        before, row[0] = row[0], i
        for j, other in enumerate(found, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != other))
    return row[-1], len(reference)
