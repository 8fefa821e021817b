"""Keeps a model in service while its engine is built, exchanged, or fails.

One engine is always in service. The server prepares, opens and checks the engine that was asked
for in the background and exchanges the two between two inferences. Until then, and if it fails,
the engine in service stays. ``service_states.py`` has the table of its states.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.serving.backend_table import EngineRequest
from edge_inference.engines.serving.engine import Engine
from edge_inference.engines.serving.engine_opener import Check, EngineOpener
from edge_inference.engines.serving.preparation_thread import (
    PreparationStatus,
    PreparationThread,
)
from edge_inference.engines.serving.selection import (
    Selection,
    fallback,
)
from edge_inference.engines.serving.service_states import (
    Asker,
    RequestState,
    ServiceEvent,
    ServiceState,
    ServiceStateMachine,
)
from edge_inference.errors import BackendError, CancelledError, EdgeInferenceError, EngineFileError

Result = TypeVar("Result")


def _never() -> bool:
    return False


@dataclass(frozen=True)
class EngineFailure:
    """Why the server cannot serve ``request``.

    ``request`` is None where the server goes on with it: its file is built again, or what failed
    is a fallback, or the closing of an engine that does not serve any more.
    """

    error: EdgeInferenceError
    request: EngineRequest | None


class EngineServer:
    """Serves one model.

    The server calls ``on_changed`` with an engine that it has put into service, before the
    engine's first inference. It calls ``on_failed`` when it cannot serve a request. Both callbacks
    run in the thread in which the event happens; they must not raise an exception, and not call
    ``run`` or ``close``.
    """

    def __init__(
        self,
        cache: ArtifactCache,
        check: Check,
        on_changed: Callable[[Engine], None],
        on_failed: Callable[[EngineFailure], None],
    ) -> None:
        self._opener = EngineOpener(cache, check)
        self._on_changed = on_changed
        self._on_failed = on_failed
        #: Held during an inference, and to exchange the engine.
        self._in_use = threading.Lock()
        #: The request that was served before, and whether its engine was a fallback.
        self._previous: tuple[EngineRequest, bool] | None = None
        #: Guards the states and the engines. Taken after ``_in_use``, if both are.
        self._planning = threading.Lock()
        self._states = ServiceStateMachine()
        self._engine: Engine | None = None
        self._ready: Engine | None = None
        self._preparation: PreparationThread | None = None
        self._started: list[PreparationThread] = []
        self._is_closed = False

    @property
    def state(self) -> ServiceState:
        """The state, as in the table."""
        return self._states.state

    @property
    def engine(self) -> Engine | None:
        """The engine in service."""
        return self._engine

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
        self._handle(ServiceEvent.ASKED_BY_USER)
        try:
            if allow_fallback:
                self._open_or_fall_back(request)
            else:
                self._put_first(
                    self._opener.make_and_open(
                        request, _ignore, _never, self._handle, self._report_damage
                    )
                )
        except BaseException:
            with self._planning:
                if self._engine is None and self.state.request is not RequestState.FAILED:
                    self._states.handle(ServiceEvent.REFUSED)
            raise

    def ask(self, request: EngineRequest, asker: Asker) -> bool:
        """Serve another request: prepare its engine in the background; returns at once.

        Whatever else is under way is cancelled. Returns False where the request is already under
        way, or in service with nothing else under way, and from ``close`` on. An engine that is
        asked for again belongs to the latest request.
        """
        preparation = PreparationThread(
            request, asker, self._prepare, self._on_prepared, self._on_refused
        )
        with self._planning:
            engine = self._engine
            if self._is_closed or engine is None or self._hand_over(request, asker):
                return False
            is_served = not engine.is_fallback and request.is_same(engine.request)
            if is_served:
                self._engine = replace(engine, request=request)
                if self._preparation is None and self._ready is None:
                    return False
            dropped = self._drop_under_way()
            if is_served:
                self._states.handle(ServiceEvent.CANCELLED)
            else:
                self._states.handle(asker.value)
                self._preparation = preparation
                self._started.append(preparation)
                preparation.start()
        self._end(*dropped)
        return True

    def _hand_over(self, request: EngineRequest, asker: Asker) -> bool:
        """Let what is under way belong to this request; False where it is not the same."""
        if self._preparation is not None and request.is_same(self._preparation.request):
            self._preparation.request, self._preparation.asker = request, asker
            return True
        if self._ready is not None and request.is_same(self._ready.request):
            self._ready = replace(self._ready, request=request)
            return True
        return False

    def cancel(self) -> None:
        """Cancel what is under way, so that what serves stays."""
        with self._planning:
            if self._preparation is None and self._ready is None:
                return
            dropped = self._drop_under_way()
            self._states.handle(ServiceEvent.CANCELLED)
        self._end(*dropped)

    def run(self, work: Callable[[Engine], Result]) -> Result:
        """Call ``work`` with the engine in service and return its result.

        If the engine fails (BackendError), the server takes it out of service and repeats the
        work on the engine that is ready, on the previous engine, and on ONNX Runtime, until one
        does it. The error passes through only where none of them does.
        """
        with self._in_use:
            self._exchange_ready()
            while True:
                assert self._engine is not None
                try:
                    return work(self._engine)
                except BackendError as error:
                    failing = self._engine  # its request may be another one by now
                    if not self._exchange_ready():
                        self._roll_back(failing, error)
                    self._previous = None  # it is the engine that failed, or was tried just now
                    self._report(error, None if failing.is_fallback else failing.request)

    def close(self) -> None:
        """Cancel what is under way and free everything; the server does not open again."""
        with self._planning:
            self._is_closed = True
            dropped = self._drop_under_way()
        self._end(*dropped)
        for preparation in self._started:
            preparation.join()
        with self._in_use, self._planning:
            engine, self._engine = self._engine, None
            self._states.handle(ServiceEvent.CLOSED)
        if engine is not None:
            self._free(engine)

    def _open_or_fall_back(self, request: EngineRequest) -> None:
        try:
            selection = self._opener.select(request)
        except BackendError as error:
            self._open_fallback(request, error)
            return
        if selection.backend is None:
            self._open_fallback(request, None)
            self.ask(request, Asker.USER)
            return
        self._handle(ServiceEvent.CHECK_BEGAN)
        try:
            engine = self._opener.open_and_check(selection, _never)
        except EdgeInferenceError as error:
            self._open_fallback(request, error)
            if isinstance(error, EngineFileError):  # a rebuilt file may open
                self.ask(request, Asker.USER)
            return
        self._put_first(engine)

    def _open_fallback(self, request: EngineRequest, cause: EdgeInferenceError | None) -> None:
        """Put ONNX Runtime into service instead; raise ``cause``, if any, where that fails too."""
        if cause is not None:
            self._handle(ServiceEvent.REFUSED)
        try:
            opened = self._opener.open_and_check(self._opener.select(fallback(request)), _never)
        except EdgeInferenceError as error:
            raise cause or error from error
        with self._in_use:
            self._put(replace(opened, is_fallback=True), ServiceEvent.FALLBACK_OPENED)
        if cause is not None:
            # An unusable file is built again.
            self._report(cause, None if isinstance(cause, EngineFileError) else request)

    def _drop_under_way(self) -> tuple[PreparationThread | None, Engine | None]:
        """Forget what is under way and return it, for ``_end`` without the lock."""
        dropped = self._preparation, self._ready
        self._preparation = self._ready = None
        self._started = [each for each in self._started if each.is_running()]
        return dropped

    def _end(self, preparation: PreparationThread | None, engine: Engine | None) -> None:
        """Cancel a preparation, and free an engine that was ready."""
        if preparation is not None:
            preparation.cancel()
        if engine is not None:
            self._free(engine)

    def _free(self, engine: Engine) -> None:
        """Close an engine that does not serve any more; what serves instead goes on."""
        try:
            engine.backend.close()
        except EdgeInferenceError as error:
            self._report(error, None)

    def _handle(self, event: ServiceEvent) -> None:
        with self._planning:
            self._states.handle(event)

    # In the preparation's thread ----------------------------------------------------------------

    def _prepare(self, preparation: PreparationThread) -> Engine:
        def advance(event: ServiceEvent) -> None:
            with self._planning:
                if self._preparation is not preparation:
                    raise CancelledError(f"{preparation.request.model.name}: cancelled")
                self._states.handle(event)

        return self._opener.make_and_open(
            preparation.request,
            preparation.set_progress,
            preparation.is_cancelled,
            advance,
            self._report_damage,
        )

    def _on_prepared(self, preparation: PreparationThread, engine: Engine) -> None:
        """Hand over a finished engine; this thread or the next ``run`` exchanges it."""
        with self._planning:
            is_current = self._preparation is preparation
            if is_current:
                engine = replace(engine, request=preparation.request)
                self._preparation, self._ready = None, engine
                self._states.handle(ServiceEvent.PASSED)
        if not is_current:
            self._free(engine)
            return
        with self._in_use:
            self._exchange_ready()

    def _on_refused(self, preparation: PreparationThread, error: EdgeInferenceError) -> None:
        with self._planning:
            if self._preparation is not preparation:
                return
            self._preparation = None
            self._states.handle(ServiceEvent.REFUSED)
        self._report(error, preparation.request)

    # With the engine in use ---------------------------------------------------------------------

    def _put_first(self, engine: Engine) -> None:
        """Put the first engine into service."""
        with self._planning:
            self._ready = engine
            self._states.handle(ServiceEvent.PASSED)
        with self._in_use:
            self._exchange_ready()

    def _exchange_ready(self) -> bool:
        """Put the engine that is ready into service; False where there is none."""
        with self._planning:
            engine, self._ready = self._ready, None
            if engine is None:
                return False
            old = self._replace(engine, ServiceEvent.EXCHANGED)
        self._retire(old, engine)
        return True

    def _put(self, engine: Engine, event: ServiceEvent) -> None:
        with self._planning:
            old = self._replace(engine, event)
        self._retire(old, engine)

    def _replace(self, engine: Engine, event: ServiceEvent) -> Engine | None:
        self._states.handle(event)
        old, self._engine = self._engine, engine
        return old

    def _retire(self, old: Engine | None, engine: Engine) -> None:
        self._on_changed(engine)
        if old is not None:
            self._previous = (old.request, old.is_fallback)
            self._free(old)

    def _roll_back(self, failing: Engine, error: BackendError) -> None:
        """Put the previous engine or ONNX Runtime into service; raise ``error`` without either."""
        for candidate in (self._previous, (fallback(failing.request), True)):
            if candidate is None or candidate[0].model.folder != failing.request.model.folder:
                continue
            request, is_fallback = candidate
            try:
                selection = self._opener.select(request)
                if _is_same_engine(selection, failing.selection) or selection.backend is None:
                    continue
                backend = selection.backend.open()
            except EdgeInferenceError:
                continue  # try the next candidate; without one the first error is raised
            event = ServiceEvent.FELL_BACK if is_fallback else ServiceEvent.ROLLED_BACK
            self._put(Engine(request, selection, backend, is_fallback=is_fallback), event)
            return
        raise error

    def _report_damage(self, error: EdgeInferenceError) -> None:
        self._report(error, None)

    def _report(self, error: EdgeInferenceError, request: EngineRequest | None) -> None:
        self._on_failed(EngineFailure(error, request))


def _is_same_engine(one: Selection, other: Selection) -> bool:
    """Tell whether both selections run the same file with the same settings."""
    requests = [
        replace(each.request, model=one.request.model, backend="", precision="")
        for each in (one, other)
    ]
    return (one.name, one.precision, requests[0]) == (other.name, other.precision, requests[1])


def _ignore(phase: str, fraction: float | None) -> None:
    """Ignore progress."""
