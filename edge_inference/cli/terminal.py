"""What a stream can show."""

from __future__ import annotations

import os
from typing import TextIO


def can_redraw(stream: TextIO) -> bool:
    """Tell whether a stream is a terminal on which a table or a bar can stay in place."""
    from rich.console import Console

    console = Console(file=stream)
    return console.is_terminal and not console.is_dumb_terminal and "CI" not in os.environ
