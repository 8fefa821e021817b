"""Threads that work beside the engine in service: one preparation, and low-priority checks."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from edge_inference.core.runtime.worker import format_error
from edge_inference.engines.serving.backend_table import EngineRequest
from edge_inference.engines.serving.engine import Engine
from edge_inference.engines.serving.service_states import Asker
from edge_inference.errors import BackendError, CancelledError, EdgeInferenceError

Result = TypeVar("Result")

_LOW_PRIORITY = 10


@dataclass(frozen=True)
class PreparationStatus:
    """The engine in preparation and its progress; ``fraction`` is None where it is unknown."""

    request: EngineRequest
    asker: Asker
    phase: str
    fraction: float | None

    def describe(self) -> str:
        """Return the status as one short text."""
        request = self.request
        what = (
            f"{request.model.name}, {request.backend}, {request.precision} for the "
            f"{self.asker.describe()}"
        )
        percent = "" if self.fraction is None else f" {self.fraction:.0%}"
        return f"{what}: {self.phase}{percent}"


class PreparationThread:
    """Prepares one engine in a thread of its own.

    The thread calls ``prepare`` with this object and passes the engine to ``on_ready`` or the
    error to ``on_error``. After it was cancelled a CancelledError calls neither.
    """

    def __init__(
        self,
        request: EngineRequest,
        asker: Asker,
        prepare: Callable[[PreparationThread], Engine],
        on_ready: Callable[[PreparationThread, Engine], None],
        on_error: Callable[[PreparationThread, EdgeInferenceError], None],
    ) -> None:
        self.request = request
        self.asker = asker
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

    def is_cancelled(self) -> bool:
        """Tell whether the end was requested."""
        return self._cancelled.is_set()

    def set_progress(self, phase: str, fraction: float | None) -> None:
        """Set the progress that :meth:`status` returns."""
        self._progress = (phase, fraction)

    def status(self) -> PreparationStatus:
        """Return the current progress."""
        return PreparationStatus(self.request, self.asker, *self._progress)

    def _run(self) -> None:
        try:
            engine = self._prepare(self)
        except EdgeInferenceError as error:
            if not (isinstance(error, CancelledError) and self.is_cancelled()):
                self._on_error(self, error)
        except BaseException as error:  # a vendor's library may raise anything; the old one serves
            self._on_error(self, BackendError(format_error(error)))
        else:
            self._on_ready(self, engine)


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
