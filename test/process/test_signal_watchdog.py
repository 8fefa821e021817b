"""A signal whose handler does not run is passed on, a handled one is not."""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_inference.core.runtime.signal_watchdog import note_handler_call, watch_signals

DEADLINE_S = 60.0


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def test_a_signal_without_a_running_handler_is_passed_on() -> None:
    left: queue.Queue[int] = queue.Queue()
    signal.signal(
        signal.SIGINT, lambda number, frame: None
    )  # as if Python had not called the handler
    with watch_signals(left.put, 0.0):
        signal.raise_signal(signal.SIGINT)
        assert left.get(timeout=DEADLINE_S) == signal.SIGINT


def test_a_handled_signal_is_not_passed_on() -> None:
    left: queue.Queue[int] = queue.Queue()
    signal.signal(signal.SIGINT, lambda number, frame: note_handler_call())
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    with watch_signals(left.put):
        signal.raise_signal(signal.SIGINT)
        end_s = time.monotonic() + DEADLINE_S
        while left.empty():  # until the thread reads a signal without a handler call
            assert time.monotonic() < end_s
            signal.raise_signal(signal.SIGTERM)
            threading.Event().wait(0.1)
    assert signal.SIGINT not in left.queue


def test_other_signals_are_ignored() -> None:
    left: queue.Queue[int] = queue.Queue()
    signal.signal(signal.SIGUSR1, lambda number, frame: None)
    with watch_signals(left.put, 0.0):
        signal.raise_signal(signal.SIGUSR1)
    assert left.empty()


def test_a_signal_of_a_forked_child_does_not_reach_the_parent() -> None:
    left: queue.Queue[int] = queue.Queue()
    with watch_signals(left.put, 0.0):
        child = os.fork()
        if child == 0:
            os._exit(signal.set_wakeup_fd(-1) != -1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert signal.set_wakeup_fd(-1) != -1
    assert left.empty()


def open_files() -> int:
    """Return how many files this process has open."""
    return len([*Path("/proc/self/fd").iterdir()])


def test_nothing_remains_and_other_threads_watch_nothing() -> None:
    before = threading.active_count()
    files = open_files()

    def watch() -> None:
        with watch_signals(lambda number: None):
            pass

    watch()
    other = threading.Thread(target=watch)
    other.start()
    other.join()
    assert signal.set_wakeup_fd(-1) == -1
    assert threading.active_count() == before
    assert open_files() == files
