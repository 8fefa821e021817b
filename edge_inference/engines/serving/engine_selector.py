"""Selects the operating point that serves.

The user names the best one, a directive of the platform manager is a ceiling, and load moves
below both.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar, cast

from edge_inference.core.directives.directive import DirectiveLimits, is_within_ceiling
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.serving.backend_table import EngineRequest
from edge_inference.engines.serving.engine import Engine
from edge_inference.engines.serving.engine_opener import Check
from edge_inference.engines.serving.load_adaptation import LoadAdaptation
from edge_inference.engines.serving.server import EngineFailure, EngineServer
from edge_inference.engines.serving.service_states import Asker
from edge_inference.errors import BackendError


class NotFasterError(BackendError):
    """An operating point that should save time or heat is not faster, by measurement."""


@dataclass(frozen=True)
class PointRequest(EngineRequest):
    """The request of an operating point, with the list that it belongs to."""

    points: PointList = field(kw_only=True, compare=False)


class PointList:
    """The operating point that the user names, then the cheaper ones, most accurate first.

    ``precisions`` are those in which the requests are served. A point is withdrawn while it is
    known to be no faster than the first, and ruled out once it has failed.
    """

    def __init__(self, requests: Sequence[EngineRequest], precisions: Sequence[str]) -> None:
        self.requests = tuple(requests)
        self.precisions = tuple(precisions)
        #: Why a point is withdrawn, by index; never the first.
        self.withdrawn: dict[int, str] = {}
        self._ruled_out: set[int] = set()

    def allowed(self, limits: DirectiveLimits) -> list[int]:
        """Return the usable points within the limits; the cheapest one where there is none.

        The first point stays usable after a failure, because nothing else may replace it.
        """
        excluded = (self._ruled_out - {0}) | self.withdrawn.keys()
        usable = [index for index in range(len(self.requests)) if index not in excluded]
        allowed = [
            index
            for index in usable
            if is_within_ceiling(self.precisions[index], limits.precision_ceiling)
            and limits.model in ("", self.requests[index].model.name)
        ]
        return allowed or usable[-1:]

    def is_ruled_out(self, index: int) -> bool:
        """Tell whether a point has failed."""
        return index in self._ruled_out

    def rule_out(self, request: EngineRequest) -> int | None:
        """Rule out a point that failed, and return its index; None for a foreign request."""
        index = self.find(request)
        if index is not None:
            self._ruled_out.add(index)
        return index

    def find(self, request: EngineRequest) -> int | None:
        """Return the index of a request; None for a foreign one."""
        same = (n for n, each in enumerate(self.requests) if each.is_same(request))
        return next(same, None)


Points = TypeVar("Points", bound=PointList)


class EngineSelector(Generic[Points]):
    """Asks an engine server for the best point that user, directive and load allow.

    When the user's point fails, the list of what serves, or is to serve, becomes the current one
    again; ``on_restored`` gets it. ``on_failed`` gets every failure before that, ``on_asked`` is
    called after each decision. Callbacks run in the thread in which the event happens.
    Thread-safe.
    """

    def __init__(
        self,
        cache: ArtifactCache,
        check: Check,
        on_changed: Callable[[Engine], None],
        on_failed: Callable[[EngineFailure], None],
        on_restored: Callable[[Points], None],
        on_asked: Callable[[bool], None],
    ) -> None:
        self.server = EngineServer(cache, check, on_changed, self._handle_failure)
        self.points: Points
        self._load = LoadAdaptation()
        self._limits = DirectiveLimits()
        self._on_failed = on_failed
        self._on_restored = on_restored
        self._on_asked = on_asked
        self._lock = threading.RLock()

    def open(self, points: Points, *, allow_fallback: bool) -> None:
        """Put the user's point into service, see :meth:`EngineServer.open`."""
        self.points = points
        self.server.open(points.requests[0], allow_fallback=allow_fallback)

    def ask(self, points: Points) -> None:
        """Serve what the user asks for."""
        with self._lock:
            self.points = points
            self._ask(Asker.USER)

    def limit(self, limits: DirectiveLimits) -> None:
        """Stay within the limits of a directive."""
        with self._lock:
            self._limits = limits
            self._ask(Asker.DIRECTIVE)

    def adapt(
        self, now_ns: int, demand_hz: float | None, process_ms: Sequence[float | None]
    ) -> None:
        """Go below the best allowed point while it cannot process the demand.

        ``process_ms`` are the times of one inference at all points. No demand means no load.
        """
        with self._lock:
            before = self._load.steps
            allowed = self.points.allowed(self._limits)
            self._load.update(now_ns, demand_hz, [process_ms[index] for index in allowed])
            if self._load.steps != before:
                self._ask(Asker.LOAD)

    def selected(self) -> int:
        """Return the index of the point that is to serve."""
        with self._lock:
            allowed = self.points.allowed(self._limits)
            return allowed[min(self._load.steps, len(allowed) - 1)]

    def close(self) -> None:
        """Free everything."""
        self.server.close()

    def _ask(self, asker: Asker) -> None:
        if self.server.engine is None:
            return
        index = self.selected()
        if self.points.is_ruled_out(index):
            self.server.withdraw()  # the user's point failed, and what serves stays
            is_new = False
        else:
            is_new = self.server.ask(self.points.requests[index], asker)
        self._on_asked(is_new)

    def _handle_failure(self, failure: EngineFailure) -> None:
        """Rule out what failed, and nothing else; a point that is not faster is withdrawn."""
        self._on_failed(failure)
        with self._lock:  # waits for the thread that asked for the engine
            request = failure.request
            is_withdrawn = isinstance(failure.error, NotFasterError) and (
                request is not None and self.points.find(request) in self.points.withdrawn
            )
            if request is not None and not is_withdrawn and self.points.rule_out(request) == 0:
                self._restore(self.server.target_request)
            self._ask(Asker.DIRECTIVE)

    def _restore(self, target: EngineRequest) -> None:
        assert isinstance(target, PointRequest)
        self.points = cast(Points, target.points)
        self._on_restored(self.points)
