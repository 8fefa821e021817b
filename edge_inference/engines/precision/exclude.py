"""Selects the nodes that stay in fp32, with the reason."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from edge_inference.engines.precision.onnx_file import check_node_names

if TYPE_CHECKING:
    from onnx import ModelProto

#: Operators with weights, which take nearly all of a network's time.
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")

_MOVING = ("Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")

REQUESTED = "requested"
AFTER_LAST_LAYER = "after the last layer with weights"
WITH_MASKED_VALUES = "with masked values"


def named_nodes(model: ModelProto, names: Sequence[str], where: str) -> dict[str, str]:
    """Return the reason for each named node; raises ModelError for an unknown name."""
    check_node_names(names, (node.name for node in model.graph.node), where)
    return dict.fromkeys(names, REQUESTED)


def tail_nodes(model: ModelProto) -> dict[str, str]:
    """Return the nodes after the last layer with weights, such as a detector's sigmoids.

    They cost little, and they compute the result itself: 256 steps are too few for scores and
    boxes together.
    """
    leads_to_weights: set[str] = set()
    tail = {}
    for node in reversed(model.graph.node):
        if node.op_type in WEIGHTED or leads_to_weights.intersection(node.output):
            leads_to_weights.update(node.input)
        else:
            tail[node.name] = AFTER_LAST_LAYER
    return dict(reversed(tail.items()))


def masked_nodes(model: ModelProto, masked: Collection[str]) -> dict[str, str]:
    """Return the nodes that read or write a masked tensor, such as a softmax behind a mask.

    A range that includes the values that mask leaves no steps for the others, and a narrower one
    no longer masks.
    """
    tensors = set(masked)
    return {
        node.name: WITH_MASKED_VALUES
        for node in model.graph.node
        if not tensors.isdisjoint((*node.input, *node.output))
    }


def softmax_inputs(model: ModelProto) -> set[str]:
    """Return the tensors that a softmax reads, directly or behind operators that move numbers."""
    found: set[str] = set()
    for node in reversed(model.graph.node):
        is_read = node.op_type in _MOVING and not found.isdisjoint(node.output)
        if is_read or node.op_type in ("LogSoftmax", "Softmax"):
            found.add(node.input[0])
    return found
