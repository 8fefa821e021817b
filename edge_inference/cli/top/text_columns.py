"""Rows of cells, aligned in columns that fit the width; the least important columns go first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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


class _MeasuredColumn:
    """A column with its cells as texts, the header first."""

    def __init__(self, column: TextColumn) -> None:
        self.rank = column.rank
        self.is_number = column.is_number
        self.texts = [_as_text(cell) for cell in (column.header, *column.cells)]
        self.full = max(text.cell_len for text in self.texts)
        self.width = self.full if column.min_width is None else min(self.full, column.min_width)

    def cell(self, row: int, is_last: bool) -> Text:
        """Return a cell with its padding."""
        cell = self.texts[row].copy()
        cell.truncate(self.width, overflow="ellipsis")
        padding = " " * (self.width - cell.cell_len)
        if self.is_number:
            return Text(padding).append_text(cell)
        return cell if is_last else cell.append(padding)


def make_columns(columns: Sequence[TextColumn], width: int) -> tuple[Text, list[Text]]:
    """Return the header and the rows of a table, each of at most ``width`` cells."""
    kept = [_MeasuredColumn(column) for column in columns]
    while len(kept) > 1 and _needed(kept) > width:
        kept.pop(max(range(len(kept)), key=lambda place: (kept[place].rank, place)))
    _widen(kept, width - _needed(kept))
    gap = Text(" " * _GAP)
    header, *rows = (
        gap.join(column.cell(row, column is kept[-1]) for column in kept)
        for row in range(len(kept[0].texts))
    )
    return header, rows


def _widen(columns: Sequence[_MeasuredColumn], left: int) -> None:
    """Give what is left of the width to the columns whose cells are cut, to each the same."""
    if left < 0:  # only one column remains, and it is too wide
        columns[0].width = max(1, columns[0].width + left)
    while growing := [each for each in columns if each.width < each.full][: max(left, 0)]:
        for column in growing:
            column.width += 1
        left -= len(growing)


def _as_text(cell: str | Text) -> Text:
    return cell if isinstance(cell, Text) else Text(one_line(cell, _MAX_CHARACTERS))


def _needed(columns: Sequence[_MeasuredColumn]) -> int:
    return sum(column.width for column in columns) + _GAP * (len(columns) - 1)
