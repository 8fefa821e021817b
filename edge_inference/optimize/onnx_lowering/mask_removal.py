"""Removes an input that is always ones: a mask that hides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edge_inference.engines.precision.onnx_file import import_onnx
from edge_inference.errors import ModelError
from edge_inference.optimize.onnx_lowering.branches import prune
from edge_inference.optimize.onnx_lowering.constants import Constants

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

#: These only move or repeat what they get.
_MOVING = ("Slice", "Unsqueeze", "Squeeze", "Reshape", "Transpose", "Expand", "Identity")
_ARITHMETIC = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply}


def remove_mask_input(model: ModelProto, name: str) -> None:
    """Take an input that is ones throughout out of a graph, in place, and what it comes to.

    What is computed from it is one number in every place. Sums with zeros are left out; the
    other side of them must have the shape of the sum, as scores have it that a mask is added
    to. Raises ModelError where the mask is used in another way.
    """
    if name not in {entry.name for entry in model.graph.input}:
        return
    graph = model.graph
    same = _Same(model)
    same.values[name] = np.array(1, np.int64)
    instead: dict[str, str] = {}
    kept: list[NodeProto] = []
    for node in graph.node:
        for place, given in enumerate(node.input):
            node.input[place] = instead.get(given, given)
        left = _without_zeros(node, same)
        if left is not None:
            instead[node.output[0]] = left
            continue
        value = same.of(node)
        if value is not None:
            same.values[node.output[0]] = value
        kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)
    prune(graph)
    if name in {entry.name for entry in graph.input}:
        raise ModelError(f"input {name!r}: used for more than hiding what is not there")


def _without_zeros(node: NodeProto, same: _Same) -> str | None:
    """Return what a sum with zeros comes to, None for every other node."""
    if node.op_type != "Add" or len(node.input) != 2:
        return None
    first, second = node.input
    for kept, zeros in ((first, second), (second, first)):
        value = same.values.get(zeros)
        if value is not None and value == 0 and kept not in same.values:
            return str(kept)
    return None


class _Same:
    """Tensors that hold one number in every place, from the mask on, and that number."""

    def __init__(self, model: ModelProto) -> None:
        self._onnx: Any = import_onnx()
        self._constants = Constants(model.graph)
        self.values: dict[str, Any] = {}

    def of(self, node: NodeProto) -> Any | None:
        """Return the number that a node's output holds in every place, None where it varies."""
        if not node.input or not any(name in self.values for name in node.input):
            return None
        kind = node.op_type
        if kind in _MOVING:
            return self.values.get(node.input[0])
        if kind == "Cast":
            dtype = self._onnx.helper.tensor_dtype_to_np_dtype(
                self._onnx.helper.get_attribute_value(node.attribute[0])
            )
            value = self.values.get(node.input[0])
            return None if value is None else value.astype(dtype)
        inputs = [self._value(name) for name in node.input]
        if kind == "Where" and inputs[0] is not None:
            return inputs[1] if inputs[0] else inputs[2]
        if kind in _ARITHMETIC:
            left, right = inputs
            return None if left is None or right is None else _ARITHMETIC[kind](left, right)
        return None

    def _value(self, name: str) -> Any | None:
        if name in self.values:
            return self.values[name]
        constant = self._constants.get(name)
        return constant.reshape(()) if constant is not None and constant.size == 1 else None
