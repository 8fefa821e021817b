"""The console and the tables of all commands."""

from __future__ import annotations

from typing import TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

_UNLIMITED_WIDTH = 10_000
#: Characters in which a column that may wrap is still readable.
_WRAPPED_WIDTH = 24


def new_console(stream: TextIO, pipe_width: int) -> Console:
    """Return a console for a stream: in a pipe with a fixed width, and without colors.

    Brackets and colons in a text are no markup: names of models and files may have them.
    """
    is_terminal = stream.isatty()
    return Console(
        file=stream,
        width=None if is_terminal else pipe_width,
        color_system="auto" if is_terminal else None,
        highlight=False,
        markup=False,
        emoji=False,
    )


def new_table(first: str, *others: str) -> Table:
    """Make a table whose first column holds names and whose others hold figures."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def print_table(console: Console, table: Table) -> None:
    """Print a table, or on a narrow terminal each row as lines, so that no figure is cut off.

    A column that may wrap needs some characters only.
    """
    wide = console.options.update(max_width=_UNLIMITED_WIDTH)

    def width_of(column: Column) -> int:
        cells = (column.header, *column.cells)
        widest = max(console.measure(cell, options=wide).maximum for cell in cells)
        return widest if column.no_wrap else min(widest, _WRAPPED_WIDTH)

    if sum(width_of(column) + 2 for column in table.columns) <= console.width:
        console.print(table)
        return
    headers = [str(column.header) for column in table.columns[1:]]
    console.print()
    for name, *figures in zip(*(column.cells for column in table.columns), strict=True):
        console.print(name)
        shown = [
            Text.assemble(f"{header} ", figure if isinstance(figure, Text) else str(figure))
            for header, figure in zip(headers, figures, strict=True)
            if str(figure)
        ]
        if shown:
            console.print(Padding(Text(", ").join(shown), (0, 0, 0, 4)))
    console.print()


def format_milliseconds(value: float | None) -> str:
    """Format a time; empty where it is unknown."""
    return "" if value is None else f"{value:.1f}"
