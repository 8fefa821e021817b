"""Bars and sparklines of characters, and lines that every terminal can show."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.cells import cell_len
from rich.text import Text

from edge_inference.cli.top.figure_text import UNKNOWN
from edge_inference.core.text_line import one_line

_EIGHTHS = "▏▎▍▌▋▊▉█"
_LEVELS = "▁▂▃▄▅▆▇█"
#: From which share on a bar is yellow, and red.
_HIGH, _VERY_HIGH = 0.75, 0.9
#: What stands for a character where only ASCII can be shown; each takes one cell.
_ASCII = str.maketrans(
    {
        **dict(zip(_EIGHTHS[:-1], "...::==", strict=True)),
        **dict(zip(_LEVELS, "_.-~=+*#", strict=True)),
        UNKNOWN: "-",
        "…": "~",
        "│": "|",
        "●": "*",
        "○": "o",
        "°": "'",
        "µ": "u",
        "≤": "<",
        "≥": ">",
        "→": ">",
    }
)


def bar(share: float | None, width: int) -> str:
    """Return a bar of ``width`` cells, filled up to ``share`` (0 to 1); unknown is empty."""
    if share is None or not math.isfinite(share) or width < 1:
        return " " * width
    full, part = divmod(round(min(max(share, 0.0), 1.0) * width * 8), 8)
    return ("█" * full + (_EIGHTHS[part - 1] if part else "")).ljust(width)


def sparkline(
    values: Sequence[float | None], width: int, low: float | None = None, high: float | None = None
) -> str:
    """Return the newest values as ``width`` characters of different height, the newest right.

    ``low`` and ``high`` are the ends of the scale, by default those of the values. What is unknown
    is a gap.
    """
    shown = [
        None if value is None or not math.isfinite(value) else value for value in values[-width:]
    ]
    known = [value for value in shown if value is not None]
    if not known or width < 1:
        return " " * width
    low = min(known) if low is None else low
    span = (max(known) if high is None else high) - low
    marks = (
        " " if value is None else _LEVELS[_level((value - low) / span if span > 0 else 0.0)]
        for value in shown
    )
    return "".join(marks).rjust(width)


def share_style(share: float | None) -> str:
    """Return the color of a share of something that is used up."""
    if share is None or share < _HIGH:
        return "green"
    return "yellow" if share < _VERY_HIGH else "red"


def fit_line(line: Text, width: int, is_ascii: bool = False) -> Text:
    """Return a line of at most ``width`` cells without control characters.

    Texts of other nodes cannot move the cursor, break the line or fake another one.
    """
    if not line.plain.isprintable():
        line = Text(one_line(line.plain))
    if line.cell_len > width:
        line = line.copy()
        line.truncate(width, overflow="ellipsis")
    if is_ascii and not line.plain.isascii():
        line = line.copy()
        line.plain = "".join(map(_to_ascii, line.plain))
    return line


def _to_ascii(character: str) -> str:
    shown = character.translate(_ASCII)
    return shown if shown.isascii() else "?" * cell_len(character)


def _level(fraction: float) -> int:
    return min(max(int(fraction * len(_LEVELS)), 0), len(_LEVELS) - 1)
