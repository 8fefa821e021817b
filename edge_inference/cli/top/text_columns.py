"""Rows of cells, aligned in columns that fit the width; the least important columns go first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from rich.cells import cell_len
from rich.text import Text

from edge_inference.core.text_line import one_line

_GAP = 2
_MAX_CHARACTERS = 200


@dataclass(frozen=True)
class TextColumn:
    """A column of a table: its header, and one cell for each row.

    Where the width does not suffice, cells are cut down to ``min_width`` (None: not at all), and
    then the columns with the highest ``rank`` are left out.
    """

    header: str
    cells: Sequence[str | Text]
    rank: int = 0
    is_number: bool = True
    min_width: int | None = None


def make_columns(columns: Sequence[TextColumn], width: int) -> tuple[Text, list[Text]]:
    """Return the header and the rows of a table, each of at most ``width`` cells."""
    texts = {
        id(column): [_as_text(cell) for cell in (column.header, *column.cells)]
        for column in columns
    }
    full = {
        id(column): max(cell_len(text.plain) for text in texts[id(column)]) for column in columns
    }
    kept = list(columns)
    while len(kept) > 1 and _needed(kept, full) > width:
        kept.pop(max(range(len(kept)), key=lambda place: (kept[place].rank, place)))
    widths = _share_width(kept, full, width)
    lines = [
        _make_line(
            [(texts[id(column)][row], widths[id(column)], column.is_number) for column in kept]
        )
        for row in range(len(texts[id(kept[0])]))
    ]
    return lines[0], lines[1:]


def _as_text(cell: str | Text) -> Text:
    return cell if isinstance(cell, Text) else Text(one_line(cell, _MAX_CHARACTERS))


def _min_width(column: TextColumn, full: dict[int, int]) -> int:
    natural = full[id(column)]
    return natural if column.min_width is None else min(natural, column.min_width)


def _needed(columns: Sequence[TextColumn], full: dict[int, int]) -> int:
    return sum(_min_width(column, full) for column in columns) + _GAP * (len(columns) - 1)


def _share_width(
    columns: Sequence[TextColumn], full: dict[int, int], width: int
) -> dict[int, int]:
    """Give each column its width; what is left goes to those that are cut, from left to right."""
    left = width - _needed(columns, full)
    widths = {}
    for column in columns:
        smallest = _min_width(column, full)
        given = min(max(left, 0), full[id(column)] - smallest)
        left -= given
        widths[id(column)] = smallest + given
    if left < 0:  # only one column remains, and it is too wide
        widths[id(columns[0])] = max(1, width)
    return widths


def _make_line(cells: Sequence[tuple[Text, int, bool]]) -> Text:
    line = Text()
    gaps = chain([0], [_GAP] * len(cells))
    for (text, width, is_number), gap in zip(cells, gaps, strict=False):
        cell = text.copy()
        cell.truncate(width, overflow="ellipsis")
        padding = " " * (width - cell.cell_len)
        line.append(" " * gap)
        if is_number:
            line.append(padding).append_text(cell)
        else:
            line.append_text(cell).append(padding)
    line.rstrip()
    return line
