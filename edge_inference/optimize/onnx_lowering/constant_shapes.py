"""Folds constants, including sizes that shape inference knows.

Exported graphs often read the sizes of their tensors. If shape inference knows the size of an
axis, all that is computed from it is constant. Constant folding alone does not find this if other
axes of the same tensor are dynamic.
"""

from __future__ import annotations

import operator
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.engines.precision.folding import fold
from edge_inference.engines.precision.onnx_file import import_onnx, write_onnx
from edge_inference.optimize.onnx_lowering.branches import prune
from edge_inference.optimize.onnx_lowering.constants import Constants

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

#: The elements of a small integer tensor, None for an unknown element.
_Elements = list[int | None]
_ARITHMETIC: dict[str, Callable[[int, int], int]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mul": operator.mul,
    "Div": lambda a, b: abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1),
}
_LARGE_BYTES = 1 << 14
_SAME_ELEMENTS = ("Identity", "Unsqueeze", "Squeeze", "Reshape")


def fold_constant_shapes(model: ModelProto) -> ModelProto:
    """Return the graph with all constants folded; inputs and outputs stay.

    Raises ModelError or BackendError if ONNX Runtime cannot run the graph.
    """
    model = _fold_constants(model)
    weights = _move_weights_to_inputs(model)
    while _fold_sizes(model):
        model = _fold_constants(model)
    _restore_weights(model, weights)
    return model


def _move_weights_to_inputs(model: ModelProto) -> list[TensorProto]:
    """Turn large constants into inputs: they hold no sizes, and copying them takes long."""
    onnx = import_onnx()
    graph = model.graph
    large = [entry for entry in graph.initializer if entry.ByteSize() > _LARGE_BYTES]
    kept = [entry for entry in graph.initializer if entry.ByteSize() <= _LARGE_BYTES]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    for entry in large:
        info = onnx.helper.make_tensor_value_info(entry.name, entry.data_type, list(entry.dims))
        graph.input.append(info)
    return large


def _restore_weights(model: ModelProto, weights: Sequence[TensorProto]) -> None:
    graph = model.graph
    names = {entry.name for entry in weights}
    inputs = [entry for entry in graph.input if entry.name not in names]
    del graph.input[:]
    graph.input.extend(inputs)
    graph.initializer.extend(weights)
    prune(graph)


def _fold_constants(model: ModelProto) -> ModelProto:
    with tempfile.TemporaryDirectory(prefix="edge_inference_") as folder:
        file = Path(folder, "graph.onnx")
        write_onnx(model, file)
        return fold(file)


def _fold_sizes(model: ModelProto) -> bool:
    """Replace known sizes with constants; return whether there were any."""
    sizes = _Sizes(model)
    constants = sizes.constants
    is_changed = False
    for node in model.graph.node:
        value = _fold_nonzero(node, constants)
        name = node.output[0]
        if value is None:
            elements = sizes.evaluate(node)
            if elements is None:
                continue
            sizes.known[name] = elements
            if None in elements:
                continue
            value = np.array(elements[0] if sizes.ranks.get(name) == 0 else elements, np.int64)
        node.output[0] = constants.names.new(f"{name}_unused")
        constants.put(name, value)
        is_changed = True
    prune(model.graph)
    return is_changed


def _fold_nonzero(node: NodeProto, constants: Constants) -> NDArray[np.int64] | None:
    """Return NonZero of a constant, which ONNX Runtime does not fold."""
    value = constants.get(node.input[0]) if node.op_type == "NonZero" else None
    return None if value is None else np.array(np.nonzero(value), np.int64)


class _Sizes:
    """The known elements of the integer tensors of a graph with inferred shapes."""

    def __init__(self, model: ModelProto) -> None:
        onnx = import_onnx()
        self._value_of = onnx.helper.get_attribute_value
        self.constants = Constants(model.graph)
        self.known: dict[str, _Elements] = {}
        self.ranks: dict[str, int] = {}
        self._shapes: dict[str, _Elements] = {}
        graph = model.graph
        for entry in (*graph.input, *graph.output, *graph.value_info):
            kind = entry.type.tensor_type
            if not kind.HasField("shape"):
                continue
            axes = kind.shape.dim
            self._shapes[entry.name] = [
                axis.dim_value if axis.HasField("dim_value") else None for axis in axes
            ]
            self.ranks[entry.name] = len(axes)
        for constant in graph.initializer:
            self._shapes[constant.name] = list(constant.dims)
            self.ranks[constant.name] = len(constant.dims)

    def evaluate(self, node: NodeProto) -> _Elements | None:
        """Return the known elements of a node's output, None if nothing is known."""
        kind = node.op_type
        if kind == "Shape":
            return self._shape(node)
        inputs = [self._elements(name) for name in node.input]
        if not inputs or inputs[0] is None:
            return None
        if kind == "Concat":
            return (
                None if None in inputs else [element for part in inputs for element in part or ()]
            )
        if kind in _SAME_ELEMENTS:
            return inputs[0] if self.ranks.get(node.output[0], 9) <= 1 else None
        if kind == "Gather":
            return self._gather(node, inputs)
        if kind == "Slice":
            return _slice(inputs)
        if kind in _ARITHMETIC:
            return _compute(_ARITHMETIC[kind], inputs)
        return None

    def _shape(self, node: NodeProto) -> _Elements | None:
        parts = [self._value_of(entry) for entry in node.attribute]  # start and end
        return None if any(parts) else self._shapes.get(node.input[0])

    def _gather(self, node: NodeProto, inputs: Sequence[_Elements | None]) -> _Elements | None:
        elements, indices = inputs
        if elements is None or indices is None or self.ranks.get(node.input[0]) != 1:
            return None
        return [None if index is None else elements[index] for index in indices]

    def _elements(self, name: str) -> _Elements | None:
        if name in self.known:
            return self.known[name]
        value = self.constants.get(name)
        if value is None or value.ndim > 1 or value.dtype != np.int64:
            return None
        return [int(element) for element in value.ravel()]


def _slice(inputs: Sequence[_Elements | None]) -> _Elements | None:
    """Slice a one-dimensional tensor."""
    elements, *rest = inputs
    bounds: list[Any] = [None if part is None else part[0] for part in rest]
    if elements is None or len(bounds) < 2 or None in (bounds[0], bounds[1]):
        return None
    step = bounds[3] if len(bounds) > 3 else 1
    # With a negative step, ONNX and Python differ for an end before the first element.
    if step is None or step < 1:
        return None
    return elements[bounds[0] : bounds[1] : step]


def _compute(
    operation: Callable[[int, int], int], inputs: Sequence[_Elements | None]
) -> _Elements | None:
    left, right = inputs
    if left is None or right is None:
        return None
    length = max(len(left), len(right))
    left, right = (part * length if len(part) == 1 else part for part in (left, right))
    if len(left) != len(right):
        return None
    if operation is _ARITHMETIC["Div"] and 0 in right:
        return None
    pairs = zip(left, right, strict=True)
    return [None if a is None or b is None else operation(a, b) for a, b in pairs]
