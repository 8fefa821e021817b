"""The monitor on a terminal: keys, resizing, Ctrl-Z, and the end."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from edge_inference.cli.signals import Interrupt, catch_signals
from edge_inference.cli.top.key_reader import KeyReader
from edge_inference.cli.top.message_log import MessageLog, stderr_into
from edge_inference.cli.top.terminal_screen import TerminalScreen
from edge_inference.cli.top.top_control import TopControl
from edge_inference.cli.top.top_pages import TopView, compose_screen

#: How soon a new size and a signal are noticed.
_POLL_S = 0.1
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def watch_on_screen(
    read_view: Callable[[], TopView], log: MessageLog, interval_s: float, *, is_ascii: bool
) -> int:
    """Show on stdout what ``read_view`` returns until the user quits; return the exit code."""
    keyboard = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
    screen = TerminalScreen(sys.stdout, keyboard)
    with (
        stderr_into(log),
        catch_signals(_ENDING, screen.restore) as interrupted,
        _pending_signals(signal.SIGTSTP, signal.SIGCONT) as pending,
        screen,
    ):
        loop = _ScreenLoop(read_view, screen, keyboard, interval_s, is_ascii)
        try:
            while loop.step(interrupted, pending):
                pass
        except OSError:  # the terminal has gone
            interrupted.number = signal.SIGHUP
            interrupted.set()
    return quit_code(interrupted)


def quit_code(interrupted: Interrupt) -> int:
    """Return the exit code of what runs until the user ends it; Ctrl-C is the usual way."""
    is_usual = not interrupted() or interrupted.number == signal.SIGINT
    return 0 if is_usual else interrupted.exit_code


class _ScreenLoop:
    """Draws when something has changed: the figures, the size, or what the user looks at."""

    def __init__(
        self,
        read_view: Callable[[], TopView],
        screen: TerminalScreen,
        keyboard: int | None,
        interval_s: float,
        is_ascii: bool,
    ) -> None:
        self._read_view = read_view
        self._screen = screen
        self._keys = None if keyboard is None else KeyReader(keyboard)
        self._interval_s = interval_s
        self._is_ascii = is_ascii
        self._control = TopControl()
        self._view = read_view()
        self._read_s = time.monotonic()
        self._size = screen.size
        self._is_drawn = False

    def step(self, interrupted: Interrupt, pending: set[int]) -> bool:
        """Draw what has changed, then wait shortly for keys; False where the user has quit."""
        is_due = time.monotonic() - self._read_s >= self._interval_s
        if is_due and not self._control.place.is_paused:
            self._view, self._read_s = self._read_view(), time.monotonic()
            self._is_drawn = False
        if signal.SIGTSTP in pending:
            self._screen.suspend()
        elif pending:
            self._screen.reopen()
        if pending or self._size != self._screen.size:
            pending.clear()
            self._size = self._screen.size
            self._is_drawn = False
        if not self._is_drawn:
            self._is_drawn = self._draw()
        for key in self._wait(interrupted):
            self._control.press(key)
            self._is_drawn = False
        return not (interrupted() or self._control.has_quit)

    def _draw(self) -> bool:
        shown = compose_screen(
            self._view,
            self._control.place,
            self._size.columns,
            self._size.lines,
            is_ascii=self._is_ascii,
            has_keys=self._keys is not None,
        )
        self._control.settle(shown)
        return self._screen.draw(shown.lines, self._size)

    def _wait(self, interrupted: Interrupt) -> list[str]:
        if self._keys is not None and not self._keys.has_ended:
            return self._keys.read(_POLL_S)
        interrupted.wait(_POLL_S)
        return []


@contextmanager
def _pending_signals(*numbers: int) -> Iterator[set[int]]:
    """Yield a set to which a signal's number is added when it comes; ignored ones stay so."""
    pending: set[int] = set()

    def note(number: int, frame: FrameType | None) -> None:
        pending.add(number)

    if threading.current_thread() is not threading.main_thread():
        yield pending
        return
    before = {
        number: signal.signal(number, note)
        for number in numbers
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield pending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
