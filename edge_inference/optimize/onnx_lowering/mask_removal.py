"""Removes a mask input that is always ones: a mask that hides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edge_inference.engines.precision.onnx_file import import_onnx
from edge_inference.errors import ModelError
from edge_inference.optimize.onnx_lowering.branches import prune
from edge_inference.optimize.onnx_lowering.constants import Constants

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

#: Operators that only move or repeat their input.
_DATA_MOVEMENT = ("Slice", "Unsqueeze", "Squeeze", "Reshape", "Transpose", "Expand", "Identity")
_ARITHMETIC = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply}


def remove_mask_input(model: ModelProto, name: str) -> None:
    """Remove an input that is all ones from a graph, in place, with all that is computed from it.

    Each tensor that is computed from the mask has the same value in every element. Sums with
    zeros are removed; the other operand must have the shape of the sum, as attention scores have
    to which a mask is added. Raises ModelError if the mask is used in another way.
    """
    if name not in {entry.name for entry in model.graph.input}:
        return
    graph = model.graph
    uniform = _UniformTensors(model)
    uniform.values[name] = np.array(1, np.int64)
    replacements: dict[str, str] = {}
    kept: list[NodeProto] = []
    for node in graph.node:
        for index, name_read in enumerate(node.input):
            node.input[index] = replacements.get(name_read, name_read)
        operand = _find_sum_with_zeros(node, uniform)
        if operand is not None:
            replacements[node.output[0]] = operand
            continue
        value = uniform.evaluate(node)
        if value is not None:
            uniform.values[node.output[0]] = value
        kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)
    prune(graph)
    if name in {entry.name for entry in graph.input}:
        raise ModelError(
            f"input {name!r}: expected a mask that is only added, got other uses of it"
        )


def _find_sum_with_zeros(node: NodeProto, uniform: _UniformTensors) -> str | None:
    """Return the other operand of a sum with zeros, None for every other node."""
    if node.op_type != "Add" or len(node.input) != 2:
        return None
    first, second = node.input
    for kept, zeros in ((first, second), (second, first)):
        value = uniform.values.get(zeros)
        if value is not None and value == 0 and kept not in uniform.values:
            return str(kept)
    return None


class _UniformTensors:
    """The tensors computed from the mask that have one value in all elements, and that value."""

    def __init__(self, model: ModelProto) -> None:
        self._onnx: Any = import_onnx()
        self._constants = Constants(model.graph)
        self.values: dict[str, Any] = {}

    def evaluate(self, node: NodeProto) -> Any | None:
        """Return the value of all elements of a node's output, None if they differ."""
        if not node.input or not any(name in self.values for name in node.input):
            return None
        kind = node.op_type
        if kind in _DATA_MOVEMENT:
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
