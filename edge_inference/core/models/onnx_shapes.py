"""What the nodes of an ONNX graph make of constants: known before it runs.

Names hold within their graph. An inner graph sees those of the outer one unless it has its own;
two branches do not see each other's, and a function sees none but its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from edge_inference.core.models.onnx_reader import (
    ELEMENT_BYTES,
    FLOAT_BYTES,
    OnnxTensor,
    WireMessage,
    last_text,
    merge_messages,
    read_tensor,
)

_INT64_BYTES = 8
#: Inputs that are looked at; no operator here has more.
_MOST_INPUTS = 5
_ONNX_DOMAINS = ("", "ai.onnx")

Dims = Sequence[float]


class KnownTensor(NamedTuple):
    """What is known of a tensor: its shape, what an element takes, and maybe its values."""

    lengths: Dims
    element_bytes: int
    tensor: OnnxTensor | None = None
    numbers: Dims = ()

    def values(self) -> Dims:
        """Return its values where they are constant and few. Raises ExcessError."""
        return self.tensor.values() if self.tensor is not None else self.numbers

    @property
    def is_constant(self) -> bool:
        """Whether its values may be known."""
        return self.tensor is not None or len(self.numbers) > 0

    @property
    def size(self) -> float:
        """Bytes that it takes."""
        return count_elements(self.lengths) * self.element_bytes


_UNKNOWN = KnownTensor((), 1)


class Scope:
    """What a graph knows of its names; constants apart from what is only declared."""

    def __init__(self, outer: Scope | None = None) -> None:
        self._outer = outer
        self._names: dict[str, KnownTensor] = {}

    def __getitem__(self, name: str) -> KnownTensor:
        """Return what is known of a tensor; nothing is of one that is not there."""
        scope: Scope | None = self
        while scope is not None:
            found = scope._names.get(name)
            if found is not None:
                return found
            scope = scope._outer
        return _UNKNOWN

    def keep(self, name: str, known: KnownTensor) -> None:
        """Note what is known of a name from here on, in this graph and those in it."""
        if name:
            self._names[name] = known

    def forget(self, name: str) -> None:
        """Note that a node makes a tensor of this name, whose values are its own business."""
        own = self._names.get(name)
        if own.is_constant if own is not None else self[name] is not _UNKNOWN:
            self._names[name] = _UNKNOWN


class OnnxAttribute:
    """What an attribute of a node holds."""

    def __init__(self, message: WireMessage) -> None:
        parts = message.parts(1, 5, 6, 10, 11, 22, 23)
        self.name = last_text(parts[1])
        self.message = message
        self.tensor = merge_messages(parts[5])
        self.sparse = merge_messages(parts[22])
        #: All that it holds of a kind.
        self.tensors = [part for part in (self.tensor, *parts[10]) if part is not None]
        self.graphs = [part for part in (merge_messages(parts[6]), *parts[11]) if part is not None]
        self.sparse_tensors = [part for part in (self.sparse, *parts[23]) if part is not None]


class OnnxNode:
    """What a node says of itself."""

    def __init__(self, message: WireMessage) -> None:
        parts = message.parts(1, 2, 4, 5, 7, 8)
        self.kind = last_text(parts[4])
        self.domain = normalize_domain(last_text(parts[7]))
        self.overload = last_text(parts[8])
        self.attributes = parts[5]
        self.outputs = [name.text() for name in parts[2]]
        self._inputs = parts[1][:_MOST_INPUTS]

    def inputs(self) -> list[str]:
        """Return the names of its first inputs."""
        return [name.text() for name in self._inputs]

    @property
    def is_constant(self) -> bool:
        """Whether it is one that only holds its value."""
        return self.kind == "Constant" and self.domain == ""


def normalize_domain(domain: str) -> str:
    """Return the one name of ONNX's own domain, which has two."""
    return "" if domain in _ONNX_DOMAINS else domain


def count_elements(lengths: Dims) -> float:
    """Multiply lengths; a negative one, or one that is not known, counts as one."""
    if any(length == 0 for length in lengths):
        return 0.0
    return math.prod(float(length) if length >= 1 else 1.0 for length in lengths)


def describe_tensor(tensor: OnnxTensor) -> KnownTensor:
    """Return what is known of a tensor that is in the file."""
    return KnownTensor(tensor.dims, tensor.element_bytes, tensor)


def describe_sparse_tensor(message: WireMessage) -> KnownTensor:
    """Return what is known of a SparseTensorProto: what it takes once it is unpacked."""
    values = message.one(1)
    element_bytes = read_tensor(values).element_bytes if values is not None else FLOAT_BYTES
    return KnownTensor(message.numbers(3), element_bytes)


