"""Keeps a model in service while its engine is built, exchanged, or fails.

One engine is always in service. The server prepares, opens and checks the next one in the
background and exchanges the two between two inferences. Until then, and if the next one
fails, the engine in service stays.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from edge_inference.backends.base import Backend
from edge_inference.core.runtime.worker import format_error
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.cache.artifacts import Cancelled, Progress
from edge_inference.engines.serving.backend_table import EngineRequest
from edge_inference.engines.serving.engine import Engine
from edge_inference.engines.serving.preparation import prepare_in_child
from edge_inference.engines.serving.preparation_thread import (
    PreparationStatus,
    PreparationThread,
    run_at_low_priority,
)
from edge_inference.engines.serving.selection import Selection, fallback, select_backend
from edge_inference.errors import BackendError, CancelledError, EdgeInferenceError, EngineFileError

Result = TypeVar("Result")

#: Checks an opened engine and returns notes for diagnostics. Raises EdgeInferenceError to
#: refuse the engine, and CancelledError soon after it is cancelled.
Check = Callable[[Selection, Backend, Cancelled], Mapping[str, str]]


def _never() -> bool:
    return False


class EngineServer:
    """Serves one model.

    The server calls ``on_changed`` with an engine that it has put into service, before the
    engine's first inference. It calls ``on_failed`` with the error when it cannot serve a
    request, and with the engine that serves instead. Both callbacks run in the thread in
    which the event happens and must not call ``run`` or ``close``.
    """

    def __init__(
        self,
        cache: ArtifactCache,
        check: Check,
        on_changed: Callable[[Engine], None],
        on_failed: Callable[[EdgeInferenceError, Engine], None],
    ) -> None:
        self._cache = cache
        self._check = check
        self._on_changed = on_changed
        self._on_failed = on_failed
        #: Held during an inference, and to exchange the engine.
        self._in_use = threading.Lock()
        #: The request that was served before, and whether its engine was a fallback.
        self._previous: tuple[EngineRequest, bool] | None = None
        #: Guards the engine in service and the next one. Taken after ``_in_use``, if both are.
        self._planning = threading.Lock()
        self._engine: Engine | None = None
        self._next: Engine | None = None
        self._preparation: PreparationThread | None = None
        self._started: list[PreparationThread] = []

    @property
    def engine(self) -> Engine | None:
        """The engine in service."""
        return self._engine

    @property
    def target_request(self) -> EngineRequest:
        """The request in preparation, or else the one in service."""
        with self._planning:
            if self._preparation is not None:
                return self._preparation.request
            engine = self._next or self._engine
        assert engine is not None
        return engine.request

    @property
    def preparation(self) -> PreparationStatus | None:
        """The status of the preparation, None without one."""
        with self._planning:
            return None if self._preparation is None else self._preparation.status()

    def open(self, request: EngineRequest, *, allow_fallback: bool = True) -> None:
        """Put an engine into service; raises EdgeInferenceError where no engine can serve.

        If the requested engine does not exist yet or fails, ONNX Runtime serves while the
        server prepares the requested one in the background. Without ``allow_fallback`` this
        method waits for the requested engine and raises its error.
        """
        if not allow_fallback:
            self._put_into_service(self._prepare_and_open(request, _ignore, _never))
            return
        try:
            selection = select_backend(request, self._cache)
        except BackendError as error:
            self._put_into_service(self._open_fallback(request, error))
            self._report(error)
            return
        if selection.backend is None:
            self._put_into_service(self._open_fallback(request, None))
            self.switch(request)
            return
        try:
            engine = self._open_and_check(selection)
        except EdgeInferenceError as error:
            self._put_into_service(self._open_fallback(request, error))
            self._report(error)
            if isinstance(error, EngineFileError):  # a rebuilt file may open
                self.switch(request)
            return
        self._put_into_service(engine)

    def switch(self, request: EngineRequest) -> None:
        """Prepare another engine in the background and put it into service; returns at once.

        A switch that is under way is cancelled.
        """
        preparation = PreparationThread(
            request, self._prepare_and_open, self._on_prepared, self._on_preparation_error
        )
        self._replace_preparation(preparation)
        preparation.start()

    def keep(self, engine: Engine) -> bool:
        """Cancel the switch that is under way, so that this engine stays in service.

        Returns False where the engine is no longer in service.
        """
        return self._replace_preparation(None, only_if_serving=engine)

    def run(self, work: Callable[[Engine], Result]) -> Result:
        """Call ``work`` with the engine in service and return its result.

        If the engine fails (BackendError), the server takes it out of service and repeats the
        work on the previous engine, or on ONNX Runtime. The error passes through only where
        neither is available.
        """
        with self._in_use:
            self._exchange()
            assert self._engine is not None
            try:
                return work(self._engine)
            except BackendError as error:
                if not self._exchange():  # the next engine may be ready by now
                    self._roll_back(error)
                self._report(error)
                return work(self._engine)

    def close(self) -> None:
        """Cancel the preparation and free everything."""
        self._replace_preparation(None)
        for preparation in self._started:
            preparation.join()
        with self._in_use, self._planning:
            engine, self._engine = self._engine, None
        if engine is not None:
            engine.backend.close()

    def _open_fallback(self, request: EngineRequest, cause: EdgeInferenceError | None) -> Engine:
        """Open ONNX Runtime instead; where that fails too, raise ``cause``, if any."""
        try:
            opened = self._open_and_check(select_backend(fallback(request), self._cache))
            return replace(opened, is_fallback=True)
        except EdgeInferenceError as error:
            raise cause or error from error

    def _replace_preparation(
        self, preparation: PreparationThread | None, only_if_serving: Engine | None = None
    ) -> bool:
        """Cancel the current preparation and set another one.

        With ``only_if_serving`` nothing happens, and the result is False, unless that engine is
        in service.
        """
        with self._planning:
            if only_if_serving not in (None, self._engine):
                return False
            cancelled, self._preparation = self._preparation, preparation
            unused, self._next = self._next, None
            self._started = [each for each in self._started if each.is_running()]
            if preparation is not None:
                self._started.append(preparation)
        if cancelled is not None:
            cancelled.cancel()
        if unused is not None:
            unused.backend.close()
        return True

    # In the preparation's thread ----------------------------------------------------------------

    def _on_prepared(self, preparation: PreparationThread, engine: Engine) -> None:
        """Hand over a finished engine; this thread or the next ``run`` exchanges it."""
        with self._planning:
            is_current = self._preparation is preparation
            if is_current:
                self._preparation, self._next = None, engine
        if not is_current:
            engine.backend.close()
            return
        with self._in_use:
            try:
                self._exchange()
            except BaseException as error:  # a callback failed; the engine is in service
                self._report(BackendError(format_error(error)))

    def _on_preparation_error(
        self, preparation: PreparationThread, error: EdgeInferenceError
    ) -> None:
        with self._planning:
            if self._preparation is not preparation:
                return
            self._preparation = None
        self._report(error)

    def _prepare_and_open(
        self, request: EngineRequest, progress: Progress, cancelled: Cancelled
    ) -> Engine:
        """Make a missing file and open the engine; an unusable file is rebuilt once."""
        selection = select_backend(request, self._cache)
        if selection.backend is not None:
            progress("opening", None)
            try:
                return self._open_and_check(selection, cancelled)
            except EngineFileError:
                if not selection.artifact.discard(self._cache):
                    raise
        prepare_in_child(request, self._cache, progress, cancelled)
        progress("opening", None)
        selection = select_backend(request, self._cache)
        if selection.backend is None:
            raise BackendError(selection.damaged or f"{selection.reason}: nothing was made")
        return self._open_and_check(selection, cancelled)

    def _open_and_check(self, selection: Selection, cancelled: Cancelled = _never) -> Engine:
        backend = selection.backend
        assert backend is not None
        if cancelled():
            raise CancelledError(f"{selection.request.model.name}: cancelled")
        backend.open()
        try:
            notes = run_at_low_priority(lambda: self._check(selection, backend, cancelled))
        except BaseException:
            backend.close()
            raise
        return Engine(selection.request, selection, backend, notes)

    # With the engine in use ---------------------------------------------------------------------

    def _put_into_service(self, engine: Engine) -> None:
        with self._in_use:
            self._exchange(engine)

    def _exchange(self, engine: Engine | None = None) -> bool:
        """Put an engine, by default the next one, into service; False where there is none."""
        with self._planning:
            if engine is None:
                engine, self._next = self._next, None
            if engine is None:
                return False
            old, self._engine = self._engine, engine
        try:
            self._on_changed(engine)
        finally:
            if old is not None:
                self._previous = (old.request, old.is_fallback)
                old.backend.close()
        return True

    def _roll_back(self, error: BackendError) -> None:
        """Put the previous engine or ONNX Runtime into service; raise ``error`` without either."""
        failing = self._engine
        assert failing is not None
        for candidate in (self._previous, (fallback(failing.request), True)):
            if candidate is None or candidate[0].model.folder != failing.request.model.folder:
                continue
            try:
                selection = select_backend(candidate[0], self._cache)
                if _is_same_engine(selection, failing.selection) or selection.backend is None:
                    continue
                backend = selection.backend.open()
            except EdgeInferenceError:
                continue  # try the next candidate; without one the first error is raised
            self._exchange(Engine(candidate[0], selection, backend, is_fallback=candidate[1]))
            self._previous = None
            return
        raise error

    def _report(self, error: EdgeInferenceError) -> None:
        assert self._engine is not None
        self._on_failed(error, self._engine)


def _is_same_engine(one: Selection, other: Selection) -> bool:
    """Tell whether both selections run the same file with the same settings."""
    requests = [
        replace(each.request, model=one.request.model, backend="", precision="")
        for each in (one, other)
    ]
    return (one.name, one.precision, requests[0]) == (other.name, other.precision, requests[1])


def _ignore(phase: str, fraction: float | None) -> None:
    """Ignore progress."""
