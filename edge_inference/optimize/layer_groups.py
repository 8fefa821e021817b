"""Groups nodes into the layers that an engine fuses: a node and the activations after it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

#: Engines fuse these into the node before them and quantize their output, not their input.
_ACTIVATIONS = (
    "Clip",
    "Elu",
    "HardSigmoid",
    "HardSwish",
    "LeakyRelu",
    "PRelu",
    "Relu",
    "Sigmoid",
    "Tanh",
)


@dataclass(frozen=True)
class LayerGroup:
    """A chain of nodes: the first one reads the inputs, the last one writes the outputs."""

    chain: tuple[NodeProto, ...]

    @property
    def first(self) -> NodeProto:
        """Return the node that reads the inputs."""
        return self.chain[0]

    @property
    def last(self) -> NodeProto:
        """Return the node that writes the outputs."""
        return self.chain[-1]

    @property
    def name(self) -> str:
        """Return the name of the first node."""
        return str(self.first.name)

    @property
    def nodes(self) -> tuple[str, ...]:
        """Return the names of all nodes."""
        return tuple(node.name for node in self.chain)


def group_layers(model: ModelProto) -> list[LayerGroup]:
    """Return the layers in the order of the graph.

    An activation belongs to the layer before it if no other node reads that layer's output.
    In different precisions, the tensor between the two would be rounded, over a range that the
    activation then clips. That loses more than leaving both in the low precision.
    """
    reader_counts = Counter(name for node in model.graph.node for name in node.input)
    reader_counts.update(entry.name for entry in model.graph.output)
    chains: dict[str, list[NodeProto]] = {}
    layer_of: dict[str, str] = {}
    for node in model.graph.node:
        source = node.input[0] if node.input else ""
        layer = layer_of.get(source)
        if node.op_type in _ACTIVATIONS and layer is not None and reader_counts[source] == 1:
            chains[layer].append(node)
        else:
            layer = node.name
            chains[layer] = [node]
        layer_of.update(dict.fromkeys(node.output, layer))
    return [LayerGroup(tuple(chain)) for chain in chains.values()]
