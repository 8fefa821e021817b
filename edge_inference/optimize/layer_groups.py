"""What an engine runs as one layer: a node and the activations behind it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

#: Engines fuse these into what comes before, and quantise what they give, not what they take.
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
    """A chain of nodes; the first one takes the inputs, the last one gives the outputs."""

    chain: tuple[NodeProto, ...]

    @property
    def first(self) -> NodeProto:
        """Return the node that takes the inputs."""
        return self.chain[0]

    @property
    def last(self) -> NodeProto:
        """Return the node that gives the outputs."""
        return self.chain[-1]

    @property
    def name(self) -> str:
        """Name it by its first node."""
        return str(self.first.name)

    @property
    def nodes(self) -> tuple[str, ...]:
        """Name all its nodes."""
        return tuple(node.name for node in self.chain)


def group_layers(model: ModelProto) -> list[LayerGroup]:
    """Return the layers in the order of the graph.

    An activation belongs to the layer before it where nothing else takes what that gives.
    Splitting the two between precisions would round a tensor that is never rounded while
    they are together, in a range that the activation cuts off, and so do more harm than
    leaving both.
    """
    takers = Counter(name for node in model.graph.node for name in node.input)
    takers.update(entry.name for entry in model.graph.output)
    chains: dict[str, list[NodeProto]] = {}
    giver: dict[str, str] = {}
    for node in model.graph.node:
        source = node.input[0] if node.input else ""
        home = giver.get(source)
        if node.op_type in _ACTIVATIONS and home is not None and takers[source] == 1:
            chains[home].append(node)
        else:
            home = node.name
            chains[home] = [node]
        giver.update(dict.fromkeys(node.output, home))
    return [LayerGroup(tuple(chain)) for chain in chains.values()]
