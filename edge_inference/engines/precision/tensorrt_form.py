"""Changes a file with Q/DQ pairs to the form that TensorRT takes, with the same numbers.

Exporters for CPUs quantize biases to 32 bits, or use unsigned numbers around 128. TensorRT takes
biases in fp32 and signed numbers around 0. What is changed here has the same result: a bias is
dequantized, unsigned numbers are shifted by 128. Only weights whose numbers, without their zero
point, exceed a signed byte are rounded again, by half a step of their scale at most.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.engines.precision.folding import keep_used_domains
from edge_inference.engines.precision.graph import (
    FreshNames,
    captured_tensors,
    drop_unused_constants,
)
from edge_inference.engines.precision.onnx_file import (
    check_network,
    first_line,
    import_onnx,
    read_onnx,
    write_onnx,
)
from edge_inference.engines.quantized.quantized_file import look_at
from edge_inference.engines.quantized.quantized_nodes import DEQUANTIZE, ORT_DOMAIN, QUANTIZE
from edge_inference.errors import BackendError, ModelError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

_MAX_BYTE, _MIN_BYTE = 127, -128
#: The limits of types that constants are quantized to in the network.
_LIMITS = {"int8": (-128, 127), "uint8": (0, 255), "int4": (-8, 7), "uint4": (0, 15)}
_MAX_CHANNELS = 1 << 18
#: Operators that exporters write between a constant and its reader.
_FOLDED = ("Cast", "Constant", "ConstantOfShape", "Identity")
_PASSING = ("Cast", "Identity")

_HINT = "export it with constant scales and zero points"
_EXPORT_AGAIN = "export it again"

Numbers = NDArray[Any]


def write_for_tensorrt(source: Path, destination: Path) -> None:
    """Write ``source`` in TensorRT's form; the same source gives the same bytes.

    Raises ModelError for a file that has no such form, BackendError without the package onnx.
    """
    found = look_at(source)
    if found is None or found.obstacles:
        reason = "; ".join(found.obstacles) if found is not None else "it cannot be read"
        raise ModelError(f"{source}: no form for TensorRT has the same results ({reason})")
    onnx = import_onnx()
    model, _ = read_onnx(source)
    try:
        _TensorrtForm(model, onnx).run()
    except ModelError as error:
        raise ModelError(f"{source}: {error}") from error
    try:
        keep_used_domains(model)
        check_network(model, source, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise BackendError(
            f"{source}: in TensorRT's form it is not valid ({first_line(error)}); export it with "
            "int8 weights and activations with the zero point 0"
        ) from error
    write_onnx(model, destination)
    written = look_at(destination)
    if written is None or not written.fits_tensorrt:
        raise ModelError(
            f"{source}: TensorRT's form of it was not found; export it with int8 weights and "
            "activations with the zero point 0"
        )


class _TensorrtForm:
    """Changes a network in place; for a single use: ``_TensorrtForm(...).run()``."""

    def __init__(self, model: ModelProto, onnx: Any) -> None:
        self._graph = model.graph
        self._onnx = onnx
        self._names = FreshNames(model.graph)
        self._arrays: dict[str, Numbers] = {
            entry.name: onnx.numpy_helper.to_array(entry) for entry in model.graph.initializer
        }
        self._initializers = set(self._arrays)
        #: Old files list constants as inputs, too.
        self._listed = {entry.name for entry in model.graph.input} & self._initializers
        self._passed = {
            node.output[0]: node.input[0] for node in model.graph.node if node.op_type in _PASSING
        }

    def run(self) -> None:
        """Rewrite all nodes."""
        nodes: list[NodeProto] = []
        for node in list(self._graph.node):
            if node.op_type in _FOLDED:
                self._fold(node)
            if node.op_type in (QUANTIZE, DEQUANTIZE):
                nodes.extend(self._rewrite(node))
            else:
                nodes.append(node)
        del self._graph.node[:]
        self._graph.node.extend(nodes)
        _drop_unused_nodes(self._graph)
        drop_unused_constants(self._graph)
        _drop_inputs(self._graph, self._listed)

    def _fold(self, node: NodeProto) -> None:
        """Note the result of a node on constants; the node stays for its other readers."""
        attributes = {entry.name: entry for entry in node.attribute}
        to_array = self._onnx.numpy_helper.to_array
        values = self._arrays.get(node.input[0]) if node.input else None
        result = None
        if node.op_type == "Constant":
            result = to_array(attributes["value"].t) if "value" in attributes else None
        elif values is None:
            return
        elif node.op_type == "Identity":
            result = values
        elif node.op_type == "Cast":
            kind = self._onnx.helper.tensor_dtype_to_np_dtype(attributes["to"].i)
            result = values.astype(kind)
        elif values.size <= 1 and 0 <= int(values.sum()) <= _MAX_CHANNELS:  # a zero point
            filling = to_array(attributes["value"].t) if "value" in attributes else np.zeros(1, "f")
            if filling.size:
                result = np.full([int(size) for size in values.ravel()], filling.ravel()[0])
        if result is not None:
            self._arrays[node.output[0]] = result

    def _rewrite(self, node: NodeProto) -> Iterator[NodeProto]:
        if node.domain == ORT_DOMAIN:
            node.domain = ""
            kept = [entry for entry in node.attribute if entry.name != "block_size" or entry.i]
            del node.attribute[:]
            node.attribute.extend(kept)
        values = self._arrays.get(node.input[0])
        if values is None:
            self._shift(node)
            yield node
        elif node.op_type == QUANTIZE:
            numbers = self._quantize(node, values)
            if numbers is not None:
                self._arrays[node.output[0]] = numbers
            yield node
        elif values.dtype == np.int32:
            self._write(node.output[0], self._dequantize(node, values))
        elif values.dtype.name in _LIMITS and _attribute(node, "block_size") == 0:
            yield from self._weights(node, values)
        else:
            yield node

    def _shift(self, node: NodeProto) -> None:
        """Shift the numbers of an activation's pair if they are unsigned around 128."""
        zero_point = self._array_at(node, 2)
        if node.op_type == DEQUANTIZE:
            while node.input[0] in self._passed:
                node.input[0] = self._passed[node.input[0]]
        if zero_point is not None and zero_point.dtype == np.uint8:
            node.input[2] = self._new(node.input[2], np.zeros(zero_point.shape, np.int8))
        self._name_constants(node)

    def _weights(self, node: NodeProto, numbers: Numbers) -> Iterator[NodeProto]:
        """Write weights as symmetric bytes: their real values with a pair, for every version."""
        axis, scale = _attribute(node, "axis", 1), self._scale(node)
        centered = numbers.astype(np.int32) - self._zero_point(node, numbers)
        factor = _shrinking_factor(centered, scale, axis)
        fitted = np.rint(centered / _along(factor, centered, axis))
        new_scale = (scale * factor).astype(scale.dtype)
        if new_scale.size == 1:
            new_scale = new_scale.reshape(())
        values = (fitted * _along(new_scale, centered, axis).astype(np.float64)).astype(scale.dtype)
        name = node.output[0]
        base = f"{name}_weights"
        quantized = self._names.new(f"{base}_quantized")
        parameters = [
            self._new(f"{base}_scale", new_scale),
            self._new(f"{base}_zero_point", np.zeros(new_scale.shape, np.int8)),
        ]
        make_node = self._onnx.helper.make_node
        attributes = {"axis": axis} if new_scale.ndim else {}
        yield make_node(
            QUANTIZE,
            [self._new(base, values), *parameters],
            [quantized],
            self._names.new(f"{name}_{QUANTIZE}"),
            **attributes,
        )
        yield make_node(DEQUANTIZE, [quantized, *parameters], [name], node.name, **attributes)

    def _dequantize(self, node: NodeProto, numbers: Numbers) -> Numbers:
        axis, scale = _attribute(node, "axis", 1), self._scale(node)
        centered = numbers.astype(np.int64) - self._zero_point(node, numbers)
        real = centered * _along(scale, centered, axis).astype(np.float64)
        return np.asarray(real, scale.dtype)

    def _quantize(self, node: NodeProto, values: Numbers) -> Numbers | None:
        """Return the numbers to which the network quantizes a constant, None if not integers."""
        axis, scale, zero_point = (
            _attribute(node, "axis", 1),
            self._array_at(node, 1),
            self._array_at(node, 2),
        )
        kind = np.dtype(np.uint8) if zero_point is None else zero_point.dtype
        if scale is None or kind.name not in _LIMITS or _attribute(node, "output_dtype"):
            return None
        steps = np.rint(values / _along(scale, values, axis))
        low, high = _LIMITS[kind.name]
        return np.clip(steps + self._zero_point(node, values), low, high).astype(kind)

    def _scale(self, node: NodeProto) -> Numbers:
        scale = self._array_at(node, 1)
        if scale is None:
            raise ModelError(f"the scale of node {node.name!r} is not a constant; {_HINT}")
        if scale.dtype.hasobject:
            raise ModelError(f"the scale of node {node.name!r} is a text; {_EXPORT_AGAIN}")
        return scale

    def _zero_point(self, node: NodeProto, numbers: Numbers) -> Numbers:
        found = self._array_at(node, 2)
        if found is None:
            if len(node.input) > 2 and node.input[2]:
                raise ModelError(f"the zero point of node {node.name!r} is not a constant; {_HINT}")
            return np.zeros((), np.int64)
        return _along(found.astype(np.int64), numbers, _attribute(node, "axis", 1))

    def _array_at(self, node: NodeProto, place: int) -> Numbers | None:
        return self._arrays.get(node.input[place]) if place < len(node.input) else None

    def _name_constants(self, node: NodeProto) -> None:
        """Give a node its scale and zero point as plain constants."""
        for place, name in enumerate(node.input):
            values = self._arrays.get(name)
            if place and values is not None and name not in self._initializers:
                node.input[place] = self._new(name, values)

    def _new(self, name: str, values: Numbers) -> str:
        name = self._names.new(name)
        self._write(name, values)
        return name

    def _write(self, name: str, values: Numbers) -> None:
        self._initializers.add(name)
        self._graph.initializer.append(self._onnx.numpy_helper.from_array(values, name))


