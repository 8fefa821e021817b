"""Opens and checks the engine of a request, and makes its file where that is missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress

from edge_inference.backends.base import Backend
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.cache.artifacts import Cancelled, Progress
from edge_inference.engines.serving.backend_table import EngineRequest
from edge_inference.engines.serving.engine import Engine
from edge_inference.engines.serving.preparation import prepare_in_child
from edge_inference.engines.serving.preparation_thread import run_at_low_priority
from edge_inference.engines.serving.selection import Selection, select_backend
from edge_inference.engines.serving.service_states import ServiceEvent
from edge_inference.errors import BackendError, CacheError, EdgeInferenceError, EngineFileError

#: Checks an opened engine and returns notes for diagnostics. Raises EdgeInferenceError to
#: refuse the engine, and CancelledError soon after it is cancelled.
Check = Callable[[Selection, Backend, Cancelled], Mapping[str, str]]


class EngineOpener:
    """Opens engines from one cache with one check."""

    def __init__(self, cache: ArtifactCache, check: Check) -> None:
        self._cache = cache
        self._check = check

    def select(self, request: EngineRequest) -> Selection:
        """Select the backend and file; see :func:`select_backend`."""
        return select_backend(request, self._cache)

    def make_and_open(
        self,
        request: EngineRequest,
        progress: Progress,
        cancelled: Cancelled,
        advance: Callable[[ServiceEvent], None],
        report: Callable[[EdgeInferenceError], None],
    ) -> Engine:
        """Make a missing file and open the engine; an unusable file is rebuilt once.

        Calls ``advance`` before each build and each check; it raises CancelledError to end the
        work. Calls ``report`` for a damaged file, which is made again. Raises EdgeInferenceError.
        """
        selection = self.select(request)
        if selection.damaged:
            report(CacheError(selection.damaged))
        if selection.backend is not None:
            advance(ServiceEvent.CHECK_BEGAN)
            progress("opening", None)
            try:
                return self.open_and_check(selection, cancelled)
            except EngineFileError:
                if not selection.artifact.discard(self._cache):
                    raise
        advance(ServiceEvent.BUILD_BEGAN)
        prepare_in_child(request, self._cache, progress, cancelled)
        advance(ServiceEvent.CHECK_BEGAN)
        progress("opening", None)
        selection = self.select(request)
        if selection.backend is None:
            raise BackendError(selection.damaged or f"{selection.reason}: nothing was made")
        return self.open_and_check(selection, cancelled)

    def open_and_check(self, selection: Selection, cancelled: Cancelled) -> Engine:
        """Open the engine of an existing file, and check it at low priority."""
        backend = selection.backend
        assert backend is not None
        backend.open()
        try:
            notes = run_at_low_priority(lambda: self._check(selection, backend, cancelled))
        except BaseException:
            with suppress(EdgeInferenceError):  # the first error says more
                backend.close()
            raise
        return Engine(selection.request, selection, backend, notes)
