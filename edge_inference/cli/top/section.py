"""Sections of a page, and how they share its lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from rich.text import Text

_HEADING = "bold cyan"
_SEPARATOR = " │ "


@dataclass(frozen=True)
class Section:
    """A heading and its rows.

    Where the height does not suffice, sections with the lowest ``rank`` get their lines first, and
    each at least ``min_rows`` of its rows.
    """

    heading: Text
    rows: Sequence[Text]
    rank: int = 0
    min_rows: int = 1


def list_sections(
    sections: Sequence[Section], width: int, max_rows: int | None = None
) -> list[Text]:
    """Return the lines of sections, of each at most ``max_rows`` rows, an empty line between."""
    lines: list[Text] = []
    for section in sections:
        lines += [Text(), *_show(section, len(section.rows[:max_rows]), width)]
    return lines[1:]


def fit_sections(sections: Sequence[Section], height: int, width: int) -> list[Text]:
    """Return at most ``height`` lines of sections; a heading says how many rows are not shown."""
    places = sorted(range(len(sections)), key=lambda place: sections[place].rank)
    given: dict[int, int] = {}
    left = height
    for place in places:
        if left < 2:  # a heading without a row says nothing
            break
        given[place] = min(left - 1, sections[place].min_rows, len(sections[place].rows))
        left -= 1 + given[place]
    while left > 0:
        growing = [place for place in given if given[place] < len(sections[place].rows)][:left]
        if not growing:
            break
        for place in growing:
            given[place] += 1
        left -= len(growing)
    is_spaced = left >= len(given) - 1
    lines: list[Text] = []
    for place in sorted(given):
        if lines and is_spaced:
            lines.append(Text())
        lines += _show(sections[place], given[place], width)
    return lines


def beside(left: Sequence[Text], right: Sequence[Text], left_width: int) -> list[Text]:
    """Return two columns of lines as one; the lines on the left have at most ``left_width``."""
    lines = []
    for one, other in zip_longest(left, right, fillvalue=Text()):
        padding = " " * (left_width - one.cell_len)
        lines.append(Text.assemble(one, padding, (_SEPARATOR, "dim"), other))
    return lines


#: Cells between two columns of lines.
BETWEEN = len(_SEPARATOR)


def _show(section: Section, count: int, width: int) -> list[Text]:
    heading = section.heading.copy()
    heading.stylize(_HEADING)
    hidden = len(section.rows) - count
    if hidden:
        more = f"+{hidden} more"
        heading.truncate(max(1, width - len(more) - 1), overflow="ellipsis", pad=True)
        heading.append(f" {more}", "bold yellow")
    return [heading, *section.rows[:count]]
