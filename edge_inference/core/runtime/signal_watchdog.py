"""Ends the process on a signal although the main thread is inside a library call.

Python calls signal handlers in the main thread, between two of its own instructions. A library
that opens a model may not return for hours, or ever. A thread here ends the process nevertheless.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Time that Python has to call the handler of a signal.
GRACE_S = 2.0

_WATCHED = (signal.SIGINT, signal.SIGTERM)
_POLL_PERIOD_S = 0.05

_handler_calls = 0


def note_handler_call() -> None:
    """Record that Python runs a handler; each handler that ends the process must call this."""
    # No lock: the handler may have interrupted the thread that holds it.
    global _handler_calls
    _handler_calls += 1


@contextmanager
def watch_signals(leave: Callable[[int], None], grace_s: float = GRACE_S) -> Iterator[None]:
    """Call ``leave`` with a signal's number where its handler does not run within ``grace_s``.

    ``leave`` runs in a separate thread and must end the process. Outside the main thread, which
    alone runs handlers, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reading, writing = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(writing, False)
    ended = threading.Event()
    watch = threading.Thread(
        target=_watch,
        args=(reading, leave, grace_s, ended, _handler_calls),
        name="signals",
        daemon=True,
    )
    watch.start()
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before, warn_on_full_buffer=False)
        ended.set()
        os.close(writing)
        watch.join()
        os.close(reading)


def _watch(
    reading: int,
    leave: Callable[[int], None],
    grace_s: float,
    ended: threading.Event,
    calls_before: int,
) -> None:
    while numbers := os.read(reading, 64):
        received = [number for number in numbers if number in _WATCHED]
        end_s = time.monotonic() + grace_s
        # The handler may have run before this thread read the signal.
        while received and _handler_calls == calls_before and not ended.is_set():
            if time.monotonic() > end_s:
                leave(received[0])
                break
            ended.wait(_POLL_PERIOD_S)
        calls_before = _handler_calls


def _reset_after_fork() -> None:
    """Stop watching in a forked child, which has its own signals."""
    if threading.current_thread() is threading.main_thread():
        signal.set_wakeup_fd(-1)


os.register_at_fork(after_in_child=_reset_after_fork)
