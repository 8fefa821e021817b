"""Texts from elsewhere as they may be logged and shown: on one line, and not too long."""

from __future__ import annotations

import re

#: Characters of a text that is shown.
MAX_CHARACTERS = 1000
_CUT = " …"
_BREAK = re.compile(r"\s*[\t-\r\x1c-\x1f\x85\u2028\u2029]\s*")


def one_line(text: str, most: int = MAX_CHARACTERS) -> str:
    """Return a text without line breaks and control characters, cut at ``most`` characters.

    A line of a log, or of a diagnosis, must not be made to look like another one.
    """
    if len(text) > most:
        text = text[: most - len(_CUT)] + _CUT
    if text.isprintable():
        return text
    line = _BREAK.sub(" ", text).strip()
    return "".join(each if each.isprintable() else _escaped(each) for each in line)[:most]


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")
