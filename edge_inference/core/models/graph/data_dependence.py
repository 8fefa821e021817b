"""Which outputs of a graph depend on the data in their shape, or in the order of their rows.

A graph with NMS inside returns the boxes that it found, in the order of their scores. In another
precision or engine a box may be missing, or two may change places, so that elements at the same
position do not belong together. Such outputs are only comparable after decoding.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_inference.core.bounded_file import MAX_WEIGHTS_BYTES, open_regular_file
from edge_inference.core.onnx_format.onnx_reader import (
    MAX_GRAPH_DEPTH,
    ByteSource,
    LimitExceededError,
    MalformedMessageError,
    WireMessage,
    last_text,
    merge_messages,
    read_tensor,
)
from edge_inference.core.onnx_format.onnx_shapes import OnnxAttribute

#: Operators that keep only what fulfills a condition, and with them all whose name has "NMS".
_CUTTING = ("NonMaxSuppression", "NonZero", "Compress", "Unique")
#: Operators that order by value, and so may exchange rows.
_ORDERING = ("TopK",)
#: Operators whose result depends only on the shape of their input.
_OF_SHAPE = ("Shape", "Size")
_NMS = "NonMaxSuppression"
_SCORE_THRESHOLD_INPUT = 4


@dataclass(frozen=True)
class DataDependence:
    """What of a graph's outputs depends on the data.

    ``unordered`` are the outputs whose rows are chosen or ordered by value. With ``is_cut`` rows
    may be missing, too: those with a score below ``score_threshold``, 0 where it is unknown.
    ``unknown`` are the outputs with an axis of unknown length.
    """

    unordered: frozenset[str] = frozenset()
    is_cut: bool = False
    score_threshold: float = 0.0
    unknown: frozenset[str] = frozenset()


def find_data_dependence(file: Path) -> DataDependence:
    """Read an ONNX file's graph. Nothing is known of a file that cannot be read.

    Opening the file shows its errors.
    """
    try:
        with open_regular_file(file, MAX_WEIGHTS_BYTES) as stream:
            parts = WireMessage(ByteSource(stream.fileno())).parts(7, 25)
            graph = merge_messages(parts[7])
            return DataDependence() if graph is None else _Search(parts[25]).find(graph)
    except (OSError, LimitExceededError, MalformedMessageError):
        return DataDependence()


@dataclass
class _Flow:
    """How a tensor depends on the image: at all, and through which kinds of operators."""

    is_live: bool = False
    is_unordered: bool = False
    is_cut: bool = False

    def add(self, other: _Flow) -> None:
        self.is_live |= other.is_live
        self.is_unordered |= other.is_unordered
        self.is_cut |= other.is_cut


class _Search:
    """Follows the image through the nodes in the order of the file, which is that of ONNX."""

    def __init__(self, functions: Sequence[WireMessage]) -> None:
        self._score_threshold = 0.0
        self._selecting_functions = _find_selecting(functions)

    def find(self, graph: WireMessage) -> DataDependence:
        parts = graph.parts(1, 5, 11, 12)
        constants = {tensor.name: tensor for tensor in map(read_tensor, parts[5])}
        flows = {
            name: _Flow(is_live=True)
            for name in (last_text([*value.all(1)]) for value in parts[11])
            if name not in constants
        }
        for message in parts[1]:
            node = message.parts(1, 2, 4, 5)
            kind, names = last_text(node[4]), [name.text() for name in node[1]]
            attributes = [OnnxAttribute(attribute) for attribute in node[5]]
            if kind == "Constant":
                for attribute in attributes:
                    if attribute.tensor is not None:
                        tensor = read_tensor(attribute.tensor)
                        constants.update((name.text(), tensor) for name in node[2])
                continue
            if kind == _NMS and len(names) > _SCORE_THRESHOLD_INPUT:
                threshold = constants.get(names[_SCORE_THRESHOLD_INPUT])
                values = threshold.values() if threshold is not None else []
                self._score_threshold = max(self._score_threshold, *values, 0.0)
            flow = self._flow(kind, names, attributes, flows)
            flows.update((name.text(), flow) for name in node[2])
        outputs = [(last_text([*value.all(1)]), value) for value in parts[12]]
        found = {name: flows.get(name, _Flow()) for name, _ in outputs}
        return DataDependence(
            unordered=frozenset(name for name, flow in found.items() if flow.is_unordered),
            is_cut=any(flow.is_cut for flow in found.values()),
            score_threshold=self._score_threshold,
            unknown=frozenset(name for name, value in outputs if _has_unknown_axis(value)),
        )

    def _flow(
        self,
        kind: str,
        names: Sequence[str],
        attributes: Sequence[OnnxAttribute],
        flows: dict[str, _Flow],
    ) -> _Flow:
        flow = _Flow()
        if kind in _OF_SHAPE:
            return flow
        for name in names:
            flow.add(flows.get(name, _Flow()))
        bodies = [body for attribute in attributes for body in attribute.graphs]
        inner = [node for body in bodies for node in _nodes_of(body.all(1), 0)]
        for _, inner_names in inner:  # they may read any tensor of this graph
            for name in inner_names:
                flow.add(flows.get(name, _Flow()))
        kinds = {inner_kind for inner_kind, _ in inner}
        selects = kind in self._selecting_functions or any(
            each in self._selecting_functions or _cuts(each) or each in _ORDERING for each in kinds
        )
        if flow.is_live and (selects or _cuts(kind)):
            flow.is_cut = flow.is_unordered = True
        elif flow.is_live and kind in _ORDERING:
            flow.is_unordered = True
        return flow


def _find_selecting(functions: Sequence[WireMessage]) -> set[str]:
    """Return the functions in which a node, or a function that it calls, chooses rows by value."""
    callers: defaultdict[str, list[str]] = defaultdict(list)
    for function in functions:
        name = last_text([*function.all(1)])
        for kind in {kind for kind, _ in _nodes_of(function.all(7), 0)}:
            callers[kind].append(name)
    found: set[str] = set()
    pending = [kind for kind in callers if _cuts(kind) or kind in _ORDERING]
    while pending:
        new = set(callers.get(pending.pop(), ())) - found
        found |= new
        pending += new
    return found


def _nodes_of(messages: Iterable[WireMessage], depth: int) -> Iterator[tuple[str, list[str]]]:
    """Yield the operator and the inputs of the nodes, and of those in their inner graphs."""
    if depth > MAX_GRAPH_DEPTH:
        return
    for message in messages:
        node = message.parts(1, 4, 5)
        yield last_text(node[4]), [name.text() for name in node[1]]
        for attribute in map(OnnxAttribute, node[5]):
            for body in attribute.graphs:
                yield from _nodes_of(body.all(1), depth + 1)


def _cuts(kind: str) -> bool:
    return kind in _CUTTING or "NMS" in kind


def _has_unknown_axis(value: WireMessage) -> bool:
    """Tell whether a ValueInfoProto lacks its shape or the length of an axis."""
    kind = value.one(2)
    tensor = kind.one(1) if kind is not None else None
    shape = tensor.one(2) if tensor is not None else None
    if shape is None:
        return True
    return any(next(iter(axis.numbers(1)), 0) < 1 for axis in shape.all(1))
