"""An engine selector on fake engines whose preparations run step by step, as a test says."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_inference.backends.base import Backend
from edge_inference.core.directives.directive import DirectiveLimits
from edge_inference.core.models.model import ModelDescription
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.serving.backend_table import EngineRequest
from edge_inference.engines.serving.engine import Engine
from edge_inference.engines.serving.engine_selector import (
    EngineSelector,
    NotFasterError,
    PointList,
    PointRequest,
)
from edge_inference.engines.serving.selection import Selection
from edge_inference.engines.serving.server import EngineFailure
from edge_inference.engines.serving.service_states import (
    RequestState,
    Service,
    ServiceEvent,
    ServiceState,
    ServiceStateMachine,
)
from edge_inference.errors import BackendError, CancelledError, EdgeInferenceError, EngineFileError
from engine_server_fakes import DEADLINE_S, ONE, CountingLock, FakeEngines, answer

FREE, LOW = DirectiveLimits(), DirectiveLimits(precision_ceiling="int8")
NUMBERS = {"fp32": 32.0, "fp16": 16.0, "int8": 8.0}

Edge = tuple[ServiceState, ServiceEvent]


class RecordingMachine(ServiceStateMachine):
    """Records every edge."""

    def __init__(self, edges: set[Edge]) -> None:
        super().__init__()
        self.edges = edges

    def handle(self, event: ServiceEvent) -> None:
        """Change the state as always."""
        edge = (self.state, event)
        super().handle(event)
        self.edges.add(edge)


class SteppedEngines(FakeEngines):
    """Fake engines whose builds and checks pause until they are stepped."""

    def __init__(self, model: ModelDescription) -> None:
        super().__init__(model)
        self.paused: list[threading.Event] = []
        self.is_stepped = True
        #: Set once an engine serves; its own check does not pause.
        self.serves = False
        self.during_roll_back: Callable[[], None] = lambda: None
        #: Precisions that turn out to be no faster than the first point of their list.
        self.slower: set[str] = set()

    def pause(self) -> None:
        name = threading.current_thread().name
        if not self.is_stepped or not (name == "engine switch" or self.serves):
            return
        go = threading.Event()
        self.paused.append(go)
        assert go.wait(DEADLINE_S)

    def select(self, request: EngineRequest, cache: ArtifactCache) -> Selection:
        if threading.current_thread().name == "engine switch":
            self.pause()
        elif self.serves:
            self.during_roll_back()
        return super().select(request, cache)

    def make(
        self, request: EngineRequest, cache: ArtifactCache, progress: Any, cancelled: Any
    ) -> None:
        self.pause()
        super().make(request, cache, progress, cancelled)

    def check(self, selection: Selection, backend: Backend, cancelled: Any) -> Mapping[str, str]:
        self.pause()
        request = selection.request
        assert isinstance(request, PointRequest)
        index = request.points.find(request)
        if selection.precision in self.slower and index:
            if cancelled():
                raise CancelledError("cancelled")
            request.points.withdrawn[index] = "no faster"
            raise NotFasterError("no faster")
        return super().check(selection, backend, cancelled)


@dataclass(frozen=True)
class _Request(PointRequest):
    """The same as another one of the same point, as in the inference node: also a fallback's."""

    point: str = field(kw_only=True, compare=False)

    def is_same(self, other: EngineRequest) -> bool:
        return isinstance(other, _Request) and self.point == other.point


class _Points(PointList):
    def __init__(self, model: ModelDescription, precisions: Sequence[str]) -> None:
        requests = [_Request(model, "ort", each, points=self, point=each) for each in precisions]
        super().__init__(requests, precisions)


