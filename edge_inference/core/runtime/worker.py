"""A thread that continues after any exception of its work."""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

#: Time between a failure and the next attempt.
RETRY_S = 0.1
_MAX_KERNEL_NAME = 15


class Worker:
    """Calls ``work`` with itself in a separate thread, until ``work`` returns.

    An exception of ``work``, including SystemExit, is passed to ``on_failure`` in the same thread,
    and shortly later ``work`` is called again. An exception of ``on_failure`` is ignored.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[Worker], None],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self._work = work
        self._on_failure = on_failure
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def is_ending(self) -> bool:
        """Tell whether the work must end."""
        return self._ending.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait, but at most until the work must end; return whether it must."""
        return self._ending.wait(max(0.0, seconds))

    def end(self) -> None:
        """Request the end of the work, and wait for it, unless the work itself calls this."""
        self._ending.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        _name_in_kernel(self._thread.name)
        while not self._ending.is_set():
            try:
                self._work(self)
                return
            except BaseException as error:
                report_failure(error, self._on_failure)
                self._ending.wait(RETRY_S)


def _name_in_kernel(name: str) -> None:
    """Give this thread its name in `top -H` and other processes, where Python does not (< 3.14)."""
    with suppress(OSError):  # a system without /proc
        Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_bytes(
            name.encode()[:_MAX_KERNEL_NAME]
        )


def report_failure(error: BaseException, on_failure: Callable[[BaseException], None]) -> None:
    """Call ``on_failure``; if it raises an exception itself, print that on stderr."""
    try:
        on_failure(error)
    except BaseException:
        with suppress(BaseException):
            sys.stderr.write(traceback.format_exc())


def call_each(*actions: Callable[[], object]) -> None:
    """Call each function, even if others raise exceptions."""
    for action in actions:
        with suppress(BaseException):
            action()


def format_error(error: BaseException) -> str:
    """Return type and message of any exception, even if its ``__str__`` fails."""
    return traceback.format_exception_only(error)[-1].strip()
