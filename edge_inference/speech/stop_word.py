"""The word that overtakes everything: found in any text, also in what is only half said."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from edge_inference.core.settings import setting
from edge_inference.speech.words import words_of

STOP_WORDS = frozenset({"stop", "halt", "freeze"})
# Said around it: "please stop now", "stop stop robot".
_AROUND = frozenset({"please", "now", "robot", "hey", "it", "right", "there"})
#: Words that turn the one behind them around.
NEGATIONS = frozenset({"dont", "not", "never", "without", "cannot", "cant", "non"})
#: Words that make something else of a command, though they are few of its letters.
TURNING = NEGATIONS | {"no", "if", "when", "until", "unless", "wont", "shouldnt", "didnt"}
# "Go on and stop": it stops when it is there.
_JOINERS = frozenset({"and", "then"})


@dataclass(frozen=True)
class StopSettings:
    """What stops the robot; the same for everybody who listens for it."""

    stop_words: tuple[str, ...] = setting(
        tuple(sorted(STOP_WORDS)), "words that stop the robot at the beginning or end of a text"
    )

    def check(self) -> str | None:
        """Say what is wrong with the words."""
        if not self.stop_words:
            return (
                "stop_words: expected at least one word, got none; the robot could not be stopped"
            )
        for word in self.stop_words:
            if words_of(word) != (word,):
                return f"stop_words: expected single words in small letters, got {word!r}"
        return None


def is_stop(text: str, stop_words: Collection[str] = STOP_WORDS) -> bool:
    """Tell whether a text, final or partial, says stop: begins or ends with a word for it.

    Rather too often than too rarely: to stop is always safe. ``don't stop`` does not count.
    """
    heard = [word for word in words_of(text) if word not in _AROUND]
    if not heard:
        return False
    if heard[0] in stop_words:
        return True
    return heard[-1] in stop_words and not (set(heard[-2:-1]) & (NEGATIONS | _JOINERS))
