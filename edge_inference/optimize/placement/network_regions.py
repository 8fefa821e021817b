"""Cuts a network into regions, each of which gets a precision of its own.

A change of precision costs a conversion of every tensor that crosses it, so regions end where
few tensors are alive: between the blocks of a residual network or a transformer, and between
layers where there are no branches.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from edge_inference.engines.precision.exclude import WEIGHTED
from edge_inference.engines.precision.onnx_file import import_onnx, infer_shapes
from edge_inference.optimize.layer_groups import LayerGroup, group_layers

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

DEFAULT_REGIONS = 12
#: A region with less of the work is not worth a conversion.
_LEAST_SHARE = 0.01


@dataclass(frozen=True)
class NetworkRegion:
    """Nodes that get one precision.

    ``pattern`` is equal for regions with the same operators, attributes and shapes in the same
    order: they take the same time. ``work`` is a rough share of the network's work.
    """

    nodes: tuple[str, ...]
    pattern: str
    work: float

    @property
    def name(self) -> str:
        """Return the names of the first and the last node."""
        return f"{self.nodes[0]} to {self.nodes[-1]}" if len(self.nodes) > 1 else self.nodes[0]


def find_regions(
    model: ModelProto,
    max_regions: int = DEFAULT_REGIONS,
    sizes: Mapping[str, Sequence[int]] | None = None,
) -> list[NetworkRegion]:
    """Return the regions of a folded network in the order of its graph, at most ``max_regions``.

    Regions between single tensors are merged with a neighbor, the least work first, until they
    are few and large enough; one with much work is cut where the fewest tensors are alive.
    ``sizes`` are the shapes of inputs, for those that the graph leaves open. The network has at
    least one node, and ``max_regions`` is at least 1.
    """
    shapes = _Shapes(_with_sizes(model, sizes).graph)
    groups = group_layers(model)
    works = [sum(map(shapes.work, group.chain)) for group in groups]
    alive = _count_alive(model.graph, groups)
    ends = [place for place in range(1, len(groups)) if alive[place] <= 1]
    bounds = [0, *ends, len(groups)]
    while len(bounds) > 2:
        index, share = _least_work(bounds, works)
        if share >= _LEAST_SHARE and len(bounds) <= max_regions + 1:
            break
        del bounds[index]
    while len(bounds) <= max_regions:
        place = _cut_of_largest(bounds, works, alive, max_regions)
        if place is None:
            break
        bounds = sorted([*bounds, place])
    total = sum(works) or 1.0
    regions = []
    for start, end in pairwise(bounds):
        nodes = [node for group in groups[start:end] for node in group.chain]
        regions.append(
            NetworkRegion(
                tuple(node.name for node in nodes),
                _pattern_of(nodes, shapes),
                sum(works[start:end]) / total,
            )
        )
    return regions


def _with_sizes(model: ModelProto, sizes: Mapping[str, Sequence[int]] | None) -> ModelProto:
    """Return the network with the types of its tensors for inputs of these shapes."""
    if not sizes:
        return model
    sized = import_onnx().ModelProto()
    sized.CopyFrom(model)
    for entry in sized.graph.input:
        dims = entry.type.tensor_type.shape.dim
        for dim, size in zip(dims, sizes.get(entry.name, ()), strict=False):
            dim.dim_value = size
    del sized.graph.value_info[:]
    for entry in sized.graph.output:
        entry.type.tensor_type.ClearField("shape")
    return infer_shapes(sized)


def _count_alive(graph: GraphProto, groups: Sequence[LayerGroup]) -> list[int]:
    """Return how many tensors are alive before each group: written before it, read from it on."""
    place_of = {node.name: index for index, group in enumerate(groups) for node in group.chain}
    written = {name: place_of[node.name] for node in graph.node for name in node.output if name}
    written |= {entry.name: -1 for entry in graph.input}
    last_read: dict[str, int] = {}
    for node in graph.node:
        for name in node.input:
            if name in written:
                last_read[name] = max(last_read.get(name, -1), place_of[node.name])
    changes = [0] * (len(groups) + 2)
    for name, last in last_read.items():
        changes[written[name] + 1] += 1
        changes[max(last, written[name]) + 1] -= 1
    alive, count = [], 0
    for change in changes[: len(groups)]:
        count += change
        alive.append(count)
    return alive


def _least_work(bounds: Sequence[int], works: Sequence[float]) -> tuple[int, float]:
    """Return the bound that joins the region with the least work to a neighbor, and its share."""
    each = [sum(works[start:end]) for start, end in pairwise(bounds)]
    least = min(range(len(each)), key=lambda index: each[index])
    is_left = least > 0 and (least == len(each) - 1 or each[least - 1] <= each[least + 1])
    return (least if is_left else least + 1), each[least] / (sum(each) or 1.0)


def _cut_of_largest(
    bounds: Sequence[int], works: Sequence[float], alive: Sequence[int], max_regions: int
) -> int | None:
    """Return where to cut the region with the most work, None if it is small enough or whole."""
    start, end = max(pairwise(bounds), key=lambda pair: sum(works[pair[0] : pair[1]]))
    whole = sum(works[start:end])
    if end - start < 2 or whole <= 2 * sum(works) / max_regions:
        return None
    fewest = min(alive[start + 1 : end])
    # One tensor more costs little, half of the region in a precision of its own is worth it.
    near = [place for place in range(start + 1, end) if alive[place] <= fewest + 1]
    return min(near, key=lambda place: abs(sum(works[start:place]) - whole / 2))


class _Shapes:
    """The known shapes of a network's tensors."""

    def __init__(self, graph: GraphProto) -> None:
        self._dims = {
            entry.name: tuple(
                size.dim_value if size.HasField("dim_value") else 0
                for size in entry.type.tensor_type.shape.dim
            )
            for entry in (*graph.input, *graph.output, *graph.value_info)
        }
        self._constants = {entry.name: tuple(entry.dims) for entry in graph.initializer}

    def of(self, name: str) -> tuple[int, ...]:
        """Return a shape with 0 for unknown sizes, an empty one where nothing is known."""
        return self._constants.get(name) or self._dims.get(name, ())

    def work(self, node: NodeProto) -> float:
        """Return about how many multiplications a node takes; at least 1."""
        outputs = sum(math.prod(max(size, 1) for size in self.of(name)) for name in node.output)
        if node.op_type not in WEIGHTED or len(node.input) < 2:
            return max(float(outputs), 1.0)
        weights = self.of(node.input[1])
        if node.op_type.startswith("Conv"):
            each = math.prod(weights[1:])  # a row for each output channel
        else:
            inner = self.of(node.input[0])
            each = inner[-1] if inner else 1
        return float(max(outputs, 1) * max(each, 1))


def _pattern_of(nodes: Sequence[NodeProto], shapes: _Shapes) -> str:
    digest = hashlib.sha256()
    for node in nodes:
        attributes = sorted(entry.SerializeToString(deterministic=True) for entry in node.attribute)
        tensors = [shapes.of(name) for name in (*node.input, *node.output)]
        digest.update(repr((node.op_type, attributes, tensors)).encode())
    return digest.hexdigest()
