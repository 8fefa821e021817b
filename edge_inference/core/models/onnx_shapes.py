"""Infers the shapes that nodes of an ONNX graph compute from constants, before it runs.

A name is valid within its graph. An inner graph sees the names of the outer one, unless it has
its own; two branches do not see each other's names, and a function sees only its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from edge_inference.core.weights.onnx_reader import (
    ELEMENT_BYTES,
    FLOAT_BYTES,
    OnnxTensor,
    WireMessage,
    last_text,
    merge_messages,
    read_tensor,
)

_INT64_BYTES = 8
#: Number of inputs that are read; no operator here needs more.
_MAX_INPUTS = 5
_ONNX_DOMAINS = ("", "ai.onnx")

Dims = Sequence[float]


class KnownTensor(NamedTuple):
    """The known shape and element size of a tensor, and its values if they are known."""

    dims: Dims
    element_bytes: int
    tensor: OnnxTensor | None = None
    elements: Dims = ()

    def values(self) -> Dims:
        """Return the values if they are constant and few. Raises LimitExceededError."""
        return self.tensor.values() if self.tensor is not None else self.elements

    @property
    def is_constant(self) -> bool:
        """Tell whether the values may be known."""
        return self.tensor is not None or len(self.elements) > 0

    @property
    def size(self) -> float:
        """Return the size in bytes."""
        return count_elements(self.dims) * self.element_bytes


_UNKNOWN = KnownTensor((), 1)


class Scope:
    """The known tensors of a graph by name."""

    def __init__(self, outer: Scope | None = None) -> None:
        self._outer = outer
        self._names: dict[str, KnownTensor] = {}

    def __getitem__(self, name: str) -> KnownTensor:
        """Return the known tensor; an unknown one for a missing name."""
        scope: Scope | None = self
        while scope is not None:
            found = scope._names.get(name)
            if found is not None:
                return found
            scope = scope._outer
        return _UNKNOWN

    def keep(self, name: str, known: KnownTensor) -> None:
        """Set the known tensor of a name, for this graph and its inner graphs."""
        if name:
            self._names[name] = known

    def forget(self, name: str) -> None:
        """Mark a name as unknown, since a node computes it."""
        own = self._names.get(name)
        if own.is_constant if own is not None else self[name] is not _UNKNOWN:
            self._names[name] = _UNKNOWN


class OnnxAttribute:
    """An attribute of a node."""

    def __init__(self, message: WireMessage) -> None:
        parts = message.parts(1, 5, 6, 10, 11, 22, 23)
        self.name = last_text(parts[1])
        self.message = message
        self.tensor = merge_messages(parts[5])
        self.sparse = merge_messages(parts[22])
        #: All values of a kind, single and repeated.
        self.tensors = [part for part in (self.tensor, *parts[10]) if part is not None]
        self.graphs = [part for part in (merge_messages(parts[6]), *parts[11]) if part is not None]
        self.sparse_tensors = [part for part in (self.sparse, *parts[23]) if part is not None]


class OnnxNode:
    """A node without its input values."""

    def __init__(self, message: WireMessage) -> None:
        parts = message.parts(1, 2, 4, 5, 7, 8)
        self.kind = last_text(parts[4])
        self.domain = normalize_domain(last_text(parts[7]))
        self.overload = last_text(parts[8])
        self.attributes = parts[5]
        self.outputs = [name.text() for name in parts[2]]
        self._inputs = parts[1][:_MAX_INPUTS]

    def inputs(self) -> list[str]:
        """Return the names of the first inputs."""
        return [name.text() for name in self._inputs]

    @property
    def is_constant(self) -> bool:
        """Tell whether this is a Constant node."""
        return self.kind == "Constant" and self.domain == ""


def normalize_domain(domain: str) -> str:
    """Return the empty name for ONNX's own domain, which has two names."""
    return "" if domain in _ONNX_DOMAINS else domain


def count_elements(dims: Dims) -> float:
    """Return the product of the dimensions; a negative or unknown one counts as one."""
    if any(dim == 0 for dim in dims):
        return 0.0
    return math.prod(float(dim) if dim >= 1 else 1.0 for dim in dims)


def describe_tensor(tensor: OnnxTensor) -> KnownTensor:
    """Return the known tensor of a TensorProto."""
    return KnownTensor(tensor.dims, tensor.element_bytes, tensor)


def describe_sparse_tensor(message: WireMessage) -> KnownTensor:
    """Return the known tensor of a SparseTensorProto, as large as its dense form."""
    values = message.one(1)
    element_bytes = read_tensor(values).element_bytes if values is not None else FLOAT_BYTES
    return KnownTensor(message.numbers(3), element_bytes)


def describe_constant_node(attributes: Sequence[OnnxAttribute]) -> KnownTensor:
    """Return the known tensor of a Constant node; an unknown one for texts."""
    for attribute in attributes:
        name = attribute.name
        if name == "value" and attribute.tensor is not None:
            return describe_tensor(read_tensor(attribute.tensor))
        if name == "sparse_value" and attribute.sparse is not None:
            return describe_sparse_tensor(attribute.sparse)
        if name in ("value_int", "value_ints"):
            integers = attribute.message.numbers(3 if name == "value_int" else 8)
            return KnownTensor((len(integers),), _INT64_BYTES, elements=integers)
        if name in ("value_float", "value_floats"):
            floats = attribute.message.floats(2 if name == "value_float" else 7)
            return KnownTensor((len(floats),), FLOAT_BYTES, elements=floats)
    return _UNKNOWN


