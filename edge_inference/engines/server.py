"""Keeps a model served while its engine is built, exchanged, or fails.

There is always one engine in service. Another one is made, opened and checked
in the background and takes over between two inferences; until then, and where
that fails, the one in service goes on.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from edge_inference.backends.base import Backend
from edge_inference.engines.preparation import PreparationCancelledError, prepare_beside
from edge_inference.engines.select import Request, Selection, select_backend, stand_in
from edge_inference.engines.store import Store
from edge_inference.errors import BackendError, EdgeInferenceError, EngineFileError

Result = TypeVar("Result")

_BACKGROUND_PRIORITY = 10


@dataclass(frozen=True)
class Engine:
    """An opened engine, the request that it serves, and what its checks found.

    A stand-in serves until what was asked for is ready.
    """

    request: Request
    selection: Selection
    backend: Backend
    notes: Mapping[str, str] = field(default_factory=dict)
    is_stand_in: bool = False

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


@dataclass(frozen=True)
class Preparation:
    """What is being made ready, and how far: ``fraction`` is None where nobody knows."""

    request: Request
    phase: str
    fraction: float | None

    def words(self) -> str:
        """Say it in a few words."""
        what = f"{self.request.model.name}, {self.request.backend}, {self.request.precision}"
        share = "" if self.fraction is None else f" {self.fraction:.0%}"
        return f"{what}: {self.phase}{share}"


#: Checks an opened engine and returns facts to show; raises EdgeInferenceError to refuse it.
Check = Callable[[Selection, Backend], Mapping[str, str]]


class EngineServer:
    """Serves one model.

    ``changed`` is called with the engine that has just been put into service,
    before its first inference. ``failed`` is called with the reason when what
    was asked for cannot be served, and with the engine that serves instead.
    Both run in the thread where it happens and must not call back.
    """

    def __init__(
        self,
        store: Store,
        check: Check,
        changed: Callable[[Engine], None],
        failed: Callable[[EdgeInferenceError, Engine], None],
    ) -> None:
        self._store = store
        self._check = check
        self._changed = changed
        self._failed = failed
        #: Held during an inference, and to exchange the engine.
        self._in_use = threading.Lock()
        self._engine: Engine | None = None
        self._next: Engine | None = None
        self._before: Request | None = None
        #: Guards what is about the preparation.
        self._planning = threading.Lock()
        self._preparation: _Background | None = None
        self._given_up: list[_Background] = []

    @property
    def engine(self) -> Engine | None:
        """The engine in service."""
        return self._engine

    @property
    def aim(self) -> Request:
        """What is served, or is going to be."""
        with self._planning:
            if self._preparation is not None:
                return self._preparation.request
        assert self._engine is not None
        return self._engine.request

    @property
    def preparation(self) -> Preparation | None:
        """What is being made ready, None where nothing is."""
        with self._planning:
            return None if self._preparation is None else self._preparation.state()

    def open(self, request: Request, *, may_stand_in: bool = True) -> None:
        """Put an engine into service; raises EdgeInferenceError where none can be.

        Where what is asked for has to be made first, or fails, ONNX Runtime serves
        and the wanted engine is made in the background. Without ``may_stand_in``
        this waits until it is made, and raises where it fails.
        """
        if not may_stand_in:
            self._put_into_service(self._made_and_opened(request, _ignore, _never))
            return
        try:
            selection = select_backend(request, self._store)
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

    def switch(self, request: Request) -> None:
        """Make another engine ready in the background and put it into service; returns at once.

        A switch that is still under way is given up.
        """
        background = _Background(self, request)
        self._plan(background)
        background.start()

    def keep(self) -> None:
        """Give up the switch that is under way, if any; the engine in service stays."""
        self._plan(None)

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
                self._roll_back(error)
                return work(self._engine)

    def close(self) -> None:
        """End the preparation and free everything."""
        self._plan(None)
        for background in self._given_up:
            background.join()
        with self._in_use:
            for engine in (self._next, self._engine):
                if engine is not None:
                    engine.backend.close()
            self._next = self._engine = None

    def _substitute(self, request: Request, problem: EdgeInferenceError | None) -> Engine:
        """Open ONNX Runtime instead; where that fails too, the first problem tells why."""
        try:
            opened = self._opened(select_backend(stand_in(request), self._store))
            return replace(opened, is_stand_in=True)
        except EdgeInferenceError as error:
            raise problem or error from error

    def _plan(self, background: _Background | None) -> None:
        """Replace the plan, and give up the one before."""
        with self._planning:
            given_up, self._preparation = self._preparation, background
            self._given_up = [each for each in self._given_up if each.is_running()]
            if given_up is not None:
                self._given_up.append(given_up)
        if given_up is not None:
            given_up.cancel()

    # In the background --------------------------------------------------------------------------

    def _deliver(self, background: _Background, engine: Engine) -> None:
        """Hand over a finished engine; whoever is first exchanges it, the worker or we."""
        with self._planning:
            is_wanted = self._preparation is background
            if is_wanted:
                self._preparation = None
                before, self._next = self._next, engine
        if not is_wanted:
            engine.backend.close()
            return
        if before is not None:
            before.backend.close()
        with self._in_use:
            self._exchange()

    def _give_up(self, background: _Background, error: EdgeInferenceError) -> None:
        with self._planning:
            if self._preparation is not background:
                return
            self._preparation = None
        self._report(error)

    def _made_and_opened(
        self,
        request: Request,
        progress: Callable[[str, float | None], None],
        cancelled: Callable[[], bool],
    ) -> Engine:
        """Make what is missing and open it; a file that cannot be used is made anew once."""
        selection = select_backend(request, self._store)
        if selection.backend is not None:
            progress("opening", None)
            try:
                return self._opened(selection)
            except EngineFileError:
                if not selection.recipe.discard(self._store):
                    raise
        prepare_beside(request, self._store, progress, cancelled)
        progress("opening", None)
        selection = select_backend(request, self._store)
        if selection.backend is None:
            raise BackendError(selection.damaged or f"{selection.reason}: nothing was made")
        return self._opened(selection)

    def _opened(self, selection: Selection) -> Engine:
        backend = selection.backend
        assert backend is not None
        backend.open()
        try:
            notes = _at_low_priority(lambda: self._check(selection, backend))
        except BaseException:
            backend.close()
            raise
        return Engine(selection.request, selection, backend, notes)

    # With the engine in use ---------------------------------------------------------------------

    def _put_into_service(self, engine: Engine) -> None:
        with self._in_use:
            self._next = engine
            self._exchange()

    def _exchange(self) -> None:
        engine, self._next = self._next, None
        if engine is None:
            return
        old, self._engine = self._engine, engine
        self._changed(engine)
        if old is not None:
            self._before = old.request
            old.backend.close()

    def _roll_back(self, error: BackendError) -> None:
        failing = self._engine
        assert failing is not None
        for request in (self._before, stand_in(failing.request)):
            if request is None or request.model is not failing.request.model:
                continue
            try:
                selection = select_backend(request, self._store)
                if _same(selection, failing.selection) or selection.backend is None:
                    continue
                backend = selection.backend.open()
            except EdgeInferenceError:
                continue  # the one below it is tried; where none is left, the first error tells
            self._next = Engine(selection.request, selection, backend)
            self._exchange()
            self._before = None
            self._report(error)
            return
        raise error

    def _report(self, error: EdgeInferenceError) -> None:
        assert self._engine is not None
        self._failed(error, self._engine)


class _Background:
    """One preparation in a thread of its own."""

    def __init__(self, server: EngineServer, request: Request) -> None:
        self._server = server
        self.request = request
        self._cancelled = threading.Event()
        self._said: tuple[str, float | None] = ("waiting", None)
        self._thread = threading.Thread(target=self._run, name="engine switch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def cancel(self) -> None:
        self._cancelled.set()

    def is_running(self) -> bool:
        return self._thread.is_alive()

    def join(self) -> None:
        self._thread.join()

    def state(self) -> Preparation:
        return Preparation(self.request, *self._said)

    def _run(self) -> None:
        try:
            engine = self._server._made_and_opened(self.request, self._say, self._cancelled.is_set)
        except PreparationCancelledError:
            return
        except EdgeInferenceError as error:
            self._server._give_up(self, error)
        except Exception as error:  # whatever a vendor's library raises: the old one goes on
            self._server._give_up(self, BackendError(f"{type(error).__name__}: {error}"))
        else:
            self._server._deliver(self, engine)

    def _say(self, phase: str, fraction: float | None) -> None:
        self._said = (phase, fraction)


def _same(one: Selection, other: Selection) -> bool:
    return (one.name, one.precision) == (other.name, other.precision)


def _never() -> bool:
    return False


def _ignore(phase: str, fraction: float | None) -> None:
    """Show progress to nobody."""


def _at_low_priority(function: Callable[[], Result]) -> Result:
    """Call a function in a thread that gives way to all others, and wait for it.

    In one of its own: a thread's priority can be lowered, but not raised again, and
    threads that an engine starts for itself inherit it.
    """
    results: list[Result] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _BACKGROUND_PRIORITY)
            results.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work, name="engine check", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
