"""A text as the words that grammars are about."""

from __future__ import annotations

import re

# Numbers, units with a stroke (m/s), words, and the two signs that stand for words.
_WORD = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+(?:/[^\W\d_]+)*|°|%")
# Written numbers of which a word would be lost: .5 is no 5, and -5 is no 5 either.
_BARE_POINT = re.compile(r"(?<![\w.])\.(?=\d)")
_MINUS = re.compile(r"(?<!\S)[-\u2212](?=\.?\d)")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_APOSTROPHES = str.maketrans("", "", "'\u2019`\u02bc\uff07\u00b4")


def words_of(text: str) -> tuple[str, ...]:
    """Return the words of a text: small letters, no punctuation, ``10m`` as two words.

    Apostrophes vanish (``what's`` is ``whats``), hyphens part words, commas between thousands go;
    ``-5`` is ``minus 5`` and ``.5`` is ``0.5``.
    """
    plain = _THOUSANDS.sub("", text.lower().translate(_APOSTROPHES))
    plain = _MINUS.sub("minus ", _BARE_POINT.sub("0.", plain))
    return tuple(_WORD.findall(plain))
