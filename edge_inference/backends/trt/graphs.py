"""CUDA graphs: repeated work is recorded once and then launched as a whole.

A small network consists of dozens of kernels of a few microseconds, and queueing a kernel
takes about as long. A recorded graph needs one call.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable

from edge_inference.backends.trt.cuda import CudaProvider, Graph, Stream
from edge_inference.errors import BackendError

Key = tuple[Hashable, Hashable]

_log = logging.getLogger(__name__)

#: Most graphs of a worker; the least recently used one is dropped first.
MAX_GRAPHS = 8


class GraphSwitch:
    """The switch for graphs, with the reason for off; the workers of a backend share it."""

    def __init__(self, enabled: bool) -> None:
        self.reason = "" if enabled else "by setting"

    @property
    def is_on(self) -> bool:
        """Tell whether graphs are used."""
        return not self.reason

    def turn_off(self, reason: str) -> None:
        """Turn graphs off; the reason is logged once."""
        if self.is_on:
            self.reason = reason
            _log.info("CUDA graphs are off: %s", reason)

    def __str__(self) -> str:
        return "CUDA graph on" if self.is_on else f"CUDA graph off ({self.reason})"


class Graphs:
    """The graphs of one worker's stream. Use it inside the provider's ``current``.

    A key identifies work: the shapes of the execution context, and the other queued work. Work
    with the same key must queue the same calls with the same addresses, sizes and parameters.
    TensorRT needs one plain run before a recording. The first run of a key is therefore plain,
    the second one is recorded and launched, and later ones launch the recording.
    """

    def __init__(self, provider: CudaProvider, stream: Stream, switch: GraphSwitch) -> None:
        self._provider = provider
        self._stream = stream
        self._switch = switch
        self._graphs: OrderedDict[Key, Graph | None] = OrderedDict()

    def run(self, key: Key, work: Callable[[], None]) -> None:
        """Queue work, as a graph if possible."""
        if not self._switch.is_on:
            work()
            return
        if key not in self._graphs:
            work()
            self._graphs[key] = None
            self._drop_oldest()
            return
        self._graphs.move_to_end(key)
        try:
            graph = self._graphs[key] or self._record(key, work)
            self._provider.launch_graph(graph, self._stream)
        except BackendError as error:
            # The plain run below raises an error of the work itself.
            self._switch.turn_off(str(error))
            self.drop()
            work()

    def drop(self, shapes: Hashable = ...) -> None:
        """Free the graphs of one set of shapes, by default all graphs."""
        for key in [key for key in self._graphs if shapes in (key[0], ...)]:
            self._drop(key)

    def _record(self, key: Key, work: Callable[[], None]) -> Graph:
        self._graphs[key] = graph = self._provider.capture(self._stream, work)
        return graph

    def _drop_oldest(self) -> None:
        while len(self._graphs) > MAX_GRAPHS:
            self._drop(next(iter(self._graphs)))

    def _drop(self, key: Key) -> None:
        graph = self._graphs.pop(key)
        if graph is not None:
            self._provider.drop_graph(graph)
