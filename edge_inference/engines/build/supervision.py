"""Long work on a thread of its own, so that its caller hears of it and can end it.

TensorRT's calls hold their thread until they are done, and Ctrl-C is only seen
by the main thread. Progress and the question whether to go on are therefore
served on the caller's thread; neither needs to be thread-safe.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from edge_inference.engines.build.build_progress import BuildProgress, Report
from edge_inference.errors import CancelledError

Result = TypeVar("Result")
Work = Callable[[Report, threading.Event], Result]

_POLL_S = 0.05
_GRACE_S = 1.5


def run_in_thread(
    work: Work[Result], progress: Report, cancelled: Callable[[], bool], grace_s: float = _GRACE_S
) -> Result:
    """Run ``work(report, stop)`` to its end and return what it returns.

    Raises what it raises, and CancelledError once ``cancelled`` says so.
    Work that does not heed ``stop`` within ``grace_s`` (TensorRT without a
    progress monitor) is left to end by itself; what it gives is dropped.
    """
    run = _Run(work)
    run.start()
    try:
        while not run.ended:
            if cancelled():
                raise CancelledError("the build was cancelled")
            run.pass_on(progress)
        if cancelled():
            raise CancelledError("the build was cancelled")
    finally:
        run.stop.set()
        run.join(grace_s)
    return run.result()


class _Run(threading.Thread, Generic[Result]):
    def __init__(self, work: Work[Result]) -> None:
        super().__init__(name="engine-build", daemon=True)
        self._work = work
        self._told: queue.SimpleQueue[BuildProgress | None] = queue.SimpleQueue()
        self._results: list[Result] = []
        self._error: BaseException | None = None
        self.stop = threading.Event()
        self.ended = False

    def run(self) -> None:
        try:
            self._results.append(self._work(self._told.put, self.stop))
        except BaseException as error:  # raised again on the caller's thread
            self._error = error
        finally:
            self._told.put(None)

    def pass_on(self, progress: Report) -> None:
        """Hand over what was told meanwhile; wait a little where there is nothing."""
        try:
            told = self._told.get(timeout=_POLL_S)
        except queue.Empty:
            return
        if told is None:
            self.ended = True
        else:
            progress(told)

    def result(self) -> Result:
        """Return what the work gave, or raise what it raised."""
        if self._error is not None:
            raise self._error
        return self._results[0]
