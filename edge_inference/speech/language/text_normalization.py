"""Text normalization: splits a text into the words that grammars match."""

from __future__ import annotations

import re
import unicodedata
from itertools import groupby

from edge_inference.speech.language.units import find_unit

# Numbers, units with a slash (m/s), words, and the two signs that stand for words.
_WORD = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+(?:/[^\W\d_]+)*|°|%")
_WITH_STROKE = re.compile(r"(?<![^\W\d_])[^\W\d_]+(?:/[^\W\d_]+)+")
# Numbers whose sign or point must not be lost: .5 and -5 are not 5.
_BARE_POINT = re.compile(r"(?<![\w.])\.(?=\d)")
_MINUS = re.compile(r"(?<!\S)[-\u2212](?=\.?\d)")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
# All characters that keyboards, recognizers and typesetters write for an apostrophe.
_LIKE_APOSTROPHES = (
    "`\u00b4\u02b9\u02bb\u02bc\u02bd\u02c8\u2018\u2019\u201b\u2032\u2035\u055a\ua78c\uff07"
)
_APOSTROPHES = dict.fromkeys(map(ord, _LIKE_APOSTROPHES), "'")
# A UTF-8 apostrophe that was decoded with a wrong encoding.
_MISREAD = re.compile("\u00e2(?:\u20ac\u2122|\u0080\u0099)|\u201a\u00c4\u00f4")
# "do n't", "don 't", "don t": two parts of one word are joined. So are spellings with a
# replacement for the apostrophe: don"t, don?t, don-t, don\\u2019t, don%27t, don&#39;t.
_NOT_IN_TWO = re.compile(
    r"\b(is|are|was|were|has|have|had|do|does|did|ca|wo|would|sha|should|could|must|need|might"
    r"|ai|may)\s*n(?:\s*(?:['\"]\s*)?|&(?:amp;)?#?\w{1,8};|\\u\w{4}|%\w\w|[^\sa-z]{1,8})t\b"
)
# A point or comma within a number is not punctuation, nor is a hyphen within a word.
_PUNCTUATION = re.compile(r"[.,](?!\d)|[!?;:()\u3001\u3002\u2012-\u2015]|-{2,}|(?<!\S)[-/]+(?!\S)")
# The ordinal sign is often typed for a degree; NFKC would make it an "o".
_ORDINAL = {0xBA: "\u00b0"}
_INVISIBLE = "Cf"
_OTHER_FIGURE = "No"


def split_words(text: str) -> tuple[str, ...]:
    """Return the words of a text: lower case, no punctuation, ``10m`` as two words.

    Letters of other widths and shapes become plain letters (NFKC). Apostrophes of any kind are
    removed (``what's`` is ``whats``, ``do n't`` is ``dont``), hyphens separate words, commas
    between thousands are removed; ``-5`` is ``minus 5`` and ``.5`` is ``0.5``.
    """
    return tuple(_WORD.findall(_normalize(text)))


def split_clauses(text: str) -> list[tuple[str, ...]]:
    """Return the words of each clause of a text; punctuation separates clauses."""
    parts = _PUNCTUATION.split(_normalize(text))
    return [words for part in parts if (words := tuple(_WORD.findall(part)))]


def _normalize(text: str) -> str:
    text = _MISREAD.sub("'", text).translate(_APOSTROPHES | _ORDINAL)
    plain = _WITH_STROKE.sub(_separate_slash, _compose(text).lower())
    plain = _NOT_IN_TWO.sub(r"\1nt", _THOUSANDS.sub("", plain)).replace("'", "")
    return _MINUS.sub("minus ", _BARE_POINT.sub("0.", plain))


def _separate_slash(words: re.Match[str]) -> str:
    """Separate the words on both sides of a slash; keep a unit (m/s) unchanged."""
    return words[0] if find_unit(words[0]) else words[0].replace("/", " / ")


def _compose(text: str) -> str:
    """Return a text in Unicode's form NFKC, without invisible characters.

    Characters such as ½ and ² stay unchanged: composed, ``2½`` would become 21 over 2.
    """
    if text.isascii():
        return text
    seen = (letter for letter in text if unicodedata.category(letter) != _INVISIBLE)
    runs = groupby(seen, key=lambda letter: unicodedata.category(letter) == _OTHER_FIGURE)
    return "".join(
        "".join(run) if is_figure else unicodedata.normalize("NFKC", "".join(run))
        for is_figure, run in runs
    )
