"""Signals that come while the main thread is inside a library: Python's handlers are not called.

They run in the main thread, between two steps of Python's own. A library that opens a model may
not come back for hours, or ever; here a thread sees to it that the process ends all the same.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: So long a signal waits for its handler.
GRACE_S = 2.0

_WATCHED = (signal.SIGINT, signal.SIGTERM)
_LOOK_S = 0.05

_handler_calls = 0


def note_handler_call() -> None:
    """Note that a handler of Python's runs; every one that is meant to end the process calls it."""
    # No lock: a handler may have interrupted its holder.
    global _handler_calls
    _handler_calls += 1


@contextmanager
def watch_signals(leave: Callable[[int], None], grace_s: float = GRACE_S) -> Iterator[None]:
    """Call ``leave`` with a signal's number where its handler is not called within ``grace_s``.

    It is called in a thread of its own, and is to end the process. Outside of the main thread,
    which alone has handlers, nothing is watched.
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
    heard_before: int,
) -> None:
    while numbers := os.read(reading, 64):
        told = [number for number in numbers if number in _WATCHED]
        end_s = time.monotonic() + grace_s
        # It may have been heard before this thread was told of it.
        while told and _handler_calls == heard_before and not ended.is_set():
            if time.monotonic() > end_s:
                leave(told[0])
                break
            ended.wait(_LOOK_S)
        heard_before = _handler_calls


def _forget() -> None:
    """In a forked child: its signals are not its parent's."""
    if threading.current_thread() is threading.main_thread():
        signal.set_wakeup_fd(-1)


os.register_at_fork(after_in_child=_forget)
