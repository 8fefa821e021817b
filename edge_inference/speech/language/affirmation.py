"""Affirmative answers to an open question."""

from __future__ import annotations

from edge_inference.speech.language.text_normalization import split_words

#: Affirmative answers that the grammar need not have. Not "right": it may be the side.
AFFIRMATIONS = frozenset(
    {
        *("yes", "yeah", "yep", "yup", "aye", "sure", "okay", "ok", "alright", "all right"),
        *("correct", "exactly", "affirmative", "absolutely", "definitely", "indeed"),
        *("of course", "sure thing", "go ahead", "do it", "do that", "please do", "i do", "i did"),
        *("thats right", "that is right", "thats correct", "that is correct", "you got it"),
    }
)
_AROUND_YES = frozenset({"please", "robot", "hey", "oh", "um", "uh", "well", "sir"})
_LONGEST = 3


def is_affirmation(text: str) -> bool:
    """Tell whether a text is only a yes: "yeah", "yes yes", "okay, go ahead"."""
    words = [word for word in split_words(text) if word not in _AROUND_YES]
    index = 0
    while index < len(words):
        ends = range(min(index + _LONGEST, len(words)), index, -1)
        end = next((end for end in ends if " ".join(words[index:end]) in AFFIRMATIONS), 0)
        if not end:
            return False
        index = end
    return bool(words)
