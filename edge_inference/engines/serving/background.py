"""Work beside an engine in service: a preparation in a thread, and checks that give way."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from edge_inference.core.runtime.worker import format_error
from edge_inference.engines.cache.artifacts import Cancelled, PreparationCancelledError, Progress
from edge_inference.engines.serving.selection import EngineRequest
from edge_inference.errors import BackendError, EdgeInferenceError

Result = TypeVar("Result")

_LOW_PRIORITY = 10


@dataclass(frozen=True)
class Preparation:
    """What is being made ready, and how far: ``fraction`` is None where nobody knows."""

    request: EngineRequest
    phase: str
    fraction: float | None

    def words(self) -> str:
        """Say it in a few words."""
        what = f"{self.request.model.name}, {self.request.backend}, {self.request.precision}"
        share = "" if self.fraction is None else f" {self.fraction:.0%}"
        return f"{what}: {self.phase}{share}"


class Background(Generic[Result]):
    """One preparation in a thread of its own.

    ``make(request, progress, cancelled)`` runs there; what it returns goes to
    ``deliver``, its error to ``give_up``, in the same thread. One that heeds
    ``cancelled`` with a PreparationCancelledError ends without a word.
    """

    def __init__(
        self,
        request: EngineRequest,
        make: Callable[[EngineRequest, Progress, Cancelled], Result],
        deliver: Callable[[Background[Result], Result], None],
        give_up: Callable[[Background[Result], EdgeInferenceError], None],
    ) -> None:
        self.request = request
        self._make = make
        self._deliver = deliver
        self._give_up = give_up
        self._cancelled = threading.Event()
        self._said: tuple[str, float | None] = ("waiting", None)
        self._thread = threading.Thread(target=self._run, name="engine switch", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def cancel(self) -> None:
        """Ask it to end; it does so soon, or after the library's call that it is in."""
        self._cancelled.set()

    def is_running(self) -> bool:
        """Tell whether it is under way, or calling back."""
        return self._thread.is_alive()

    def join(self) -> None:
        """Wait for its end."""
        self._thread.join()

    def state(self) -> Preparation:
        """Say how far it is."""
        return Preparation(self.request, *self._said)

    def _run(self) -> None:
        try:
            result = self._make(self.request, self._say, self._cancelled.is_set)
        except PreparationCancelledError:
            return
        except EdgeInferenceError as error:
            self._give_up(self, error)
        except BaseException as error:  # whatever a vendor's library raises: the old one goes on
            self._give_up(self, BackendError(format_error(error)))
        else:
            self._deliver(self, result)

    def _say(self, phase: str, fraction: float | None) -> None:
        self._said = (phase, fraction)


def at_low_priority(function: Callable[[], Result]) -> Result:
    """Call a function in a thread that gives way to all others, and wait for it.

    In one of its own: a thread's priority can be lowered, but not raised again, and
    threads that an engine starts for itself inherit it.
    """
    results: list[Result] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            thread_id = threading.get_native_id()
            # A process may be that low already, and only root may raise it.
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
