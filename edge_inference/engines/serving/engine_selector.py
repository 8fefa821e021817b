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
        """Rule out a point that failed, wherever it is listed; return the index as ``find``."""
        self._ruled_out.update(
            index for index, each in enumerate(self.requests) if each.is_same(request)
        )
        return self.find(request)

    def find(self, request: EngineRequest) -> int | None:
        """Return the index of a request; None for a foreign one."""
        same = (n for n, each in enumerate(self.requests) if each.is_same(request))
        return next(same, None)


Points = TypeVar("Points", bound=PointList)


class EngineSelector(Generic[Points]):
    """Asks an engine server for the best point that user, directive and load allow.

    When the user's point fails, the list of what serves becomes the current one again;
    ``on_restored`` gets the list that failed, and this one. ``on_failed`` gets every failure before
    that. ``on_asked`` is called after each decision, with True where user, directive or load have
    asked for another engine. Callbacks run in the thread in which the event happens, and must not
    raise an exception. Thread-safe.
    """

    def __init__(
        self,
        cache: ArtifactCache,
        check: Check,
        on_changed: Callable[[Engine], None],
        on_failed: Callable[[EngineFailure], None],
        on_restored: Callable[[Points, Points], None],
        on_asked: Callable[[bool], None],
    ) -> None:
        self.server = EngineServer(cache, check, on_changed, self._handle_failure)
        self.points: Points
        #: What has failed since the user asked.
        self._failed: list[EngineRequest] = []
        self._load = LoadAdaptation()
        self._limits = DirectiveLimits()
        self._on_failed = on_failed
        self._on_restored = on_restored
        self._on_asked = on_asked
        #: Taken before the locks of the server, except for the one held during an inference.
        self._lock = threading.RLock()

    def open(self, points: Points, *, allow_fallback: bool) -> None:
        """Put the user's point into service, see :meth:`EngineServer.open`."""
        self.points, self._failed = points, []
        self.server.open(points.requests[0], allow_fallback=allow_fallback)
        with self._lock:
            self._on_asked(self._ask())  # within the limits that have arrived meanwhile

    def ask(self, points: Points) -> None:
        """Serve what the user asks for."""
        with self._lock:
            if not points.requests[0].is_same(self.points.requests[0]):
                self._load = LoadAdaptation()  # what load found out is of another choice
            self.points, self._failed = points, []
            self._on_asked(self._ask())

    def limit(self, limits: DirectiveLimits) -> None:
        """Stay within the limits of a directive."""
        with self._lock:
            self._limits = limits
            self._on_asked(self._ask())

    def adapt(
        self,
        now_ns: int,
        demand_hz: float | None,
        process_ms: Callable[[Points], Sequence[float | None]],
    ) -> None:
        """Go below the best allowed point while it cannot process the demand.

        ``process_ms`` returns the times of one inference at all points of a list. No demand means
        no load.
        """
        with self._lock:
            before = self._load.steps
            times = process_ms(self.points)
            allowed = self.points.allowed(self._limits)
            self._load.update(now_ns, demand_hz, [times[index] for index in allowed])
            if self._load.steps != before:
                self._on_asked(self._ask())

    def selected(self) -> tuple[Points, int]:
        """Return the current list, and the index of its point that is to serve."""
        with self._lock:
            return self.points, self._select()[0]

    def close(self) -> None:
        """Free everything."""
        self.server.close()

    def _select(self) -> tuple[int, Asker]:
        """Return the index of the point that is to serve, and whose choice it is."""
        allowed = self.points.allowed(self._limits)
        steps = min(self._load.steps, len(allowed) - 1)
        if steps:
            return allowed[steps], Asker.LOAD
        return allowed[0], Asker.DIRECTIVE if allowed[0] else Asker.USER

    def _ask(self) -> bool:
        """Ask for the selected point; True where its engine is another one than before."""
        if self.server.engine is None:
            return False
        index, asker = self._select()
        if self.points.is_ruled_out(index):
            self.server.cancel()  # the user's point failed, and what serves stays
            return False
        return self.server.ask(self.points.requests[index], asker)

    def _handle_failure(self, failure: EngineFailure) -> None:
        """Rule out what failed, and nothing else.

        A point that is not faster is not ruled out: the list that it was checked for has withdrawn
        it, and the current one may want it nevertheless.
        """
        self._on_failed(failure)
        with self._lock:  # waits for the thread that asked for the engine
            if failure.request is not None and not isinstance(failure.error, NotFasterError):
                self._rule_out(failure.request)
            self._ask()
            self._on_asked(False)

    def _rule_out(self, request: EngineRequest) -> None:
        """Rule a point out; after the user's own, the list of what serves is the current one."""
        self._failed.append(request)
        if self.points.rule_out(request) != 0:
            return
        engine = self.server.engine
        assert engine is not None and isinstance(engine.request, PointRequest)
        failed, self.points = self.points, cast(Points, engine.request.points)
        for each in self._failed:
            self.points.rule_out(each)
        self._on_restored(failed, self.points)
