"""Ctrl-C and SIGTERM as an event, so that a run can clean up and end."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

from edge_inference.cli.exit_status import EXIT_SIGNALED
from edge_inference.core.runtime.signal_watchdog import note_handler_call, watch_signals
from edge_inference.errors import EdgeInferenceError

_LOOK_PERIOD_S = 0.1
_SHOW_CURSOR = b"\x1b[?25h"


class Interrupt(threading.Event):
    """An event that a signal sets; ``number`` is the signal."""

    number: int = signal.SIGINT

    @property
    def exit_code(self) -> int:
        """Return the exit code of a process that the signal ended."""
        return EXIT_SIGNALED + self.number

    def __call__(self) -> bool:
        """Tell whether a signal came."""
        return self.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the signal, at most ``timeout`` seconds; tell whether it came.

        An event's own wait takes a lock, which the handler would need, and a signal that comes just
        before it begins to stand does not end it. This one looks again and again.
        """
        end_s = math.inf if timeout is None else time.monotonic() + timeout
        while not self.is_set() and (left_s := end_s - time.monotonic()) > 0:
            time.sleep(min(left_s, _LOOK_PERIOD_S))
        return self.is_set()


@contextmanager
def catch_signals(
    numbers: Sequence[int] = (signal.SIGINT, signal.SIGTERM),
    before_exit: Callable[[], None] = lambda: None,
    max_s: float | None = None,
) -> Iterator[Interrupt]:
    """Yield an event that the first of these signals sets; the second ends the process at once.

    ``before_exit`` runs before that, in the signal handler. Where the block does not end within
    ``max_s`` of the first signal, the process ends, too: a write to a pipe that nobody reads
    never does. Outside the main thread, where Python allows no signal handlers, the event is never
    set.
    """
    interrupted = Interrupt()
    timers: list[threading.Timer] = []

    def note(number: int, frame: FrameType | None) -> None:
        note_handler_call()
        if interrupted.is_set():
            before_exit()
            _exit("edge-inference", EXIT_SIGNALED + number)
        interrupted.number = number
        interrupted.set()
        if max_s is not None:
            timer = threading.Timer(max_s, _exit, ("edge-inference", EXIT_SIGNALED + number))
            timer.daemon = True
            timers.append(timer)
            timer.start()

    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield interrupted
    finally:
        for timer in timers:
            timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def exit_on_signal(name: str) -> Iterator[None]:
    """End the process at the first SIGINT or SIGTERM, with the exit code that a shell uses.

    For phases without anything to clean up: an exception during an import or a library call
    would only print a traceback. ``name`` is the program.
    """

    def leave(number: int, frame: FrameType | None) -> None:
        del frame
        note_handler_call()
        _exit(name, EXIT_SIGNALED + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, leave) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is leave:  # no other handler was installed meanwhile
                signal.signal(number, handler)


@contextmanager
def exit_while_busy(name: str) -> Iterator[None]:
    """End the process by a signal even while the main thread is inside a library call.

    ``name`` is the program.
    """
    with watch_signals(lambda number: _exit(name, EXIT_SIGNALED + number)):
        yield


@contextmanager
def cancel_on_signal() -> Iterator[Interrupt]:
    """Yield an event that long work polls to learn whether to end; see :func:`catch_signals`.

    Raises KeyboardInterrupt, with the signal's number, where the work ends with an
    EdgeInferenceError after a signal.
    """
    with catch_signals() as interrupted:
        try:
            yield interrupted
        except EdgeInferenceError:
            if interrupted.is_set():
                raise KeyboardInterrupt(interrupted.number) from None
            raise


def _exit(name: str, code: int) -> None:
    """Exit without cleanup: an exception during cleanup would leave threads that crash."""
    with suppress(OSError):  # the terminal may be closed already
        if sys.stdout.isatty():
            os.write(1, _SHOW_CURSOR)
        os.write(2, f"{name}: interrupted\n".encode())
    os._exit(code)