def describe_constant_node(attributes: Sequence[OnnxAttribute]) -> KnownTensor:
    """Return what a node ``Constant`` holds; nothing is known of one that holds something else."""
    for attribute in attributes:
        name = attribute.name
        if name == "value" and attribute.tensor is not None:
            return describe_tensor(read_tensor(attribute.tensor))
        if name == "sparse_value" and attribute.sparse is not None:
            return describe_sparse_tensor(attribute.sparse)
        if name in ("value_int", "value_ints"):
            whole = attribute.message.numbers(3 if name == "value_int" else 8)
            return KnownTensor((len(whole),), _INT64_BYTES, numbers=whole)
        if name in ("value_float", "value_floats"):
            floats = attribute.message.floats(2 if name == "value_float" else 7)
            return KnownTensor((len(floats),), FLOAT_BYTES, numbers=floats)
    return _UNKNOWN


def infer_output(
    node: OnnxNode, scope: Scope, attributes: Sequence[OnnxAttribute]
) -> KnownTensor | None:
    """Return what a node makes of constants; None where that is not known. Raises ExcessError."""
    make = _MAKERS.get(node.kind) if node.domain == "" else None
    if make is None:
        return None
    inputs = [scope[name] for name in node.inputs()]
    inputs += [_UNKNOWN] * (_MOST_INPUTS - len(inputs))
    return make(inputs, {attribute.name: attribute.message for attribute in attributes})


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
    here = inputs[0].lengths
    axes = max(len(here), len(shape))
    here, shape = ([*[1] * (axes - len(lengths)), *lengths] for lengths in (here, shape))
    lengths = [
        b if a == 1 else a if b == 1 else max(a, b) for a, b in zip(here, shape, strict=True)
    ]
    return KnownTensor(lengths, inputs[0].element_bytes)


def _tile(inputs: _Inputs, attributes: _Attributes) -> KnownTensor | None:
    return _times(inputs[0], inputs[1].values())


def _resize(inputs: _Inputs, attributes: _Attributes) -> KnownTensor | None:
    sizes = inputs[3].values()
    if sizes:
        return KnownTensor(sizes, inputs[0].element_bytes)
    # The scales were the second input once.
    scales = inputs[2].values() or inputs[1].values()
    if not scales and "scales" in attributes:
        scales = attributes["scales"].floats(7)
    return _times(inputs[0], scales)


def _times(known: KnownTensor, factors: Dims) -> KnownTensor | None:
    if not factors:
        return None
    lengths = [*known.lengths, *[1] * (len(factors) - len(known.lengths))]
    many = [*factors, *[1] * (len(lengths) - len(factors))]
    return KnownTensor(
        [max(length, 1) * factor for length, factor in zip(lengths, many, strict=True)],
        known.element_bytes,
    )


def _pad(inputs: _Inputs, attributes: _Attributes) -> KnownTensor | None:
    pads = inputs[1].values()
    if not pads and "pads" in attributes:
        pads = attributes["pads"].numbers(8)
    if not pads or inputs[3].values():  # for some axes alone
        return None
    axes = len(pads) // 2
    lengths = [*inputs[0].lengths, *[0] * axes][:axes]
    return KnownTensor(
        [length + pads[at] + pads[at + axes] for at, length in enumerate(lengths)],
        inputs[0].element_bytes,
    )


def _one_hot(inputs: _Inputs, attributes: _Attributes) -> KnownTensor | None:
    depth = inputs[1].values()
    if len(depth) != 1:
        return None
    return KnownTensor([*inputs[0].lengths, depth[0]], inputs[2].element_bytes)


def _range(inputs: _Inputs, attributes: _Attributes) -> KnownTensor | None:
    ends = [known.values() for known in inputs[:3]]
    if any(len(end) != 1 or not math.isfinite(end[0]) for end in ends) or ends[2][0] == 0:
        return None
    length = (ends[1][0] - ends[0][0]) / ends[2][0]
    return KnownTensor([max(length, 0)], inputs[0].element_bytes)


def _random(inputs: _Inputs, attributes: _Attributes) -> KnownTensor | None:
    if "shape" not in attributes:
        return None
    dtype = attributes["dtype"].numbers(3) if "dtype" in attributes else []
    element_bytes = ELEMENT_BYTES.get(dtype[-1], FLOAT_BYTES) if dtype else FLOAT_BYTES
    return KnownTensor(attributes["shape"].numbers(8), element_bytes)


_Maker = Callable[[_Inputs, _Attributes], KnownTensor | None]
_MAKERS: dict[str, _Maker] = {
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
