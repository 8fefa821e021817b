"""Reads the nodes of an ONNX file that quantize, with their types and zero points.

Only the structure is read, in protobuf's wire format and without the package onnx: weights are
skipped, so that a look at a large file takes little time and no memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edge_inference.core.bounded_file import MAX_WEIGHTS_BYTES, open_regular_file
from edge_inference.core.onnx_format.onnx_files import is_relative_inside
from edge_inference.core.onnx_format.onnx_reader import (
    MAX_GRAPH_DEPTH,
    TYPE_NAMES,
    LimitExceededError,
    MalformedMessageError,
    OnnxTensor,
    WireMessage,
    last_text,
    merge_messages,
    read_tensor,
)
from edge_inference.core.onnx_format.onnx_shapes import (
    OnnxAttribute,
    count_elements,
    normalize_domain,
)

#: The type of a QuantizeLinear node without a zero point and without ``output_dtype``.
DEFAULT_TYPE = "uint8"

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
#: The domain of ONNX Runtime's own operators, which include both for more types.
ORT_DOMAIN = "com.microsoft"

#: The numpy type of a zero point in raw_data. Of other types, the bytes tell zero from not zero.
_RAW_TYPES = {2: "u1", 3: "i1", 4: "<u2", 5: "<i2", 6: "<i4"}
_HALF_BYTES = {21: 16, 22: 8}
_INT32_DATA, _RAW_DATA = 5, 9
#: Maximum size of zero points: one for each channel.
_MAX_ZERO_POINT_BYTES = 1 << 18
_MAX_VARINT_BITS = 70
#: Maximum number of nodes between a tensor and the constant that it comes from.
_MAX_STEPS = 16
#: Operators that pass numbers on, and those of which attributes are read.
_PASSING = ("Cast", "Identity")
_WITH_ATTRIBUTES = ("Cast", "Constant", "ConstantOfShape", QUANTIZE, DEQUANTIZE)
_WITH_GRAPHS = ("If", "Loop", "Scan", "SequenceMap")


class ZeroPoint(NamedTuple):
    """A type of quantized numbers, and all different zero points; None if the network computes it.

    ``type`` is a name of :data:`TYPE_NAMES`, or an empty text.
    """

    type: str
    values: frozenset[int] | None


class OnnxOperator(NamedTuple):
    """A node: ``attributes`` are its integers, ``tensor`` is its constant.

    ``is_inner`` tells that it is in a branch, a loop or a function.
    """

    kind: str
    domain: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    attributes: Mapping[str, int]
    tensor: OnnxTensor | None
    is_inner: bool

    @property
    def is_pair_node(self) -> bool:
        """Tell whether this is QuantizeLinear or DequantizeLinear."""
        return self.kind in (QUANTIZE, DEQUANTIZE) and self.domain in ("", ORT_DOMAIN)

    @property
    def output(self) -> str:
        """The name of the first output, an empty one where the node has none."""
        return self.outputs[0] if self.outputs else ""

    def input(self, place: int) -> str:
        """Return the name of an input, an empty one where the node has none."""
        return self.inputs[place] if place < len(self.inputs) else ""


class QuantizedNodes:
    """All nodes of a file, with those of its branches, loops and functions.

    The file must be open as long as this object is used. Raises MalformedMessageError and
    LimitExceededError.
    """

    def __init__(self, file: WireMessage, folder: Path) -> None:
        self.nodes: list[OnnxOperator] = []
        self._folder = folder
        self._outputs: set[str] = set()
        self._constants: dict[str, OnnxTensor] = {}
        parts = file.parts(7, 25)
        graph = merge_messages(parts[7])
        if graph is not None:
            self._read_graph(graph, 0)
        for function in parts[25]:
            for message in function.all(7):
                self._read_node(message, 1)
        self._producers = {name: node for node in self.nodes for name in node.outputs}
        self._read_as_numbers = self._find_read_as_numbers()
        self._zero_points: dict[str, ZeroPoint] = {}

    def constant(self, name: str) -> OnnxTensor | None:
        """Return the constant that a tensor is, perhaps quantized in the network; else None."""
        found, node = self._origin(name)
        if node is not None and node.kind == QUANTIZE and node.domain in ("", ORT_DOMAIN):
            found, _ = self._origin(node.input(0))
        return found

    def quantize_node(self, name: str) -> OnnxOperator | None:
        """Return the QuantizeLinear node that a tensor comes from, None if there is none."""
        _, node = self._origin(name)
        return node if node is not None and node.kind == QUANTIZE and node.is_pair_node else None

    def is_dequantized_only(self, name: str) -> bool:
        """Tell whether only DequantizeLinear nodes read a tensor."""
        return name not in self._read_as_numbers

    def _find_read_as_numbers(self) -> set[str]:
        """Return the tensors that leave a graph, or that other than DequantizeLinear reads."""
        found = set(self._outputs)
        for node in reversed(self.nodes):  # what reads a tensor comes after it
            if node.kind not in _PASSING:
                found.update(node.inputs[1 if node.kind == DEQUANTIZE else 0 :])
            elif not found.isdisjoint(node.outputs):
                found.update(node.inputs)
        return found

    def scale_count(self, node: OnnxOperator) -> float:
        """Return the number of scales of a pair node, 0 where the network computes them."""
        found, _ = self._origin(node.input(1))
        return 0 if found is None else count_elements(found.dims)

    def zero_point(self, node: OnnxOperator) -> ZeroPoint:
        """Return the zero point of a QuantizeLinear or DequantizeLinear node."""
        name = node.input(2)
        if name:
            # Many nodes may share one of many values.
            if name not in self._zero_points:
                self._zero_points[name] = self._zero_point(name)
            return self._zero_points[name]
        if node.kind == QUANTIZE:
            number = node.attributes.get("output_dtype", 0)
            return ZeroPoint(TYPE_NAMES.get(number, "") if number else DEFAULT_TYPE, frozenset({0}))
        quantize = self.quantize_node(node.input(0))
        if quantize is not None:
            return ZeroPoint(self.zero_point(quantize).type, frozenset({0}))
        found, _ = self._origin(node.input(0))
        return ZeroPoint(TYPE_NAMES.get(found.kind, "") if found else "", frozenset({0}))

    def _zero_point(self, name: str) -> ZeroPoint:
        cast_to = 0
        for _ in range(_MAX_STEPS):
            tensor = self._constants.get(name)
            if tensor is not None:
                return ZeroPoint(TYPE_NAMES.get(cast_to or tensor.kind, ""), self._values(tensor))
            node = self._producers.get(name)
            if node is None:
                break
            if node.kind == "ConstantOfShape":
                kind = cast_to or (node.tensor.kind if node.tensor is not None else 1)
                values = self._values(node.tensor) if node.tensor is not None else frozenset({0})
                return ZeroPoint(TYPE_NAMES.get(kind, ""), values)
            if node.kind not in _PASSING:
                break
            cast_to = cast_to or node.attributes.get("to", 0)
            name = node.input(0)
        return ZeroPoint(TYPE_NAMES.get(cast_to, ""), None)

    def _origin(self, name: str) -> tuple[OnnxTensor | None, OnnxOperator | None]:
        """Return the constant or the node from which a tensor comes."""
        node = None
        for _ in range(_MAX_STEPS):
            tensor = self._constants.get(name)
            if tensor is not None:
                return tensor, None
            node = self._producers.get(name)
            if node is None or node.kind not in _PASSING:
                break
            name = node.input(0)
        return None, node

    def _values(self, tensor: OnnxTensor) -> frozenset[int] | None:
        """Return the different values of a zero point, None where they cannot be read."""
        if tensor.external is not None:
            data: bytes | None = self._external(tensor.external)
        else:
            raw = tensor.message.one(_RAW_DATA)
            if raw is None:
                return _stored_numbers(tensor)
            data = raw.data() if len(raw) <= _MAX_ZERO_POINT_BYTES else None
        if data is None:
            return None
        if tensor.kind in _HALF_BYTES:
            return _half_bytes(data, _HALF_BYTES[tensor.kind])
        numbers = np.frombuffer(data, "u1")
        kind = np.dtype(_RAW_TYPES.get(tensor.kind, "u1"))
        if len(numbers) % kind.itemsize:
            return None
        return frozenset(np.unique(numbers.view(kind)).tolist())

    def _external(self, external: Mapping[str, str]) -> bytes | None:
        location = external.get("location", "")
        try:
            offset, length = int(external.get("offset", 0)), int(external["length"])
            if not is_relative_inside(location) or not 0 <= length <= _MAX_ZERO_POINT_BYTES:
                return None
            with open_regular_file(self._folder / location, MAX_WEIGHTS_BYTES) as stream:
                stream.seek(offset)
                data = stream.read(length)
        except (OSError, KeyError, ValueError):  # what runs the file says what is wrong with it
            return None
        return data if len(data) == length else None

    def _read_graph(self, graph: WireMessage, depth: int) -> None:
        if depth > MAX_GRAPH_DEPTH:
            raise LimitExceededError(f"expected graphs nested at most {MAX_GRAPH_DEPTH} deep")
        parts = graph.parts(1, 5, 12)
        for message in parts[5]:
            tensor = read_tensor(message)
            self._constants[tensor.name] = tensor
        self._outputs.update(last_text([*value.all(1)]) for value in parts[12])
        for message in parts[1]:
            self._read_node(message, depth)

    def _read_node(self, message: WireMessage, depth: int) -> None:
        parts = message.parts(1, 2, 4, 5, 7)
        kind = last_text(parts[4])
        outputs = [name.text() for name in parts[2]]
        attributes: dict[str, int] = {}
        constant = None
        if kind in _WITH_ATTRIBUTES or kind in _WITH_GRAPHS:
            for part in parts[5]:
                attribute = OnnxAttribute(part)
                for graph in attribute.graphs:
                    self._read_graph(graph, depth + 1)
                if attribute.tensor is not None and kind not in _WITH_GRAPHS:
                    constant = read_tensor(attribute.tensor)
                numbers = part.numbers(3)
                if numbers:
                    attributes[attribute.name] = numbers[-1]
        if kind == "Constant" and constant is not None:
            self._constants.update(dict.fromkeys(outputs, constant))
        self.nodes.append(
            OnnxOperator(
                kind,
                normalize_domain(last_text(parts[7])),
                [name.text() for name in parts[1]],
                outputs,
                attributes,
                constant,
                is_inner=depth > 0,
            )
        )


def _stored_numbers(tensor: OnnxTensor) -> frozenset[int] | None:
    """Return the values in int32_data; a tensor without elements in it is all zero."""
    values: set[int] = set()
    for field in tensor.message:
        if field.number != _INT32_DATA:
            continue
        if field.inner is None:
            values.add(_signed(field.value))
        elif len(field.inner) > _MAX_ZERO_POINT_BYTES:
            return None
        else:
            values |= _varints(field.inner.data())
    if tensor.kind in _HALF_BYTES:
        return _half_bytes(bytes(value & 0xFF for value in values), _HALF_BYTES[tensor.kind])
    return frozenset(values or {0})


def _varints(data: bytes) -> set[int]:
    values, value, shift = set(), 0, 0
    for byte in data:
        if shift >= _MAX_VARINT_BITS:
            raise MalformedMessageError("a varint without an end")
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            values.add(_signed(value))
            value = shift = 0
    return values


def _half_bytes(data: bytes, sign: int) -> frozenset[int]:
    """Return the values of two 4-bit numbers in each byte; ``sign`` is 8 for signed ones."""
    halves = {half for byte in set(data) for half in (byte & 15, byte >> 4)}
    return frozenset(half - 16 if sign == 8 and half >= sign else half for half in halves)


def _signed(value: int) -> int:
    """Return the int32 of a varint."""
    value &= (1 << 32) - 1
    return value - (1 << 32) if value >> 31 else value
