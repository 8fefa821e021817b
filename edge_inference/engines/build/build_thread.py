"""Runs a build in a thread of its own, so that its caller sees progress and can cancel.

A call of TensorRT blocks its thread until it is done, and only the main thread receives
Ctrl-C. The caller's thread therefore calls ``progress`` and ``cancelled``; neither needs to
be thread-safe.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import TypeVar

from edge_inference.engines.build.build_progress import BuildProgress, Report
from edge_inference.errors import CancelledError

Result = TypeVar("Result")

_POLL_S = 0.05
_GRACE_S = 1.5


def run_in_thread(
    work: Callable[[Report, threading.Event], Result],
    progress: Report,
    cancelled: Callable[[], bool],
    grace_s: float = _GRACE_S,
) -> Result:
    """Run ``work(report, stop)`` and return its result.

    Raises the error of ``work``, and CancelledError once ``cancelled`` returns True. Work that
    does not react to ``stop`` within ``grace_s`` (TensorRT without a progress monitor) goes on
    until it ends by itself; its result is dropped.
    """
    reports: queue.SimpleQueue[BuildProgress | None] = queue.SimpleQueue()
    results: list[Result] = []
    errors: list[BaseException] = []
    stop = threading.Event()

    def run() -> None:
        try:
            results.append(work(reports.put, stop))
        except BaseException as error:  # raised again in the caller's thread
            errors.append(error)
        finally:
            reports.put(None)

    thread = threading.Thread(target=run, name="engine-build", daemon=True)
    thread.start()
    try:
        _pass_on(reports, progress, cancelled)
    finally:
        stop.set()
        thread.join(grace_s)
    if errors:
        raise errors[0]
    return results[0]


def _pass_on(
    reports: queue.SimpleQueue[BuildProgress | None],
    progress: Report,
    cancelled: Callable[[], bool],
) -> None:
    """Pass reports to ``progress`` until the end; raise CancelledError when cancelled."""
    has_ended = False
    while not has_ended:
        if cancelled():
            raise CancelledError("the build was cancelled")
        try:
            report = reports.get(timeout=_POLL_S)
        except queue.Empty:
            continue
        if report is None:
            has_ended = True
        else:
            progress(report)
    if cancelled():
        raise CancelledError("the build was cancelled")
