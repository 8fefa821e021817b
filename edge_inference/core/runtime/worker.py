"""A thread that goes on whatever its work raises."""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress

#: So long after a failure the work is begun again.
RETRY_S = 0.1


class Worker:
    """Calls ``work`` with itself in a thread of its own, until that returns.

    Whatever ``work`` raises, SystemExit too, goes to ``failed`` in the same thread, and a moment
    later the work is begun again. A ``failed`` that fails itself changes nothing.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[Worker], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._work = work
        self._failed = failed
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def is_ending(self) -> bool:
        """Whether the work is to come to its end."""
        return self._ending.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait, but not beyond the end; tell whether that has come."""
        return self._ending.wait(max(0.0, seconds))

    def end(self) -> None:
        """Ask the work to end, and wait until it has, unless it asks itself."""
        self._ending.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                self._work(self)
                return
            except BaseException as error:
                report_failure(error, self._failed)
                self._ending.wait(RETRY_S)


def report_failure(error: BaseException, failed: Callable[[BaseException], None]) -> None:
    """Tell of a failure, whatever that raises in turn."""
    try:
        failed(error)
    except BaseException:
        with suppress(BaseException):
            sys.stderr.write(traceback.format_exc())


def call_each(*actions: Callable[[], object]) -> None:
    """Do each of these, whatever the others raise."""
    for action in actions:
        with suppress(BaseException):
            action()


def format_error(error: BaseException) -> str:
    """Return kind and message of an exception that nobody foresaw, whatever its message does."""
    return traceback.format_exception_only(error)[-1].strip()
