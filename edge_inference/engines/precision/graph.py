"""Small questions about an ONNX graph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto


class FreshNames:
    """Gives names that nothing in the graph has, also nothing in its branches and loops."""

    def __init__(self, graph: GraphProto) -> None:
        self._taken = set(_all_names(graph))

    def new(self, wanted: str) -> str:
        """Return ``wanted``, with as many underscores behind it as it takes."""
        while wanted in self._taken:
            wanted += "_"
        self._taken.add(wanted)
        return wanted


def captured(node: NodeProto) -> Iterator[str]:
    """Yield what the branches and loops of a node may take from outside."""
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            yield from (entry.name for entry in graph.output)
            for inner in graph.node:
                yield from inner.input
                yield from captured(inner)


def float_tensors(graph: GraphProto, onnx: Any) -> set[str]:
    """Return the names of all fp32 tensors, the constant ones among them."""
    infos = (*graph.input, *graph.output, *graph.value_info)
    wanted = onnx.TensorProto.FLOAT
    found = {entry.name for entry in infos if entry.type.tensor_type.elem_type == wanted}
    return found | {entry.name for entry in graph.initializer if entry.data_type == wanted}


def drop_unused_constants(graph: GraphProto) -> None:
    """Remove the initializers that no node reads."""
    used = {name for node in graph.node for name in (*node.input, *captured(node))}
    used |= {entry.name for entry in graph.output}
    kept = [entry for entry in graph.initializer if entry.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _all_names(graph: GraphProto) -> Iterator[str]:
    yield from (entry.name for entry in (*graph.input, *graph.output, *graph.initializer))
    for node in graph.node:
        yield node.name
        yield from node.output
        yield from captured(node)
