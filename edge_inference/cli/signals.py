"""Ctrl-C and SIGTERM as an event, so that a run can end in good order."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from edge_inference.cli.exit_status import EXIT_SIGNALLED
from edge_inference.core.runtime.signal_watchdog import note_handler_call, watch_signals
from edge_inference.errors import EdgeInferenceError

_SHOW_CURSOR = b"\x1b[?25h"


class Interrupt(threading.Event):
    """Set by a signal, whose number it keeps."""

    number: int = signal.SIGINT

    @property
    def exit_code(self) -> int:
        """That of a process that the signal ends."""
        return EXIT_SIGNALLED + self.number

    def __call__(self) -> bool:
        """Tell whether there was one."""
        return self.is_set()


@contextmanager
def catch_signals() -> Iterator[Interrupt]:
    """Give an event that the first SIGINT or SIGTERM sets; a second one ends the process at once.

    Outside of the main thread, where Python allows no handlers, it is never set.
    """
    interrupted = Interrupt()

    def note(number: int, frame: FrameType | None) -> None:
        note_handler_call()
        if interrupted.is_set():
            _leave("edge-inference", EXIT_SIGNALLED + number)
        interrupted.number = number
        interrupted.set()

    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def exit_on_signal(name: str) -> Iterator[None]:
    """End the process at the first SIGINT or SIGTERM, with the exit code of a shell.

    For the time in which there is nothing to end in good order: an exception amid an import, or
    amid a library's call, could only show its traceback. ``name`` is who was interrupted.
    """

    def leave(number: int, frame: FrameType | None) -> None:
        del frame
        note_handler_call()
        _leave(name, EXIT_SIGNALLED + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, leave) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is leave:  # nobody has taken over
                signal.signal(number, handler)


@contextmanager
def exit_while_busy(name: str) -> Iterator[None]:
    """End the process by a signal though the main thread is in a library that does not come back.

    ``name`` is who was interrupted.
    """
    with watch_signals(lambda number: _leave(name, EXIT_SIGNALLED + number)):
        yield


@contextmanager
def cancel_on_signal() -> Iterator[Interrupt]:
    """Give what long work asks whether to end; see :func:`interruptible`.

    Work that then ends with an error of ours was interrupted: KeyboardInterrupt, with the
    signal's number.
    """
    with catch_signals() as interrupted:
        try:
            yield interrupted
        except EdgeInferenceError:
            if interrupted.is_set():
                raise KeyboardInterrupt(interrupted.number) from None
            raise


def _leave(name: str, code: int) -> None:
    """Go without cleaning up: an exception amid the clean-up would leave threads to crash."""
    with suppress(OSError):  # the terminal may be gone, which is why we are to go
        if sys.stdout.isatty():
            os.write(1, _SHOW_CURSOR)
        os.write(2, f"{name}: interrupted\n".encode())
    os._exit(code)
