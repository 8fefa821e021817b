"""CUDA graphs: work that comes again is recorded and then launched as a whole.

A small network is dozens of kernels of a few microseconds; queueing each costs
about as much. A recorded graph is one call.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable

from edge_inference.backends.trt.cuda import CudaProvider, Graph, Stream
from edge_inference.errors import BackendError

Key = tuple[Hashable, Hashable]

_log = logging.getLogger(__name__)

#: Kept for each worker; the least recently used one goes first.
MAX_GRAPHS = 8


class GraphSwitch:
    """Whether graphs are used, and why not; shared by the workers of a backend."""

    def __init__(self, wanted: bool) -> None:
        self.reason = "" if wanted else "by setting"

    @property
    def on(self) -> bool:
        """Tell whether graphs are used."""
        return not self.reason

    def turn_off(self, reason: str) -> None:
        """Go on without graphs; the reason is told once."""
        if self.on:
            self.reason = reason
            _log.info("CUDA graphs are off: %s", reason)

    def __str__(self) -> str:
        return "CUDA graph on" if self.on else f"CUDA graph off ({self.reason})"


class Graphs:
    """The graphs of one worker's stream. Use inside the provider's ``current``.

    Work is known by a key: of the execution context's shapes, and of what else
    is queued. Two pieces of work with one key must queue exactly the same: same
    addresses, sizes and parameters. TensorRT wants one plain run before it is
    recorded, so the first run of a key is plain, the second is recorded and
    launched, and from then on the recording is launched.
    """

    def __init__(self, provider: CudaProvider, stream: Stream, switch: GraphSwitch) -> None:
        self._provider = provider
        self._stream = stream
        self._switch = switch
        self._graphs: OrderedDict[Key, Graph | None] = OrderedDict()

    def run(self, key: Key, work: Callable[[], None]) -> None:
        """Queue work, as a graph where that is possible."""
        if not self._switch.on:
            work()
            return
        if key not in self._graphs:
            work()
            self._graphs[key] = None
            self._keep_few()
            return
        self._graphs.move_to_end(key)
        try:
            graph = self._graphs[key] or self._record(key, work)
            self._provider.launch_graph(graph, self._stream)
        except BackendError as error:
            # The plain run that follows tells whether the work itself is at fault.
            self._switch.turn_off(str(error))
            self.forget()
            work()

    def forget(self, shapes: Hashable = ...) -> None:
        """Free the graphs of a key's shapes, by default all."""
        for key in [key for key in self._graphs if shapes in (key[0], ...)]:
            self._drop(key)

    def _record(self, key: Key, work: Callable[[], None]) -> Graph:
        self._graphs[key] = graph = self._provider.capture(self._stream, work)
        return graph

    def _keep_few(self) -> None:
        while len(self._graphs) > MAX_GRAPHS:
            self._drop(next(iter(self._graphs)))

    def _drop(self, key: Key) -> None:
        graph = self._graphs.pop(key)
        if graph is not None:
            self._provider.drop_graph(graph)
