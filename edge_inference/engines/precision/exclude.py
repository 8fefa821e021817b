"""Selects the nodes that stay in fp32, with the reason."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from edge_inference.errors import ModelError

if TYPE_CHECKING:
    from onnx import ModelProto

#: Operators with weights, which take nearly all of a network's time.
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")

#: The shape of a matrix that converts boxes, from center and size to corners.
_CONVERSION = (4, 4)

#: Operators that select results by their value.
_SELECTING = ("NonMaxSuppression", "NonZero", "TopK")
_MOVING = ("Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")

#: Each pattern is compared with every name.
MAX_PATTERNS = 1000

IN_FP32, IN_7_BITS = "stay in fp32", "have 7-bit weights"

REQUESTED = "requested"
AFTER_LAST_LAYER = "after the last layer with weights"
WITH_MASKED_VALUES = "with masked values"
SELECTS = "selecting results"


def named_nodes(
    model: ModelProto, entries: Sequence[str], where: str, purpose: str = IN_FP32
) -> dict[str, str]:
    """Return the reason for each node that an entry selects; ``purpose`` says what for.

    An entry is the name of a node; or else the operator of nodes, as in ONNX Runtime's
    ``op_types_to_exclude``; or a pattern for names with ``*``, ``?`` and ``[...]``, as in
    ``trtexec --layerPrecisions``. Raises ModelError for an entry that selects no node, and for
    more than MAX_PATTERNS operators and patterns.
    """
    operators = {node.name: node.op_type for node in model.graph.node}
    entries = tuple(dict.fromkeys(entries))
    patterns = sum(entry not in operators for entry in entries)
    if patterns > MAX_PATTERNS:
        raise ModelError(
            f"{where}: expected at most {MAX_PATTERNS} operators and patterns of nodes that "
            f"{purpose}, got {patterns}; name the nodes, or combine patterns"
        )
    kept: dict[str, str] = {}
    for entry in entries:
        if entry in operators:
            found = [entry]
        else:
            found = [
                name
                for name, operator in operators.items()
                if operator == entry or fnmatchcase(name, entry)
            ]
        if not found:
            raise ModelError(_no_match(entry, operators, where, purpose))
        kept.update(dict.fromkeys(found, REQUESTED))
    return kept


def tail_nodes(model: ModelProto) -> dict[str, str]:
    """Return the nodes after the last layer with weights, such as a detector's sigmoids.

    They cost little, and they compute the result itself: 256 steps are too few for scores and
    boxes together. A product with a matrix that converts boxes, as YOLOv7 has before non-maximum
    suppression, is no layer with weights.
    """
    conversions = {
        entry.name for entry in model.graph.initializer if tuple(entry.dims) == _CONVERSION
    }
    leads_to_weights: set[str] = set()
    leads_to_selection: set[str] = set()
    tail = {}
    for node in reversed(model.graph.node):
        is_before = not leads_to_selection.isdisjoint(node.output)
        if is_before or node.op_type in _SELECTING:
            leads_to_selection.update(node.input)
        is_conversion = is_before and node.op_type == "MatMul" and node.input[1] in conversions
        is_layer = node.op_type in WEIGHTED and not is_conversion
        if is_layer or leads_to_weights.intersection(node.output):
            leads_to_weights.update(node.input)
        else:
            tail[node.name] = AFTER_LAST_LAYER
    return dict(reversed(tail.items()))


def _no_match(entry: str, operators: Mapping[str, str], where: str, purpose: str) -> str:
    kinds = list(dict.fromkeys(operators.values()))
    near = difflib.get_close_matches(entry, [*operators, *kinds], n=3, cutoff=0.4)
    return (
        f"{where}: no node has the name {entry!r}, which is no operator or pattern of its nodes "
        f"either, so it cannot {purpose}; the nearest names are "
        + ", ".join(near or [*list(operators)[:3], *kinds[:3]])
    )


def selecting_nodes(model: ModelProto) -> dict[str, str]:
    """Return the nodes that select results by value, with what is computed from them at the end.

    In fp16, coordinates of a large image are rounded to half a pixel and near scores become
    equal. The nodes after the last layer with weights that lead to a selection or follow one
    cost little in fp32.
    """
    selecting = {node.name for node in model.graph.node if node.op_type in _SELECTING}
    tail = tail_nodes(model)
    leads: set[str] = set()
    for node in reversed(model.graph.node):
        if node.name in selecting or (node.name in tail and not leads.isdisjoint(node.output)):
            leads.update(node.input)
            selecting.add(node.name)
    follows: set[str] = set()
    for node in model.graph.node:
        if node.name in tail and (node.name in selecting or not follows.isdisjoint(node.input)):
            follows.update(node.output)
            selecting.add(node.name)
    return {node.name: SELECTS for node in model.graph.node if node.name in selecting}


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