class ServiceRig:
    """Drives one selector. The user's lists are fp32, fp16 and int8, or a part of them.

    fp32 never fails: ONNX Runtime serves with it as the fallback.
    """

    def __init__(self, engines: SteppedEngines, folder: Path, edges: set[Edge]) -> None:
        self.engines = engines
        self.failures: list[EngineFailure] = []
        self.restored: list[PointList] = []
        #: Precisions that have failed since the user asked.
        self.given_up: set[str] = set()
        self.on_failure: Callable[[], None] = lambda: None
        self.on_changed: Callable[[], None] = lambda: None
        self._closing: threading.Thread | None = None
        self.served = 0
        self.selector: EngineSelector[PointList] = EngineSelector(
            ArtifactCache(folder),
            engines.check,
            self._on_changed,
            self._failed,
            lambda failed, points: self.restored.append(points),
            lambda is_new: None,
        )
        self.server = self.selector.server
        self.server._states = RecordingMachine(edges)
        self.lock = CountingLock()
        self.server._in_use = self.lock  # type: ignore[assignment]
        self._inference: threading.Thread | None = None
        self._answers: list[float] = []
        self._go_on = threading.Event()
        self._now_ns = 0

    def points(self, *precisions: str) -> PointList:
        """Return a list of the user, best first."""
        return _Points(self.engines.model, precisions)

    @property
    def precision(self) -> str:
        """The precision of the engine in service."""
        assert self.server.engine is not None
        return self.server.engine.precision

    def ask(self, *precisions: str) -> None:
        """Ask as the user."""
        self.given_up.clear()
        self.selector.ask(self.points(*precisions))

    def _failed(self, failure: EngineFailure) -> None:
        self.failures.append(failure)
        if failure.request is not None and not isinstance(failure.error, NotFasterError):
            self.given_up.add(failure.request.precision)
        self.on_failure()

    def close_later(self) -> None:
        """Close in another thread, and wait until it has begun."""
        self._closing = threading.Thread(target=self.server.close)
        self._closing.start()
        while not self.server._is_closed:
            time.sleep(0)

    def wait_until_closed(self) -> None:
        """Wait for the end of ``close_later``."""
        assert self._closing is not None
        self._closing.join(DEADLINE_S)

    def _on_changed(self, engine: Engine) -> None:
        assert engine.precision in NUMBERS
        self.engines.serves = True
        self.on_changed()

    # What can happen ---------------------------------------------------------------------------

    def open(self, *precisions: str, allow_fallback: bool = True) -> None:
        """Open the first of the user's points."""
        self.selector.open(self.points(*precisions), allow_fallback=allow_fallback)
        self.settle()

    def infer(self) -> None:
        """Run one inference; it gives the answer of an engine, whatever fails."""
        if self._inference is None:
            assert answer(self.server) in NUMBERS.values()
            self.served += 1
            self.check()

    def begin_inference(self) -> None:
        """Begin an inference that takes until ``end_inference``."""
        if self._inference is not None:
            return
        begun, self._go_on = threading.Event(), threading.Event()
        self._inference = threading.Thread(target=self._infer_slowly, args=(begun, self._go_on))
        self._inference.start()
        assert begun.wait(DEADLINE_S)

    def _infer_slowly(self, begun: threading.Event, go_on: threading.Event) -> None:
        def work(engine: Engine) -> float:
            begun.set()
            assert go_on.wait(DEADLINE_S)
            return float(engine.backend.infer(ONE)["x"][0])

        self._answers.append(self.server.run(work))

    def end_inference(self) -> None:
        """End it."""
        if self._inference is not None:
            self._go_on.set()
            self._inference.join(DEADLINE_S)
            self._inference = None
            assert self._answers.pop() in NUMBERS.values()
            self.served += 1
            self.settle()

    def load(self, demand_hz: float) -> None:
        """Let a demand last; every point takes 10 ms less than the one before."""
        times = [30.0 - 10 * index for index in range(len(self.selector.points.requests))]
        for _ in range(2):
            self.selector.adapt(self._now_ns, demand_hz, lambda points: times)
            self._now_ns += 10_000_000_000

    def step(self, number: int = 0) -> None:
        """Let one paused preparation go on to its next pause or end."""
        if self.engines.paused:
            self.engines.paused.pop(number % len(self.engines.paused)).set()
            self.settle()

    def finish(self) -> None:
        """Let everything that is under way end."""
        while self.engines.paused:
            self.step()

    def settle(self) -> None:
        """Wait until every preparation is paused, waits for the inference, or has ended."""
        end = time.monotonic() + DEADLINE_S
        while not self._is_settled():
            assert time.monotonic() < end, "a preparation hangs"
            time.sleep(0)

    def _is_settled(self) -> bool:
        running = sum(each.is_running() for each in self.server._started)
        blocked = self.lock.blocked()
        return blocked is not None and len(self.engines.paused) + blocked == running

    def check(self) -> None:
        """Check what always holds."""
        server, state = self.server, self.server.state
        assert server.engine is not None
        is_fallback = state.service is Service.FALLBACK
        assert (state.service is Service.CLOSED, is_fallback) == (False, server.engine.is_fallback)
        in_work = (RequestState.WANTED, RequestState.PREPARING, RequestState.CHECKING)
        assert (state.request in in_work) == (server.preparation is not None)
        assert (state.request is RequestState.READY) == (server._ready is not None)
        # What is selected serves, or is under way, or has failed.
        selected, index = self.selector.selected()
        preparing = server._preparation or server._ready
        wanted = selected.requests[index]
        under_way = None if preparing is None else preparing.request
        serves = under_way is None and not is_fallback and wanted.is_same(server.engine.request)
        comes = under_way is not None and wanted.is_same(under_way)
        assert serves or comes or (under_way is None and selected.is_ruled_out(index))
        assert under_way is None or under_way.precision not in self.given_up, "tried again"
        failed = {each.request.precision for each in self.failures if each.request is not None}
        points = self.selector.points
        ruled_out = {each for n, each in enumerate(points.precisions) if points.is_ruled_out(n)}
        assert ruled_out <= failed, "ruled out without a failure"

    def close(self) -> None:
        """Let everything end, and free everything."""
        self.engines.is_stepped = False
        self.engines.broken_close.clear()
        self._go_on.set()
        if self._inference is not None:
            self._inference.join(DEADLINE_S)
        for paused in self.engines.paused:
            paused.set()
        self.selector.close()
        assert self.engines.open_backends() == []


