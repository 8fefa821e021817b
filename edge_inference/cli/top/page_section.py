"""Sections of a page, and how they share its lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from rich.text import Text

_HEADING = "bold cyan"
_SEPARATOR = " │ "
#: More rows of a section are worth less than an empty line between sections.
_MANY = 8


@dataclass(frozen=True)
class PageSection:
    """A heading and its rows.

    Where the height does not suffice, sections with the lowest ``rank`` get their lines first, and
    each at least ``min_rows`` of its rows. A filler gets lines that no other section needs.
    """

    heading: Text
    rows: Sequence[Text]
    rank: int = 0
    min_rows: int = 1
    is_filler: bool = False


def list_sections(
    sections: Sequence[PageSection], width: int, max_rows: int | None = None
) -> list[Text]:
    """Return the lines of sections, of each at most ``max_rows`` rows, an empty line between."""
    lines: list[Text] = []
    for section in sections:
        lines += [Text(), *_show(section, len(section.rows[:max_rows]), width)]
    return lines[1:]


def fit_sections(sections: Sequence[PageSection], height: int, width: int) -> list[Text]:
    """Return at most ``height`` lines of sections; a heading says how many rows are not shown."""
    essential = [each for each in sections if not each.is_filler]
    blank = max(0, len(sections) - 1)
    is_spaced = blank + sum(1 + min(len(each.rows), _MANY) for each in essential) <= height
    left = height - blank * is_spaced
    given: dict[int, int] = {}
    for is_filler in (False, True):
        places = [place for place, each in enumerate(sections) if each.is_filler is is_filler]
        places.sort(key=lambda place: sections[place].rank)
        left = _give_rows(sections, places, given, left)
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


def _give_rows(
    sections: Sequence[PageSection], places: Sequence[int], given: dict[int, int], left: int
) -> int:
    """Note in ``given`` how many rows of each of these sections are shown; return what is left."""
    for place in places:
        if left < 2:  # a heading without a row says nothing
            return left
        given[place] = min(left - 1, sections[place].min_rows, len(sections[place].rows))
        left -= 1 + given[place]
    while growing := [each for each in places if given[each] < len(sections[each].rows)][:left]:
        for place in growing:
            given[place] += 1
        left -= len(growing)
    return left


def _show(section: PageSection, count: int, width: int) -> list[Text]:
    heading = section.heading.copy()
    heading.stylize(_HEADING)
    hidden = len(section.rows) - count
    if hidden:
        more = f"+{hidden} more"
        heading.truncate(max(1, width - len(more) - 1), overflow="ellipsis", pad=True)
        heading.append(f" {more}", "bold yellow")
    return [heading, *section.rows[:count]]