def _attribute(node: NodeProto, name: str, default: int = 0) -> int:
    return next((int(entry.i) for entry in node.attribute if entry.name == name), default)


def _along(values: Numbers, numbers: Numbers, axis: int) -> Numbers:
    """Return scales or zero points in a shape that fits to ``numbers``."""
    if values.size == 1:
        return values.reshape(())
    _expect_one_each(values, numbers, axis)
    shape = [1] * numbers.ndim
    shape[axis] = -1
    return values.reshape(shape)


def _expect_one_each(values: Numbers, numbers: Numbers, axis: int) -> None:
    """Raise ModelError unless there is a scale or zero point for each entry of the axis."""
    if not -numbers.ndim <= axis < numbers.ndim or values.size != numbers.shape[axis]:
        raise ModelError(
            f"expected one scale and zero point for each entry of axis {axis} of "
            f"{list(numbers.shape)} numbers, got {values.size}; {_EXPORT_AGAIN}"
        )


def _shrinking_factor(centered: Numbers, scale: Numbers, axis: int) -> Numbers:
    """Return the factors of the scale with which numbers fit into a signed byte; 1 if they do."""
    others: tuple[int, ...] | None = None
    if scale.size > 1:
        _expect_one_each(scale, centered, axis)
        others = tuple(place for place in range(centered.ndim) if place != axis % centered.ndim)
    most = centered.max(axis=others, initial=0)
    least = centered.min(axis=others, initial=0)
    fits = (most <= _MAX_BYTE) & (least >= _MIN_BYTE)
    factor = np.where(fits, 1.0, np.maximum(most, -least) / _MAX_BYTE)
    return factor.reshape(scale.shape)


def _drop_inputs(graph: GraphProto, constants: set[str]) -> None:
    """Remove the inputs of constants that are no longer there."""
    kept = constants & {entry.name for entry in graph.initializer}
    inputs = [entry for entry in graph.input if entry.name in kept or entry.name not in constants]
    del graph.input[:]
    graph.input.extend(inputs)


def _drop_unused_nodes(graph: GraphProto) -> None:
    """Remove nodes without effect, and the declared types of what may have changed."""
    used = {entry.name for entry in graph.output}
    kept = []
    for node in reversed(graph.node):
        if used.intersection(node.output):
            used.update((*node.input, *captured_tensors(node)))
            kept.append(node)
    del graph.node[:]
    graph.node.extend(reversed(kept))
    del graph.value_info[:]
