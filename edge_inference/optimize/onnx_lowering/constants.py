"""The constants of a graph, by name, as arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from edge_inference.engines.precision.graph import FreshNames
from edge_inference.engines.precision.onnx_file import import_onnx

if TYPE_CHECKING:
    from onnx import GraphProto


class Constants:
    """Reads and adds initializers; arrays are read once, when they are asked for."""

    def __init__(self, graph: GraphProto) -> None:
        self._graph = graph
        self._onnx = import_onnx()
        self._entries = {entry.name: entry for entry in graph.initializer}
        self._arrays: dict[str, NDArray[Any]] = {}
        self.names = FreshNames(graph)

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def get(self, name: str) -> NDArray[Any] | None:
        """Return a constant's value, None for a tensor that is none."""
        if name in self._entries and name not in self._arrays:
            self._arrays[name] = self._onnx.numpy_helper.to_array(self._entries[name])
        return self._arrays.get(name)

    def add(self, wanted: str, value: NDArray[Any]) -> str:
        """Add a constant under a name that is free, and return that."""
        name = self.names.new(wanted)
        self.put(name, value)
        return name

    def put(self, name: str, value: NDArray[Any]) -> None:
        """Add a constant under this very name."""
        entry = self._onnx.numpy_helper.from_array(value, name)
        self._graph.initializer.append(entry)
        self._entries[name] = entry
        self._arrays[name] = value
