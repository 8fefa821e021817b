"""Helpers for ONNX graphs."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto


class FreshNames:
    """Creates names that are unused in the graph, including its branches and loops."""

    def __init__(self, graph: GraphProto) -> None:
        self._taken = set(_all_names(graph))

    def new(self, name: str) -> str:
        """Return ``name``, with underscores appended until it is unique."""
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name


def captured_tensors(node: NodeProto) -> Iterator[str]:
    """Yield the tensors that the branches and loops of a node may read from outside."""
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            yield from (entry.name for entry in graph.output)
            for inner in graph.node:
                yield from inner.input
                yield from captured_tensors(inner)


def all_graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """Yield a graph, then the graphs of its branches and loops."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            inner = [attribute.g] if attribute.HasField("g") else []
            for each in (*inner, *attribute.graphs):
                yield from all_graphs(each)


def sort_nodes(graph: GraphProto) -> bool:
    """Put nodes behind those that compute their inputs; tell whether any has moved.

    ONNX requires this order. ONNX Runtime and TensorRT do not, and converters to fp16 append
    the Cast of an input. The order is else unchanged (Kahn's algorithm, first node first). Nodes
    that need each other stay where they are, for the checker to find.
    """
    moved = False
    for each in all_graphs(graph):
        nodes = list(each.node)
        source = {name: index for index, node in enumerate(nodes) for name in node.output if name}
        needs = [
            {source[name] for name in (*node.input, *captured_tensors(node)) if name in source}
            - {index}  # a branch may call its result like that of its node
            for index, node in enumerate(nodes)
        ]
        if all(max(indices, default=-1) < index for index, indices in enumerate(needs)):
            continue
        users: dict[int, list[int]] = {}
        for index, indices in enumerate(needs):
            for earlier in indices:
                users.setdefault(earlier, []).append(index)
        waiting = [len(indices) for indices in needs]
        ready = [index for index, count in enumerate(waiting) if count == 0]
        order = []
        while ready:
            order.append(heapq.heappop(ready))
            for index in users.get(order[-1], ()):
                waiting[index] -= 1
                if waiting[index] == 0:
                    heapq.heappush(ready, index)
        if len(order) == len(nodes):
            del each.node[:]
            each.node.extend(nodes[index] for index in order)
            moved = True
    return moved


def float_tensors(graph: GraphProto, onnx: Any) -> set[str]:
    """Return the names of all fp32 tensors, including constants."""
    infos = (*graph.input, *graph.output, *graph.value_info)
    fp32 = onnx.TensorProto.FLOAT
    found = {entry.name for entry in infos if entry.type.tensor_type.elem_type == fp32}
    return found | {entry.name for entry in graph.initializer if entry.data_type == fp32}


def other_values(graph: GraphProto) -> set[str]:
    """Return the names of the values that are no tensors: sequences and optional values."""
    infos = (*graph.input, *graph.output, *graph.value_info)
    return {
        entry.name for entry in infos if entry.type.WhichOneof("value") not in (None, "tensor_type")
    }


def drop_unused_constants(graph: GraphProto) -> None:
    """Remove the initializers that no node reads."""
    used = {name for node in graph.node for name in (*node.input, *captured_tensors(node))}
    used |= {entry.name for entry in graph.output}
    kept = [entry for entry in graph.initializer if entry.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _all_names(graph: GraphProto) -> Iterator[str]:
    yield from (entry.name for entry in (*graph.input, *graph.output, *graph.initializer))
    for node in graph.node:
        yield node.name
        yield from node.output
        yield from captured_tensors(node)
