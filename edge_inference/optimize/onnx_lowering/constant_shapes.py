"""Computes beforehand what does not depend on the inputs, sizes among it.

Exported graphs ask for the sizes of their tensors all the time. Where shape inference knows an
axis, what is computed from it is a constant; folding constants alone does not find it, since the
other axes of the same tensor are open.
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

#: The numbers of a small integer tensor, None for one that is not known.
_Numbers = list[int | None]
_ARITHMETIC: dict[str, Callable[[int, int], int]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mul": operator.mul,
    "Div": lambda a, b: abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1),
}
_LARGE = 1 << 14
_SAME = ("Identity", "Unsqueeze", "Squeeze", "Reshape")


def fold_constant_shapes(model: ModelProto) -> ModelProto:
    """Return the graph with everything constant computed; inputs and outputs stay.

    Raises ModelError or BackendError where ONNX Runtime cannot run the graph.
    """
    model = _folded(model)
    weights = _set_aside(model)
    while _settle_sizes(model):
        model = _folded(model)
    _put_back(model, weights)
    return model


def _set_aside(model: ModelProto) -> list[TensorProto]:
    """Make inputs of large constants: no size follows from them, and copying them takes long."""
    onnx = import_onnx()
    graph = model.graph
    large = [entry for entry in graph.initializer if entry.ByteSize() > _LARGE]
    kept = [entry for entry in graph.initializer if entry.ByteSize() <= _LARGE]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    for entry in large:
        told = onnx.helper.make_tensor_value_info(entry.name, entry.data_type, list(entry.dims))
        graph.input.append(told)
    return large


def _put_back(model: ModelProto, weights: Sequence[TensorProto]) -> None:
    graph = model.graph
    names = {entry.name for entry in weights}
    inputs = [entry for entry in graph.input if entry.name not in names]
    del graph.input[:]
    graph.input.extend(inputs)
    graph.initializer.extend(weights)
    prune(graph)


def _folded(model: ModelProto) -> ModelProto:
    with tempfile.TemporaryDirectory(prefix="edge_inference_") as folder:
        file = Path(folder, "graph.onnx")
        write_onnx(model, file)
        return fold(file)


def _settle_sizes(model: ModelProto) -> bool:
    """Make constants of sizes that are known; tell whether there were any."""
    sizes = _Sizes(model)
    constants = sizes.constants
    found = False
    for node in model.graph.node:
        value = _places(node, constants)
        name = node.output[0]
        if value is None:
            numbers = sizes.of(node)
            if numbers is None:
                continue
            sizes.known[name] = numbers
            if None in numbers:
                continue
            value = np.array(numbers[0] if sizes.ranks.get(name) == 0 else numbers, np.int64)
        node.output[0] = constants.names.new(f"{name}_before")
        constants.put(name, value)
        found = True
    prune(model.graph)
    return found


def _places(node: NodeProto, constants: Constants) -> NDArray[np.int64] | None:
    """Return where a constant is not zero, which ONNX Runtime does not fold."""
    value = constants.get(node.input[0]) if node.op_type == "NonZero" else None
    return None if value is None else np.array(np.nonzero(value), np.int64)


class _Sizes:
    """What is known of the integer tensors of a graph with inferred shapes."""

    def __init__(self, model: ModelProto) -> None:
        onnx = import_onnx()
        self._value_of = onnx.helper.get_attribute_value
        self.constants = Constants(model.graph)
        self.known: dict[str, _Numbers] = {}
        self.ranks: dict[str, int] = {}
        self._shapes: dict[str, _Numbers] = {}
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

    def of(self, node: NodeProto) -> _Numbers | None:
        """Return what is known of a node's output, None for nothing."""
        kind = node.op_type
        if kind == "Shape":
            return self._shape(node)
        inputs = [self._numbers(name) for name in node.input]
        if not inputs or inputs[0] is None:
            return None
        if kind == "Concat":
            return None if None in inputs else [n for part in inputs for n in part or ()]
        if kind in _SAME:
            return inputs[0] if self.ranks.get(node.output[0], 9) <= 1 else None
        if kind == "Gather":
            return self._picked(node, inputs)
        if kind == "Slice":
            return _sliced(inputs)
        if kind in _ARITHMETIC:
            return _computed(_ARITHMETIC[kind], inputs)
        return None

    def _shape(self, node: NodeProto) -> _Numbers | None:
        parts = [self._value_of(entry) for entry in node.attribute]  # start and end
        return None if any(parts) else self._shapes.get(node.input[0])

    def _picked(self, node: NodeProto, inputs: Sequence[_Numbers | None]) -> _Numbers | None:
        numbers, places = inputs
        if numbers is None or places is None or self.ranks.get(node.input[0]) != 1:
            return None
        return [None if place is None else numbers[place] for place in places]

    def _numbers(self, name: str) -> _Numbers | None:
        if name in self.known:
            return self.known[name]
        value = self.constants.get(name)
        if value is None or value.ndim > 1 or value.dtype != np.int64:
            return None
        return [int(number) for number in value.ravel()]


def _sliced(inputs: Sequence[_Numbers | None]) -> _Numbers | None:
    """Slice a list; the axis can only be its one."""
    numbers, *rest = inputs
    bounds: list[Any] = [None if part is None else part[0] for part in rest]
    if numbers is None or len(bounds) < 2 or None in (bounds[0], bounds[1]):
        return None
    step = bounds[3] if len(bounds) > 3 else 1
    # Beyond the front a slice of ONNX ends there, one of Python's counts from the back.
    if step is None or step < 1:
        return None
    return numbers[bounds[0] : bounds[1] : step]


def _computed(
    operation: Callable[[int, int], int], inputs: Sequence[_Numbers | None]
) -> _Numbers | None:
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
