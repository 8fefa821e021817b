"""The constants of a graph as arrays, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from edge_inference.engines.precision.graph import FreshNames
from edge_inference.engines.precision.onnx_file import import_onnx

if TYPE_CHECKING:
    from onnx import GraphProto


class Constants:
    """Reads and adds initializers; each array is read once, on first use."""

    def __init__(self, graph: GraphProto) -> None:
        self._graph = graph
        self._onnx = import_onnx()
        self._entries = {entry.name: entry for entry in graph.initializer}
        self._arrays: dict[str, NDArray[Any]] = {}
        self.names = FreshNames(graph)

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def get(self, name: str) -> NDArray[Any] | None:
        """Return a constant's value, None for a tensor that is not a constant."""
        if name in self._entries and name not in self._arrays:
            self._arrays[name] = self._onnx.numpy_helper.to_array(self._entries[name])
        return self._arrays.get(name)

    def add(self, preferred_name: str, value: NDArray[Any]) -> str:
        """Add a constant under an unused name, and return that name."""
        name = self.names.new(preferred_name)
        self.put(name, value)
        return name

    def put(self, name: str, value: NDArray[Any]) -> None:
        """Add a constant under exactly this name."""
        entry = self._onnx.numpy_helper.from_array(value, name)
        self._graph.initializer.append(entry)
        self._entries[name] = entry
        self._arrays[name] = value
