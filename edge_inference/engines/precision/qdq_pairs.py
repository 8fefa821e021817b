"""Inserts Q/DQ pairs (QuantizeLinear, DequantizeLinear) into a folded network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.engines.precision.exclude import WEIGHTED
from edge_inference.engines.precision.graph import (
    FreshNames,
    captured_tensors,
    drop_unused_constants,
    float_tensors,
)
from edge_inference.engines.precision.ranges import Range
from edge_inference.engines.precision.scales import (
    Scale,
    activation_scale,
    average_scale,
    bias_scale,
    dequantize,
    in_fp16,
    quantize,
    quantize_weights,
    weight_scale,
)

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

_CLAMPS = ("Clip", "Relu")


@dataclass(frozen=True)
class QdqStyle:
    """The Q/DQ pattern that an engine needs.

    ``weighted`` are the layers with weights. ``computing`` are other operators whose result has
    a range of its own; ``moving`` are operators that move numbers and keep their range.
    """

    weighted: tuple[str, ...]
    computing: tuple[str, ...]
    moving: tuple[str, ...]
    signed_activations: bool
    pairs_behind: bool
    stores_numbers: bool

    def operators(self) -> tuple[str, ...]:
        """Return all operators that compute on 8-bit numbers."""
        clamps = _CLAMPS if self.pairs_behind else ()
        return (*self.weighted, *self.computing, *self.moving, *clamps)


@dataclass(frozen=True)
class WeightForm:
    """The form of weights and scales.

    Weights have a scale for each channel with ``per_channel``, and ``bits``, or those of
    ``bits_of`` by the name of the node. ``fp16_scales`` are numbers of fp16.
    """

    per_channel: bool
    bits: int
    bits_of: Mapping[str, int]
    fp16_scales: bool


@dataclass(frozen=True)
class _Paired:
    """A tensor with its pair: the dequantized name, and the scale with its names."""

    name: str
    scale: Scale
    scale_name: str
    zero_name: str


class QdqWriter:
    """Changes the model in place; for a single use: ``QdqWriter(...).run()``.

    ``quantized`` then holds the names of the nodes that compute on 8-bit numbers.
    """

    def __init__(
        self,
        model: ModelProto,
        style: QdqStyle,
        ranges: Mapping[str, Range],
        keep: Mapping[str, str],
        form: WeightForm,
        onnx: Any,
    ) -> None:
        self._graph = model.graph
        self._style = style
        self._ranges = ranges
        self._keep = keep
        self._form = form
        self._onnx = onnx
        self._names = FreshNames(model.graph)
        self._floats = float_tensors(model.graph, onnx)
        self._outputs = {entry.name for entry in model.graph.output}
        self._constants = {entry.name: entry for entry in model.graph.initializer}
        self._readers = Counter(
            name for node in model.graph.node for name in (*node.input, *captured_tensors(node))
        )
        self._reader = {name: node for node in model.graph.node for name in node.input}
        self._paired: dict[str, _Paired] = {}
        #: Tensors that all later nodes read dequantized.
        self._replaced: dict[str, str] = {}
        self.quantized: list[str] = []

    def run(self) -> None:
        """Rewrite all nodes."""
        nodes: list[NodeProto] = []
        for node in list(self._graph.node):
            nodes.extend(self._rewrite(node))
        del self._graph.node[:]
        self._graph.node.extend(nodes)
        drop_unused_constants(self._graph)

    def _rewrite(self, node: NodeProto) -> Iterator[NodeProto]:
        reads = list(node.input)
        is_quantized = self._is_quantized(node)
        for place, name in enumerate(reads):
            node.input[place] = self._replaced.get(name, name)
        if not is_quantized:
            is_fusible = node.op_type in WEIGHTED or _is_dilated_average(node)
            if self._style.pairs_behind and is_fusible:
                yield from self._isolate(node, reads[0])
            yield node
            return
        self.quantized.append(node.name)
        if node.op_type in self._style.weighted:
            yield from self._weighted_inputs(node, reads)
        elif node.op_type in self._style.computing:
            for place, name in enumerate(reads):
                yield from self._pair_before(node, place, name)
        if not self._style.pairs_behind or self._is_clamped_next(node):
            yield node
        elif node.op_type in self._style.moving:
            yield from self._with_pairs_behind(node, self._paired[reads[0]])
        else:
            averaged = node.op_type == "GlobalAveragePool"
            source = self._paired[reads[0]].scale if averaged else None
            yield from self._with_pairs_behind(node, None, source)

    def _isolate(self, node: NodeProto, name: str) -> Iterator[NodeProto]:
        """Prevent ONNX Runtime from quantizing a layer that stays in fp32.

        It does so for a layer that reads a dequantized tensor. A Sum of one tensor between
        them gives the same tensor, and ONNX Runtime does not optimize it away.
        """
        if name not in self._replaced:
            return
        copy = self._names.new(f"{name}_{node.name}")
        yield self._node("Sum", [node.input[0]], copy)
        node.input[0] = copy

    def _is_quantized(self, node: NodeProto) -> bool:
        if node.name in self._keep or not any(name in self._floats for name in node.output):
            return False
        if node.op_type in self._style.moving:
            return node.input[0] in self._replaced
        return node.op_type in self._style.operators() and not _is_dilated_average(node)

    def _is_clamped_next(self, node: NodeProto) -> bool:
        """Tell whether only a clamp reads the result: the engine fuses both with the pair."""
        result = node.output[0]
        if node.op_type in self._style.moving or self._readers[result] != 1:
            return False
        reader = self._reader.get(result)
        return (
            reader is not None
            and reader.op_type in _CLAMPS
            and reader.name not in self._keep
            and result not in self._outputs
        )

    def _weighted_inputs(self, node: NodeProto, reads: list[str]) -> Iterator[NodeProto]:
        if len(reads) < 2 or reads[1] not in self._constants:
            for place, name in enumerate(reads[:2]):
                yield from self._pair_before(node, place, name)
            return
        yield from self._pair_before(node, 0, reads[0])
        weights = self._array(reads[1])
        bias = self._array(reads[2]) if self._has_plain_bias(node, reads) else None
        input_scale = float(self._paired[reads[0]].scale.scale)
        axis = _channel_axis(node, weights) if self._form.per_channel else None
        bits = self._form.bits_of.get(node.name, self._form.bits)
        scale = self._rounded(weight_scale(weights, axis, bias, input_scale, bits))
        numbers = quantize_weights(weights, scale, bits)
        yield from self._constant(node, 1, reads[1], scale, numbers)
        if bias is not None:
            biases = bias_scale(scale, input_scale)
            yield from self._constant(node, 2, reads[2], biases, quantize(bias, biases))

    def _has_plain_bias(self, node: NodeProto, reads: list[str]) -> bool:
        """Tell whether there is a bias to quantize: one number per channel, without a factor."""
        if not self._style.stores_numbers or len(reads) < 3 or reads[2] not in self._constants:
            return False
        factors = {entry.name: entry.f for entry in node.attribute}
        return self._array(reads[2]).ndim == 1 and all(
            factors.get(name, 1.0) == 1.0 for name in ("alpha", "beta")
        )

    def _constant(
        self, node: NodeProto, place: int, name: str, scale: Scale, numbers: NDArray[Any]
    ) -> Iterator[NodeProto]:
        """Insert the quantized constant before a node, or its dequantized values with a pair."""
        base = self._names.new(f"{name}_{node.name}")
        scale_name, zero_name = self._write_scale(base, scale)
        if self._style.stores_numbers:
            source = self._write(f"{base}_quantized", numbers)
        else:
            source = self._names.new(f"{base}_quantized")
            values = self._write(f"{base}_values", dequantize(numbers, scale))
            yield self._node("QuantizeLinear", [values, scale_name, zero_name], source, scale.axis)
        behind = self._names.new(f"{base}_dequantized")
        yield self._node("DequantizeLinear", [source, scale_name, zero_name], behind, scale.axis)
        node.input[place] = behind

    def _pair_before(self, node: NodeProto, place: int, name: str) -> Iterator[NodeProto]:
        if name not in self._floats:
            return
        if name in self._constants:
            if self._style.stores_numbers:
                values = self._array(name)
                span = float(values.min(initial=0.0)), float(values.max(initial=0.0))
                scale = self._activation(span)
                yield from self._constant(node, place, name, scale, quantize(values, scale))
            return
        if name not in self._paired:
            scale = self._activation(self._ranges[name])
            yield from self._pair(name, name, self._names.new(f"{name}_dequantized"), scale)
        node.input[place] = self._paired[name].name

    def _with_pairs_behind(
        self, node: NodeProto, moved: _Paired | None, averaged: Scale | None = None
    ) -> Iterator[NodeProto]:
        pairs: list[NodeProto] = []
        for place, name in enumerate(node.output):
            if name not in self._floats:
                continue
            before, behind = name, self._names.new(f"{name}_dequantized")
            if name in self._outputs:
                before, behind = behind, name
                node.output[place] = before
            if moved is not None:
                scale = moved.scale
            elif averaged is not None:
                scale = self._rounded(average_scale(self._ranges[name], averaged))
            else:
                scale = self._activation(self._ranges[name])
            pairs.extend(self._pair(name, before, behind, scale, moved))
            self._replaced[name] = behind
        yield node
        yield from pairs

    def _pair(
        self, name: str, before: str, behind: str, scale: Scale, moved: _Paired | None = None
    ) -> Iterator[NodeProto]:
        if moved is None:
            scale_name, zero_name = self._write_scale(name, scale)
        else:
            scale_name, zero_name = moved.scale_name, moved.zero_name
        numbers = self._names.new(f"{name}_quantized")
        yield self._node("QuantizeLinear", [before, scale_name, zero_name], numbers)
        yield self._node("DequantizeLinear", [numbers, scale_name, zero_name], behind)
        self._paired[name] = _Paired(behind, scale, scale_name, zero_name)

    def _activation(self, span: Range) -> Scale:
        return self._rounded(activation_scale(span, signed=self._style.signed_activations))

    def _rounded(self, scale: Scale) -> Scale:
        return in_fp16(scale) if self._form.fp16_scales else scale

    def _write_scale(self, base: str, scale: Scale) -> tuple[str, str]:
        return (
            self._write(f"{base}_scale", scale.scale),
            self._write(f"{base}_zero_point", scale.zero_point),
        )

    def _write(self, base: str, values: NDArray[Any]) -> str:
        name = self._names.new(base)
        self._graph.initializer.append(self._onnx.numpy_helper.from_array(values, name))
        return name

    def _node(
        self, kind: str, inputs: list[str], output: str, axis: int | None = None
    ) -> NodeProto:
        extra = {} if axis is None else {"axis": axis}
        name = self._names.new(f"{kind}_{output}")
        return self._onnx.helper.make_node(  # type: ignore[no-any-return]
            kind, inputs, [output], name=name, **extra
        )

    def _array(self, name: str) -> NDArray[np.float32]:
        return np.asarray(self._onnx.numpy_helper.to_array(self._constants[name]), np.float32)


def _is_dilated_average(node: NodeProto) -> bool:
    """Tell whether a node has an attribute that ONNX Runtime's 8-bit average pool refuses."""
    return node.op_type == "AveragePool" and any(
        entry.name == "dilations" for entry in node.attribute
    )


def _channel_axis(node: NodeProto, weights: NDArray[np.float32]) -> int | None:
    """Return the axis of the weights for the output channels; None where there is none."""
    attributes = {entry.name: entry.i for entry in node.attribute}
    if node.op_type == "Conv":
        return 0
    if node.op_type == "ConvTranspose":
        return 1 if attributes.get("group", 1) == 1 else None
    if node.op_type == "Gemm":
        return 0 if attributes.get("transB", 0) else 1
    return weights.ndim - 1 if weights.ndim == 2 else None
