"""A terminal as a screen: only lines that changed are written, and all is restored at the end."""

from __future__ import annotations

import os
import select
import signal
import termios
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text

#: The other screen of the terminal, cleared, without a cursor and without line wrapping; and back.
_BEGIN = b"\x1b[?1049h\x1b[2J\x1b[?25l\x1b[?7l"
_END = b"\x1b[?7h\x1b[?25h\x1b[?1049l"
_CLEAR = "\x1b[2J"
_ERASE_REST = "\x1b[K"
#: A terminal that takes nothing for this long gets no more.
_MAX_WAIT_S = 1.0
_MAX_BYTES = 512
_DEFAULT_SIZE = os.terminal_size((80, 24))


class TerminalScreen(AbstractContextManager["TerminalScreen"]):
    """Draws on the terminal ``output``; a context manager.

    ``keyboard`` is the descriptor of the terminal with the keys, None where there is none: its
    keys come at once and are not echoed, while signals (Ctrl-C, Ctrl-Z) work as ever.
    """

    def __init__(self, output: TextIO, keyboard: int | None) -> None:
        self._descriptor = output.fileno()
        self._keyboard = keyboard
        self._console = Console(file=output, highlight=False, markup=False, emoji=False)
        self._encoding = output.encoding or "utf-8"
        self._before: list[Any] | None = None
        self._is_open = False
        self._drawn: list[str] = []
        self._size = _DEFAULT_SIZE

    def __enter__(self) -> TerminalScreen:
        """Take the terminal over."""
        self._open()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Give the terminal back."""
        self.restore()

    def _open(self) -> None:
        if self._keyboard is not None:
            with suppress(termios.error):  # the terminal is gone: there are no keys
                self._before = termios.tcgetattr(self._keyboard)
                termios.tcsetattr(self._keyboard, termios.TCSANOW, _unbuffered(self._before))
        self._is_open = True
        self._write(_BEGIN)
        self._drawn = []

    def restore(self) -> None:
        """Give the terminal back as it was; safe in a signal handler, and if it is gone."""
        if not self._is_open:
            return
        self._is_open = False
        with suppress(OSError):
            self._write(_END)
        if self._keyboard is not None and self._before is not None:
            with suppress(termios.error):
                termios.tcsetattr(self._keyboard, termios.TCSANOW, self._before)

    def suspend(self) -> None:
        """Give the terminal back, stop this process as Ctrl-Z does, and later go on."""
        self.restore()
        handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        try:
            signal.raise_signal(signal.SIGTSTP)  # stands here until the shell continues it
        finally:
            signal.signal(signal.SIGTSTP, handler)
        self._open()

    def reopen(self) -> None:
        """Take the terminal over again after another program had it."""
        self.restore()
        self._open()

    @property
    def size(self) -> os.terminal_size:
        """Columns and lines of the terminal now."""
        try:
            size = os.get_terminal_size(self._descriptor)
        except OSError:
            return _DEFAULT_SIZE
        # A terminal that nobody has told its size says 0.
        return size if size.columns and size.lines else _DEFAULT_SIZE

    def draw(self, lines: Sequence[Text], size: os.terminal_size) -> bool:
        """Write the lines that differ from those drawn before; False where the terminal is stuck.

        ``lines`` are at most ``size.lines``, each of at most ``size.columns`` cells. A terminal
        that takes nothing for a second gets no more now: the next drawing has newer figures.
        """
        text = ""
        if size != self._size:
            text, self._size, self._drawn = _CLEAR, size, []
        drawn = self._render(lines)
        for row, line in enumerate(drawn):
            if row >= len(self._drawn) or self._drawn[row] != line:
                text += f"\x1b[{row + 1};1H{line}"
                # At the end of a full line the cursor stands on its last character.
                text += _ERASE_REST if lines[row].cell_len < size.columns else ""
        is_written = self._write(text.encode(self._encoding, "replace"))
        self._drawn = drawn if is_written else []
        return is_written

    def _render(self, lines: Sequence[Text]) -> list[str]:
        with self._console.capture() as captured:
            self._console.print(Text("\n").join(lines), soft_wrap=True)
        return captured.get().split("\n")[: len(lines)]

    def _write(self, data: bytes) -> bool:
        """Write, and tell whether the terminal took all of it."""
        while data:
            if not select.select([], [self._descriptor], [], _MAX_WAIT_S)[1]:
                return False
            data = data[os.write(self._descriptor, data[:_MAX_BYTES]) :]
        return True


def _unbuffered(attributes: Sequence[Any]) -> list[Any]:
    """Return the attributes of a terminal that hands every key over at once, without echo."""
    changed = [*attributes[:6], list(attributes[6])]
    changed[0] &= ~termios.IXON  # Ctrl-S does not stop the output
    changed[3] &= ~(termios.ICANON | termios.ECHO)
    changed[6][termios.VMIN], changed[6][termios.VTIME] = 1, 0
    return changed