FAULTS = (BackendError("fault"), EngineFileError("damaged"))
LISTS = (("fp32", "fp16", "int8"), ("fp16", "int8"), ("int8",), ("fp32", "int8"), ("fp16",))
CEILINGS = ("", "fp16", "int8")
DEMANDS_HZ = (10.0, 45.0, 80.0)


def random_events(rig: ServiceRig, draw: random.Random, count: int) -> None:
    """Open an engine, let ``count`` random events happen, and check after each."""
    engines, selector = rig.engines, rig.selector
    faults: tuple[dict[str, Any], ...] = (
        engines.drifting,
        engines.broken_open,
        engines.broken_run,
        engines.unbuildable,
        engines.impossible,
        engines.broken_close,
    )

    def fault() -> None:
        precision = draw.choice(("fp16", "int8"))
        for each in faults:
            each.pop(precision, None)
        engines.slower.discard(precision)
        if draw.random() < 0.1:
            engines.slower.add(precision)
            return
        kind = draw.choice(faults)
        kind[precision] = FAULTS[0] if kind is engines.impossible else draw.choice(FAULTS)

    def heal() -> None:
        for each in faults:
            each.clear()
        engines.slower.clear()

    def step() -> None:
        rig.step(draw.randrange(4))

    def perhaps_step() -> None:
        if draw.random() < 0.3:
            step()

    events: dict[Callable[[], object], int] = {
        step: 10,
        rig.infer: 4,
        rig.begin_inference: 1,
        rig.end_inference: 2,
        fault: 3,
        lambda: engines.missing.add(draw.choice(("fp16", "int8"))): 2,
        heal: 1,
        lambda: rig.ask(*draw.choice(LISTS)): 3,
        lambda: selector.limit(DirectiveLimits(precision_ceiling=draw.choice(CEILINGS))): 3,
        lambda: rig.load(draw.choice(DEMANDS_HZ)): 2,
    }
    engines.during_roll_back = perhaps_step
    engines.missing.update(draw.sample(("fp16", "int8"), draw.randrange(3)))
    if draw.random() < 0.5:
        fault()
    while rig.server.engine is None:
        try:
            rig.open(*draw.choice(LISTS), allow_fallback=draw.random() < 0.7)
        except EdgeInferenceError:
            heal()
    for event in draw.choices(list(events), list(events.values()), k=count):
        event()
        rig.settle()
        rig.check()
