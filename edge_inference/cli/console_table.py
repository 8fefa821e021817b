"""The console and the tables of all commands."""

from __future__ import annotations

from typing import TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table


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


def format_milliseconds(value: float | None) -> str:
    """Format a time; empty where it is unknown."""
    return "" if value is None else f"{value:.1f}"
