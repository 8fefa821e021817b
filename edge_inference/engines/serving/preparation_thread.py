"""Threads that work beside the engine in service: one preparation, and low-priority checks."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from edge_inference.core.runtime.worker import format_error
from edge_inference.engines.cache.artifacts import Cancelled, Progress
from edge_inference.engines.serving.backend_table import EngineRequest
from edge_inference.engines.serving.engine import Engine
from edge_inference.errors import BackendError, CancelledError, EdgeInferenceError

Result = TypeVar("Result")

_LOW_PRIORITY = 10


@dataclass(frozen=True)
class PreparationStatus:
    """The engine in preparation and its progress; ``fraction`` is None where it is unknown."""

    request: EngineRequest
    phase: str
    fraction: float | None

    def describe(self) -> str:
        """Return the status as one short text."""
        what = f"{self.request.model.name}, {self.request.backend}, {self.request.precision}"
        percent = "" if self.fraction is None else f" {self.fraction:.0%}"
        return f"{what}: {self.phase}{percent}"


class PreparationThread:
    """Prepares one engine in a thread of its own.

    The thread calls ``prepare(request, progress, cancelled)`` and passes the engine to
    ``on_ready`` or the error to ``on_error``. After a CancelledError it calls neither.
    """

    def __init__(
        self,
        request: EngineRequest,
        prepare: Callable[[EngineRequest, Progress, Cancelled], Engine],
        on_ready: Callable[[PreparationThread, Engine], None],
        on_error: Callable[[PreparationThread, EdgeInferenceError], None],
    ) -> None:
        self.request = request
        self._prepare = prepare
        self._on_ready = on_ready
        self._on_error = on_error
        self._cancelled = threading.Event()
        self._progress: tuple[str, float | None] = ("waiting", None)
        self._thread = threading.Thread(target=self._run, name="engine switch", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def cancel(self) -> None:
        """Request the end; the thread ends soon, or after the library call that it is in."""
        self._cancelled.set()

    def is_running(self) -> bool:
        """Tell whether the thread still works or is in a callback."""
        return self._thread.is_alive()

    def join(self) -> None:
        """Wait for the thread to end."""
        self._thread.join()

    def status(self) -> PreparationStatus:
        """Return the current progress."""
        return PreparationStatus(self.request, *self._progress)

    def _run(self) -> None:
        try:
            engine = self._prepare(self.request, self._set_progress, self._cancelled.is_set)
        except CancelledError:
            return
        except EdgeInferenceError as error:
            self._on_error(self, error)
        except BaseException as error:  # a vendor's library may raise anything; the old one serves
            self._on_error(self, BackendError(format_error(error)))
        else:
            self._on_ready(self, engine)

    def _set_progress(self, phase: str, fraction: float | None) -> None:
        self._progress = (phase, fraction)


def run_at_low_priority(function: Callable[[], Result]) -> Result:
    """Call a function in a new low-priority thread and wait for its result.

    The thread is new because a thread can lower its priority but not raise it again,
    and because the threads that an engine starts inherit the priority.
    """
    results: list[Result] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            thread_id = threading.get_native_id()
            # The process may have a lower priority already, and only root may raise it.
            if os.getpriority(os.PRIO_PROCESS, thread_id) < _LOW_PRIORITY:
                os.setpriority(os.PRIO_PROCESS, thread_id, _LOW_PRIORITY)
            results.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work, name="engine check", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
