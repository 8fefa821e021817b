"""Tells how an ONNX file is quantized, and whether TensorRT can run it.

Exporters quantize in several ways: Q/DQ pairs (PyTorch, NVIDIA's Model Optimizer, ONNX Runtime),
operators on integers (ONNX Runtime's QOperator format), and operators that find the range of a
tensor while the network runs (dynamic). ONNX Runtime runs all of them. TensorRT takes Q/DQ pairs
of signed numbers with the zero point 0, and biases that are not quantized.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_inference.core.bounded_file import MAX_WEIGHTS_BYTES, open_regular_file
from edge_inference.core.onnx_format.onnx_reader import (
    ByteSource,
    LimitExceededError,
    MalformedMessageError,
    WireMessage,
)
from edge_inference.engines.quantized.quantized_nodes import (
    DEQUANTIZE,
    ORT_DOMAIN,
    QUANTIZE,
    OnnxOperator,
    QuantizedNodes,
    ZeroPoint,
)

#: The ways in which a file is quantized.
PAIRS = "Q/DQ"
WEIGHTS_ONLY = "weights only"
INTEGER_OPERATORS = "QOperator"
DYNAMIC = "dynamic"

#: Types with which TensorRT computes, if the zero point is 0.
_TENSORRT_TYPES = ("int8", "float8e4m3fn", "float4e2m1")
#: Types of weights that have a form in signed bytes.
_BYTE_TYPES = ("int8", "uint8", "int4", "uint4")
#: The middle of unsigned bytes: with this zero point they are signed bytes, shifted.
UINT8_MIDDLE = 128

_DYNAMIC_STARTS = ("DynamicQuantize", "MatMulInteger", "ConvInteger")
_INTEGER_STARTS = ("QLinear", "QGemm", "QAttention", "QConv", "QEmbed", "QMoE", "NhwcMaxPool")
#: ONNX Runtime's layers with packed weights.
_PACKED_STARTS = ("MatMulNBits", "MatMulBnb4", "GatherBlockQuantized")
#: The domain of TensorRT's own operators in exported files.
_TENSORRT_DOMAIN = "trt"
_NAMED_OPERATORS = 3
_MAX_KNOWN = 64


@dataclass(frozen=True)
class QuantizedFile:
    """How a file is quantized.

    ``kind`` is one of the constants above, or an empty text. ``activations`` and ``weights`` are
    their types; ``biases`` is the number of quantized ones. ``obstacles`` are the reasons why
    TensorRT cannot run it, ``changes`` what makes it fit for TensorRT without another result.
    ``onnxruntime_obstacles`` are the reasons why ONNX Runtime cannot.
    """

    kind: str = ""
    activations: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    symmetric: bool = True
    per_channel: bool = False
    biases: int = 0
    obstacles: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    onnxruntime_obstacles: tuple[str, ...] = ()

    @property
    def computes_in_int8(self) -> bool:
        """Tell whether more than the weights is quantized."""
        return self.kind not in ("", WEIGHTS_ONLY)

    @property
    def fits_tensorrt(self) -> bool:
        """Tell whether TensorRT runs the file as it is."""
        return not self.obstacles and not self.changes

    def describe(self) -> str:
        """Return the quantization as text, such as "Q/DQ, int8 activations, int8 weights"."""
        if not self.kind:
            return "not quantized"
        parts = [self.kind]
        if self.activations:
            form = "" if self.symmetric else "asymmetric "
            parts.append(f"{form}{' and '.join(self.activations)} activations")
        if self.weights:
            each = " per channel" if self.per_channel else ""
            parts.append(f"{' and '.join(self.weights)} weights{each}")
        if self.biases:
            parts.append("quantized biases")
        return ", ".join(parts)


_known: dict[tuple[int, ...], QuantizedFile] = {}


def look_at(file: Path) -> QuantizedFile | None:
    """Return how a file is quantized; None where it cannot be read or is not ONNX.

    What opens such a file reports what is wrong with it.
    """
    try:
        with open_regular_file(file, MAX_WEIGHTS_BYTES) as stream:
            status = os.fstat(stream.fileno())
            version = (
                status.st_dev,
                status.st_ino,
                status.st_size,
                status.st_mtime_ns,
                status.st_ctime_ns,
            )
            found = _known.get(version)
            if found is None:
                message = WireMessage(ByteSource(stream.fileno()))
                found = _Look(QuantizedNodes(message, file.parent)).result()
                if len(_known) >= _MAX_KNOWN:
                    _known.clear()
                _known[version] = found
            return found
    except (OSError, LimitExceededError, MalformedMessageError):
        return None


class _Look:
    """Collects the properties of a file from its nodes."""

    def __init__(self, nodes: QuantizedNodes) -> None:
        self._nodes = nodes
        self._activations: dict[str, None] = {}
        self._weights: dict[str, None] = {}
        #: The zero points of activations that TensorRT cannot take, by type.
        self._zero_points: defaultdict[str, set[frozenset[int]]] = defaultdict(set)
        self._biases = 0
        self._is_symmetric = True
        self._per_channel = False
        self._is_inner = False
        self._obstacles: dict[str, None] = {}
        self._changes: dict[str, None] = {}

    def result(self) -> QuantizedFile:
        nodes = self._nodes.nodes
        dynamic = _operators(nodes, _DYNAMIC_STARTS)
        integer = _operators(nodes, _INTEGER_STARTS)
        packed = _operators(nodes, _PACKED_STARTS)
        own = _of_domain(nodes, _TENSORRT_DOMAIN)
        for node in nodes:
            if node.is_pair_node:
                self._add(node)
        for kind, values in self._zero_points.items():
            points = _describe_points(frozenset().union(*values))
            self._obstacle(f"{kind or 'unknown'} activations with {points}")
        foreign = (*dynamic, *integer, *packed)
        if foreign:  # they say more than the rest
            self._obstacles = {f"TensorRT has no {_enumerate(foreign)}": None}
        kind = ""
        if dynamic:
            kind = DYNAMIC
        elif integer:
            kind = INTEGER_OPERATORS
        elif self._activations or own:
            kind = PAIRS
        elif self._weights or self._biases or packed:
            kind = WEIGHTS_ONLY
        return QuantizedFile(
            kind,
            tuple(self._activations),
            tuple(self._weights),
            self._is_symmetric,
            self._per_channel,
            self._biases,
            tuple(self._obstacles),
            () if self._obstacles else tuple(self._changes),
            tuple(self._onnxruntime_obstacles(own)),
        )

    def _onnxruntime_obstacles(self, own: tuple[str, ...]) -> Iterator[str]:
        if own:
            yield f"ONNX Runtime has no {_enumerate(own)}"
        # Its optimizer (1.32) drops a Relu before them, as if their zero point were the minimum.
        floats = [kind for kind in self._activations if kind.startswith("float")]
        if floats:
            yield f"ONNX Runtime computes {' and '.join(floats)} activations wrongly"

    def _add(self, node: OnnxOperator) -> None:
        nodes = self._nodes
        point = nodes.zero_point(node)
        self._is_inner = node.is_inner
        if node.domain == ORT_DOMAIN:
            self._change("ONNX's Q/DQ operators instead of ONNX Runtime's")
        constant = nodes.constant(node.output if node.kind == QUANTIZE else node.input(0))
        if constant is None:
            self._activation(node, point)
        elif node.kind == DEQUANTIZE:
            self._constant(node, point)

    def _constant(self, node: OnnxOperator, point: ZeroPoint) -> None:
        scales = self._nodes.scale_count(node)
        if point.type == "int32":
            self._biases += 1
        else:
            self._weights[point.type or "unknown"] = None
            self._per_channel |= scales > 1
            if _is_zero(point) and point.type in _TENSORRT_TYPES:
                return
        if point.values is None or not scales:
            self._obstacle("zero points or scales of constants that the network computes")
        elif point.type == "int32":
            self._change("biases in fp32")
        elif node.attributes.get("block_size", 0):
            if not (_is_zero(point) and point.type == "int4"):
                self._obstacle(f"{point.type} weights in blocks with a zero point")
        elif point.type in _BYTE_TYPES:
            self._change("weights in symmetric int8")
        else:
            self._obstacle(f"{point.type or 'unknown'} weights")

    def _activation(self, node: OnnxOperator, point: ZeroPoint) -> None:
        self._activations[point.type or "unknown"] = None
        if _is_zero(point) and point.type in _TENSORRT_TYPES:
            return
        is_middle = point == ("uint8", frozenset({UINT8_MIDDLE}))
        self._is_symmetric &= is_middle or (_is_zero(point) and not point.type.startswith("u"))
        if is_middle and self._is_simple_pair(node):
            self._change("uint8 activations around 128 as int8 around 0")
        elif point.values is None:
            self._obstacle("zero points that the network computes")
        else:
            self._zero_points[point.type].add(point.values)

    def _is_simple_pair(self, node: OnnxOperator) -> bool:
        """Tell whether a pair's numbers go from QuantizeLinear to DequantizeLinear only."""
        nodes = self._nodes
        quantize = node if node.kind == QUANTIZE else nodes.quantize_node(node.input(0))
        return quantize is not None and nodes.is_dequantized_only(quantize.output)

    def _obstacle(self, text: str) -> None:
        self._obstacles[text] = None

    def _change(self, text: str) -> None:
        if self._is_inner:
            self._obstacle(f"it needs {text} in a branch, a loop or a function")
        self._changes[text] = None


def _describe_points(values: frozenset[int]) -> str:
    if len(values) == 1:
        return f"the zero point {min(values)}"
    return f"zero points of {min(values)} to {max(values)}"


def _is_zero(point: ZeroPoint) -> bool:
    return point.values == frozenset({0})


def _operators(nodes: Iterable[OnnxOperator], starts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(node.kind for node in nodes if node.kind.startswith(starts)))


def _of_domain(nodes: Iterable[OnnxOperator], domain: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(node.kind for node in nodes if node.domain == domain))


def _enumerate(names: tuple[str, ...]) -> str:
    more = len(names) - _NAMED_OPERATORS
    shown = ", ".join(names[:_NAMED_OPERATORS])
    return f"{shown} and {more} more" if more > 0 else shown
