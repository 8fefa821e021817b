"""Makes untrusted texts safe for logs and displays: one line of limited length."""

from __future__ import annotations

import re

#: Maximum length of a line.
MAX_CHARACTERS = 1000
_ELLIPSIS = " …"
_BREAK = re.compile(r"\s*[\t-\r\x1c-\x1f\x85\u2028\u2029]\s*")


def one_line(text: str, max_characters: int = MAX_CHARACTERS) -> str:
    """Return a text without line breaks and control characters, of limited length.

    A text must not be able to fake another line of a log or a diagnostic message.
    """
    if len(text) > max_characters:
        text = text[: max_characters - len(_ELLIPSIS)] + _ELLIPSIS
    if text.isprintable():
        return text
    line = _BREAK.sub(" ", text).strip()
    return "".join(each if each.isprintable() else _escape(each) for each in line)[:max_characters]


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
