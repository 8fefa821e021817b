"""An engine server with fake selection and builds, and a record of its callbacks."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from edge_inference.backends.base import Backend, TensorSpec
from edge_inference.backends.null import NullBackend
from edge_inference.core.models.model import ModelDescription
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.cache.artifacts import ShippedFile
from edge_inference.engines.serving.backend_table import EngineRequest
from edge_inference.engines.serving.engine import Engine
from edge_inference.engines.serving.selection import Selection
from edge_inference.engines.serving.server import EngineFailure, EngineServer
from edge_inference.errors import CancelledError, EdgeInferenceError

DEADLINE_S = 20.0
X = TensorSpec("x", np.dtype(np.float32), (1,))
ONE = {"x": np.ones(1, np.float32)}


class FakeEngines:
    """Replaces the selection and building of engines; counts the engines."""

    def __init__(self, model: ModelDescription) -> None:
        self.model = model
        self.missing: set[str] = set()
        #: Files in the model folder: they cannot be made again.
        self.shipped: set[str] = set()
        self.impossible: dict[str, EdgeInferenceError] = {}
        self.broken_run: dict[str, EdgeInferenceError] = {}
        self.broken_open: dict[str, EdgeInferenceError] = {}
        self.broken_close: dict[str, EdgeInferenceError] = {}
        self.drifting: dict[str, EdgeInferenceError] = {}
        self.unbuildable: dict[str, EdgeInferenceError] = {}
        self.checks_until_cancelled: set[str] = set()
        self.checking = threading.Event()
        self.discarded: list[str] = []
        self.making = threading.Event()
        self.may_finish = threading.Event()
        self.may_finish.set()
        self.made: list[str] = []
        self.backends: list[Backend] = []

    def request(self, precision: str, backend: str = "ort") -> EngineRequest:
        return EngineRequest(self.model, backend, precision)

    def select(self, request: EngineRequest, cache: ArtifactCache) -> Selection:
        precision = "fp32" if request.precision == "auto" else request.precision
        if precision in self.impossible:
            raise self.impossible[precision]
        backend = None
        if precision not in self.missing:
            backend = _Numbered(precision, self)
            self.backends.append(backend)
        artifact = _Artifact(self.model.variants["fp32"], engines=self, precision=precision)
        return Selection(request, request.backend, precision, "why", artifact, backend)

    def make(
        self, request: EngineRequest, cache: ArtifactCache, progress: Any, cancelled: Any
    ) -> None:
        progress("building", 0.5)
        self.making.set()
        while not self.may_finish.wait(0.01):
            if cancelled():
                raise CancelledError("cancelled")
        if request.precision in self.unbuildable:
            raise self.unbuildable[request.precision]
        self.made.append(request.precision)
        self.missing.discard(request.precision)
        self.broken_open.pop(request.precision, None)

    def check(self, selection: Selection, backend: Backend, cancelled: Any) -> Mapping[str, str]:
        if selection.precision in self.drifting:
            raise self.drifting[selection.precision]
        if selection.precision in self.checks_until_cancelled:
            self.checking.set()
            until(cancelled)
            raise CancelledError("cancelled")
        return {"self-check": "fine"}

    def open_backends(self) -> list[str]:
        return [each.precision for each in self.backends if each._is_open]  # type: ignore[attr-defined]


class _Numbered(NullBackend):
    """Returns its precision as a number, unless it must fail."""

    def __init__(self, precision: str, engines: FakeEngines) -> None:
        super().__init__((X,), (X,), self._answer)
        self.precision = self.precision_in_use = precision
        self._engines = engines

    def _open(self) -> Any:
        if self.precision in self._engines.broken_open:
            raise self._engines.broken_open[self.precision]
        return super()._open()

    def _close(self) -> None:
        super()._close()
        if self.precision in self._engines.broken_close:
            raise self._engines.broken_close[self.precision]

    def _answer(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        if self.precision in self._engines.broken_run:
            raise self._engines.broken_run[self.precision]
        return {"x": inputs["x"] * int(self.precision[-2:].strip("tp"))}


@dataclasses.dataclass(frozen=True)
class _Artifact(ShippedFile):
    engines: Any = None
    precision: str = ""

    def discard(self, cache: ArtifactCache) -> bool:
        if self.precision in self.engines.shipped:
            return False
        self.engines.discarded.append(self.precision)
        self.engines.missing.add(self.precision)
        return True


class CallbackRecorder:
    """Records the callbacks of the server, and waits for them."""

    def __init__(self) -> None:
        self.server: EngineServer | None = None
        self.changes: list[str] = []
        self.failures: list[tuple[str, str]] = []
        self.failed_requests: list[str | None] = []
        self._told = threading.Condition()

    def changed(self, engine: Engine) -> None:
        with self._told:
            self.changes.append(engine.precision)
            self._told.notify_all()

    def failed(self, failure: EngineFailure) -> None:
        with self._told:
            assert self.server is not None and self.server.engine is not None
            self.failures.append((str(failure.error), self.server.engine.precision))
            request = failure.request
            self.failed_requests.append(None if request is None else request.precision)
            self._told.notify_all()

    def wait_for(self, true: Callable[[], bool]) -> None:
        with self._told:
            assert self._told.wait_for(true, DEADLINE_S), (self.changes, self.failures)


class CountingLock:
    """A lock that counts the threads that wait for it, and can hold preparations back."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._is_held = False
        self._is_holding_back = False
        self._waiting = 0

    def __enter__(self) -> None:
        is_preparation = threading.current_thread().name == "engine switch"

        def is_free() -> bool:
            return not self._is_held and not (is_preparation and self._is_holding_back)

        with self._changed:
            self._waiting += 1
            assert self._changed.wait_for(is_free, DEADLINE_S)
            self._waiting -= 1
            self._is_held = True

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._is_held = False
            self._changed.notify_all()

    def hold_back(self, is_holding_back: bool) -> None:
        """Let preparations wait although nothing holds the lock, or no longer."""
        with self._changed:
            self._is_holding_back = is_holding_back
            self._changed.notify_all()

    def blocked(self) -> int | None:
        """Return how many threads wait; None while one of them is about to go on."""
        with self._changed:
            is_closed = self._is_held or self._is_holding_back or not self._waiting
            return self._waiting if is_closed else None


def until(true: Callable[[], bool]) -> None:
    """Wait for a condition without a callback."""
    end = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < end
        threading.Event().wait(0.002)


def answer(server: EngineServer) -> float:
    return float(server.run(lambda engine: engine.backend.infer(ONE))["x"][0])