def infer_output(
    node: OnnxNode, scope: Scope, attributes: Sequence[OnnxAttribute]
) -> KnownTensor | None:
    """Return what a node computes from constants, None if unknown. Raises LimitExceededError."""
    infer = _INFERENCES.get(node.kind) if node.domain == "" else None
    if infer is None:
        return None
    inputs = [scope[name] for name in node.inputs()]
    inputs += [_UNKNOWN] * (_MAX_INPUTS - len(inputs))
    return infer(inputs, {attribute.name: attribute.message for attribute in attributes})


_Inputs = Sequence[KnownTensor]
_Attributes = Mapping[str, WireMessage]


def _constant_of_shape(inputs: _Inputs, attributes: _Attributes) -> KnownTensor | None:
    shape = inputs[0].values()
    value = attributes["value"].one(5) if "value" in attributes else None
    element_bytes = read_tensor(value).element_bytes if value is not None else FLOAT_BYTES
    return KnownTensor(shape, element_bytes) if shape else None


def _expand(inputs: _Inputs, attributes: _Attributes) -> KnownTensor | None:
    shape = inputs[1].values()
    if not shape:
        return None
    input_dims = inputs[0].dims
    rank = max(len(input_dims), len(shape))
    input_dims, shape = ([*[1] * (rank - len(dims)), *dims] for dims in (input_dims, shape))
    output_dims = [
        b if a == 1 else a if b == 1 else max(a, b) for a, b in zip(input_dims, shape, strict=True)
    ]
    return KnownTensor(output_dims, inputs[0].element_bytes)


def _tile(inputs: _Inputs, attributes: _Attributes) -> KnownTensor | None:
    return _scale_dims(inputs[0], inputs[1].values())


def _resize(inputs: _Inputs, attributes: _Attributes) -> KnownTensor | None:
    sizes = inputs[3].values()
    if sizes:
        return KnownTensor(sizes, inputs[0].element_bytes)
    # In old opsets, the scales are the second input.
    scales = inputs[2].values() or inputs[1].values()
    if not scales and "scales" in attributes:
        scales = attributes["scales"].floats(7)
    return _scale_dims(inputs[0], scales)


def _scale_dims(known: KnownTensor, factors: Dims) -> KnownTensor | None:
    if not factors:
        return None
    dims = [*known.dims, *[1] * (len(factors) - len(known.dims))]
    factors = [*factors, *[1] * (len(dims) - len(factors))]
    return KnownTensor(
        [max(dim, 1) * factor for dim, factor in zip(dims, factors, strict=True)],
        known.element_bytes,
    )


def _pad(inputs: _Inputs, attributes: _Attributes) -> KnownTensor | None:
    pads = inputs[1].values()
    if not pads and "pads" in attributes:
        pads = attributes["pads"].numbers(8)
    if not pads or inputs[3].values():  # only for some axes
        return None
    axes = len(pads) // 2
    dims = [*inputs[0].dims, *[0] * axes][:axes]
    return KnownTensor(
        [dim + pads[axis] + pads[axis + axes] for axis, dim in enumerate(dims)],
        inputs[0].element_bytes,
    )


def _one_hot(inputs: _Inputs, attributes: _Attributes) -> KnownTensor | None:
    depth = inputs[1].values()
    if len(depth) != 1:
        return None
    return KnownTensor([*inputs[0].dims, depth[0]], inputs[2].element_bytes)


def _range(inputs: _Inputs, attributes: _Attributes) -> KnownTensor | None:
    start, limit, delta = (known.values() for known in inputs[:3])
    if any(len(value) != 1 or not math.isfinite(value[0]) for value in (start, limit, delta)):
        return None
    if delta[0] == 0:
        return None
    length = (limit[0] - start[0]) / delta[0]
    return KnownTensor([max(length, 0)], inputs[0].element_bytes)


def _random(inputs: _Inputs, attributes: _Attributes) -> KnownTensor | None:
    if "shape" not in attributes:
        return None
    dtype = attributes["dtype"].numbers(3) if "dtype" in attributes else []
    element_bytes = ELEMENT_BYTES.get(dtype[-1], FLOAT_BYTES) if dtype else FLOAT_BYTES
    return KnownTensor(attributes["shape"].numbers(8), element_bytes)


_Inference = Callable[[_Inputs, _Attributes], KnownTensor | None]
_INFERENCES: dict[str, _Inference] = {
    "ConstantOfShape": _constant_of_shape,
    "Expand": _expand,
    "Tile": _tile,
    "Resize": _resize,
    "Upsample": _resize,
    "Pad": _pad,
    "OneHot": _one_hot,
    "Range": _range,
    "RandomNormal": _random,
    "RandomUniform": _random,
}
