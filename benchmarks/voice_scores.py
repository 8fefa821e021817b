"""Scores of recognized commands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from edge_inference.speech.language.numbers import parse_number, spell_number
from edge_inference.speech.language.text_normalization import split_words

#: Results by meaning: the expected command; another or more than one command; no command.
RIGHT, WRONG, NONE = "right", "wrong", "none"


def score_command(expected: Hashable, recognized: Sequence[Hashable]) -> str:
    """Compare the expected command with the recognized ones."""
    if not recognized:
        return NONE
    return RIGHT if list(recognized) == [expected] else WRONG


@dataclass
class ScoreCounts:
    """Counts of commands and other speech under one condition."""

    outcomes: Counter[str] = field(default_factory=Counter)
    others: int = 0
    false_accepts: int = 0
    #: Falsely accepted speech by recognized intent.
    false_intents: Counter[str] = field(default_factory=Counter)

    def add_command(self, hypothesis: str) -> None:
        """Count the result of a command."""
        self.outcomes[hypothesis] += 1

    def add_other(self, intents: Sequence[str]) -> None:
        """Count speech without a command, and the intents recognized in it."""
        self.others += 1
        self.false_accepts += bool(intents)
        self.false_intents.update(intents)

    @property
    def commands(self) -> int:
        """The number of commands."""
        return sum(self.outcomes.values())

    @property
    def accuracy(self) -> float:
        """Share of correct commands; NaN without commands."""
        return self.outcomes[RIGHT] / self.commands if self.commands else float("nan")

    def summary(self) -> str:
        """Return the counts as text."""
        counts = ", ".join(f"{self.outcomes[each]} {each}" for each in (RIGHT, WRONG, NONE))
        taken = ", ".join(
            f"{count} {intent}" for intent, count in sorted(self.false_intents.items())
        )
        others = (
            f"{self.others} others: {self.false_accepts} accepted{f' ({taken})' if taken else ''}"
        )
        return f"{self.commands} commands: {counts}; {others}"


def spell_numbers(text: str) -> list[str]:
    """Return the words of a text with all numbers spelled out: 2 is two."""
    words = split_words(text)
    spelled: list[str] = []
    place = 0
    while place < len(words):
        hypothesis = parse_number(words, place) if words[place][0].isdigit() else None
        value, end = hypothesis or (None, place + 1)
        if value is None:
            spelled.append(words[place])
        else:
            try:
                spelled += spell_number(value).split()
            except ValueError:  # a number without a spelling stays in digits
                spelled += words[place:end]
        place = end
    return spelled


def count_word_errors(expected: str, recognized: str) -> tuple[int, int]:
    """Return the word errors (Levenshtein 1966) and the number of reference words."""
    reference, hypothesis = spell_numbers(expected), spell_numbers(recognized)
    row = list(range(len(hypothesis) + 1))
    for i, word in enumerate(reference, start=1):
        before, row[0] = row[0], i
        for j, other in enumerate(hypothesis, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != other))
    return row[-1], len(reference)
