"""Selects the nodes that stay in fp32, with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edge_inference.engines.precision.onnx_file import check_node_names

if TYPE_CHECKING:
    from onnx import ModelProto

#: Operators with weights, which take nearly all of a network's time.
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")

REQUESTED = "requested"
AFTER_LAST_LAYER = "after the last layer with weights"


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
