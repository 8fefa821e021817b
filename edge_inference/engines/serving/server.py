"""Keeps a model served while its engine is built, exchanged, or fails.

There is always one engine in service. Another one is made, opened and checked
in the background and takes over between two inferences; until then, and where
that fails, the one in service goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from edge_inference.backends.base import Backend
from edge_inference.core.runtime.worker import format_error
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.cache.artifacts import Cancelled, PreparationCancelledError, Progress
from edge_inference.engines.serving.background import Background, Preparation, at_low_priority
from edge_inference.engines.serving.preparation import prepare_beside
from edge_inference.engines.serving.selection import (
    EngineRequest,
    Selection,
    fallback,
    select_backend,
)
from edge_inference.errors import BackendError, EdgeInferenceError, EngineFileError

Result = TypeVar("Result")


@dataclass(frozen=True)
class Engine:
    """An opened engine, the request that it serves, and what its checks found.

    A fallback serves until what was asked for is ready.
    """

    request: EngineRequest
    selection: Selection
    backend: Backend
    notes: Mapping[str, str] = field(default_factory=dict)
    is_fallback: bool = False

    @property
    def precision(self) -> str:
        """What really computes, as far as the engine tells."""
        return self.backend.precision_in_use or self.selection.precision

    def facts(self) -> dict[str, str]:
        """Return what to show people about it."""
        return {
            "model": self.request.model.name,
            "backend": self.backend.describe(),
            "precision": self.precision,
            "reason": self.selection.reason,
            **self.notes,
        }


#: Checks an opened engine and returns facts to show; raises EdgeInferenceError to refuse it,
#: and PreparationCancelledError soon after it may stop.
Check = Callable[[Selection, Backend, Cancelled], Mapping[str, str]]


def _never() -> bool:
    return False


class EngineServer:
    """Serves one model.

    ``changed`` is called with the engine that has just been put into service,
    before its first inference. ``failed`` is called with the reason when what
    was asked for cannot be served, and with the engine that serves instead.
    Both run in the thread where it happens and must not call ``run`` or ``close``.
    """

    def __init__(
        self,
        cache: ArtifactCache,
        check: Check,
        changed: Callable[[Engine], None],
        failed: Callable[[EdgeInferenceError, Engine], None],
    ) -> None:
        self._cache = cache
        self._check = check
        self._changed = changed
        self._failed = failed
        #: Held during an inference, and to exchange the engine.
        self._in_use = threading.Lock()
        #: What was in service before, and whether that was a fallback.
        self._before: tuple[EngineRequest, bool] | None = None
        #: Guards what is in service and what is going to be. Taken after ``_in_use``, if both are.
        self._planning = threading.Lock()
        self._engine: Engine | None = None
        self._next: Engine | None = None
        self._preparation: Background[Engine] | None = None
        self._started: list[Background[Engine]] = []

    @property
    def engine(self) -> Engine | None:
        """The engine in service."""
        return self._engine

    @property
    def aim(self) -> EngineRequest:
        """What is served, or is going to be."""
        with self._planning:
            if self._preparation is not None:
                return self._preparation.request
            engine = self._next or self._engine
        assert engine is not None
        return engine.request

    @property
    def preparation(self) -> Preparation | None:
        """What is being made ready, None where nothing is."""
        with self._planning:
            return None if self._preparation is None else self._preparation.state()

    def open(self, request: EngineRequest, *, may_fall_back: bool = True) -> None:
        """Put an engine into service; raises EdgeInferenceError where none can be.

        Where what is asked for has to be made first, or fails, ONNX Runtime serves
        and the wanted engine is made in the background. Without ``may_fall_back``
        this waits until it is made, and raises where it fails.
        """
        if not may_fall_back:
            self._put_into_service(self._made_and_opened(request, _ignore, _never))
            return
        try:
            selection = select_backend(request, self._cache)
        except BackendError as problem:
            self._put_into_service(self._substitute(request, problem))
            self._report(problem)
            return
        if selection.backend is None:
            self._put_into_service(self._substitute(request, None))
            self.switch(request)
            return
        try:
            engine = self._opened(selection)
        except EdgeInferenceError as problem:
            self._put_into_service(self._substitute(request, problem))
            self._report(problem)
            if isinstance(problem, EngineFileError):  # made anew, it may open
                self.switch(request)
            return
        self._put_into_service(engine)

    def switch(self, request: EngineRequest) -> None:
        """Make another engine ready in the background and put it into service; returns at once.

        A switch that is still under way is given up.
        """
        background = Background(request, self._made_and_opened, self._deliver, self._give_up)
        self._plan(background)
        background.start()

    def keep(self, engine: Engine) -> bool:
        """Give up the switch that is under way, if any, so that this engine stays in service.

        False where it is in service no more.
        """
        return self._plan(None, only_with=engine)

    def run(self, work: Callable[[Engine], Result]) -> Result:
        """Do one piece of work on the engine in service.

        An engine that fails (BackendError) is taken out of service, and the work is
        done on the one before it, or on ONNX Runtime; only where that is not to be
        had does the error pass through.
        """
        with self._in_use:
            self._exchange()
            assert self._engine is not None
            try:
                return work(self._engine)
            except BackendError as error:
                if not self._exchange():  # the next one may have come meanwhile
                    self._roll_back(error)
                self._report(error)
                return work(self._engine)

    def close(self) -> None:
        """End the preparation and free everything."""
        self._plan(None)
        for background in self._started:
            background.join()
        with self._in_use, self._planning:
            engine, self._engine = self._engine, None
        if engine is not None:
            engine.backend.close()

    def _substitute(self, request: EngineRequest, problem: EdgeInferenceError | None) -> Engine:
        """Open ONNX Runtime instead; where that fails too, the first problem tells why."""
        try:
            opened = self._opened(select_backend(fallback(request), self._cache))
            return replace(opened, is_fallback=True)
        except EdgeInferenceError as error:
            raise problem or error from error

    def _plan(self, background: Background[Engine] | None, only_with: Engine | None = None) -> bool:
        """Replace the plan, and give up the one before; ``only_with`` that engine in service."""
        with self._planning:
            if only_with not in (None, self._engine):
                return False
            given_up, self._preparation = self._preparation, background
            unused, self._next = self._next, None
            self._started = [each for each in self._started if each.is_running()]
            if background is not None:
                self._started.append(background)
        if given_up is not None:
            given_up.cancel()
        if unused is not None:
            unused.backend.close()
        return True

    # In the background --------------------------------------------------------------------------

    def _deliver(self, background: Background[Engine], engine: Engine) -> None:
        """Hand over a finished engine; whoever is first exchanges it, the worker or we."""
        with self._planning:
            is_wanted = self._preparation is background
            if is_wanted:
                self._preparation, self._next = None, engine
        if not is_wanted:
            engine.backend.close()
            return
        with self._in_use:
            try:
                self._exchange()
            except BaseException as error:  # it serves all the same
                self._report(BackendError(format_error(error)))

    def _give_up(self, background: Background[Engine], error: EdgeInferenceError) -> None:
        with self._planning:
            if self._preparation is not background:
                return
            self._preparation = None
        self._report(error)

    def _made_and_opened(
        self, request: EngineRequest, progress: Progress, cancelled: Cancelled
    ) -> Engine:
        """Make what is missing and open it; a file that cannot be used is made anew once."""
        selection = select_backend(request, self._cache)
        if selection.backend is not None:
            progress("opening", None)
            try:
                return self._opened(selection, cancelled)
            except EngineFileError:
                if not selection.artifact.discard(self._cache):
                    raise
        prepare_beside(request, self._cache, progress, cancelled)
        progress("opening", None)
        selection = select_backend(request, self._cache)
        if selection.backend is None:
            raise BackendError(selection.damaged or f"{selection.reason}: nothing was made")
        return self._opened(selection, cancelled)

    def _opened(self, selection: Selection, cancelled: Cancelled = _never) -> Engine:
        backend = selection.backend
        assert backend is not None
        if cancelled():
            raise PreparationCancelledError(f"{selection.request.model.name}: cancelled")
        backend.open()
        try:
            notes = at_low_priority(lambda: self._check(selection, backend, cancelled))
        except BaseException:
            backend.close()
            raise
        return Engine(selection.request, selection, backend, notes)

    # With the engine in use ---------------------------------------------------------------------

    def _put_into_service(self, engine: Engine) -> None:
        with self._in_use:
            self._exchange(engine)

    def _exchange(self, engine: Engine | None = None) -> bool:
        """Put an engine into service, without one the next; False where there is none."""
        with self._planning:
            if engine is None:
                engine, self._next = self._next, None
            if engine is None:
                return False
            old, self._engine = self._engine, engine
        try:
            self._changed(engine)
        finally:
            if old is not None:
                self._before = (old.request, old.is_fallback)
                old.backend.close()
        return True

    def _roll_back(self, error: BackendError) -> None:
        failing = self._engine
        assert failing is not None
        for before in (self._before, (fallback(failing.request), True)):
            if before is None or before[0].model.folder != failing.request.model.folder:
                continue
            try:
                selection = select_backend(before[0], self._cache)
                if _same(selection, failing.selection) or selection.backend is None:
                    continue
                backend = selection.backend.open()
            except EdgeInferenceError:
                continue  # the one below it is tried; where none is left, the first error tells
            self._exchange(Engine(before[0], selection, backend, is_fallback=before[1]))
            self._before = None
            return
        raise error

    def _report(self, error: EdgeInferenceError) -> None:
        assert self._engine is not None
        self._failed(error, self._engine)


def _same(one: Selection, other: Selection) -> bool:
    """Tell whether both run the same thing in the same way."""
    requests = [
        replace(each.request, model=one.request.model, backend="", precision="", origin=None)
        for each in (one, other)
    ]
    return (one.name, one.precision, requests[0]) == (other.name, other.precision, requests[1])


def _ignore(phase: str, fraction: float | None) -> None:
    """Show progress to nobody."""
