"""Replaces ONNX Runtime's contrib operators with standard ONNX operators in fp32.

Integer matrix products quantize their input dynamically, with a small loss. Their replacements do
not, so results differ by that quantization. The weights keep their stored values.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.engines.precision.onnx_file import import_onnx
from edge_inference.errors import ModelError
from edge_inference.optimize.onnx_lowering.branches import prune
from edge_inference.optimize.onnx_lowering.constants import Constants
from edge_inference.optimize.onnx_lowering.ort_file import infer_ranks

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

_CONTRIB = "com.microsoft"
_ACTIVATIONS = ("Relu", "Sigmoid", "Tanh")
#: Standard operators for integer arithmetic that few engines support.
_INTEGER = ("DynamicQuantizeLinear", "MatMulInteger", "ConvInteger", "QLinearMatMul", "QLinearConv")


def lower_to_standard_ops(model: ModelProto) -> None:
    """Replace all contrib operators and all integer arithmetic, in place.

    The graph must not have branches. Raises ModelError for an operator that cannot be replaced,
    BackendError if ONNX Runtime cannot infer the shapes.
    """
    onnx = import_onnx()
    lowering = _Lowering(model, onnx)
    nodes = list(model.graph.node)
    for node in nodes:
        lowering.add(node)
    del model.graph.node[:]
    model.graph.node.extend(lowering.nodes)
    prune(model.graph)
    _require_standard_ops(model)
    del model.opset_import[:]
    model.opset_import.append(onnx.helper.make_opsetid("", lowering.opset))


def _require_standard_ops(model: ModelProto) -> None:
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx") or node.op_type in _INTEGER:
            kind = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
            raise ModelError(
                f"node {node.name!r} is {kind}, which cannot be replaced with standard operators"
            )


class _Lowering:
    """Builds the new list of nodes."""

    def __init__(self, model: ModelProto, onnx: Any) -> None:
        self.nodes: list[NodeProto] = []
        self.opset = next(
            entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")
        )
        self._onnx = onnx
        self._constants = Constants(model.graph)
        #: The fp32 source of each dynamically quantized tensor.
        self._fp32_sources: dict[str, str] = {}
        #: Gather nodes on 8-bit constants, by output.
        self._gathered: dict[str, NodeProto] = {}
        #: The fp32 constant of each 8-bit constant with its scale.
        self._dequantized: dict[tuple[str, ...], str] = {}
        fused = [node for node in model.graph.node if node.op_type == "FusedMatMul"]
        self._ranks = infer_ranks(model, [name for node in fused for name in node.input])
        self._replacements: dict[tuple[str, str], Callable[[NodeProto], None]] = {
            ("", "DynamicQuantizeLinear"): self._note_fp32_source,
            ("", "Gather"): self._gather,
            ("", "DequantizeLinear"): self._dequantize,
            (_CONTRIB, "DynamicQuantizeMatMul"): self._dynamic_quantize_matmul,
            (_CONTRIB, "MatMulIntegerToFloat"): self._matmul_integer_to_float,
            (_CONTRIB, "FusedMatMul"): self._fused_matmul,
            (_CONTRIB, "FusedConv"): self._fused_conv,
            (_CONTRIB, "Gelu"): self._gelu,
            (_CONTRIB, "BiasGelu"): self._gelu,
            (_CONTRIB, "QuickGelu"): self._quick_gelu,
            (_CONTRIB, "SkipLayerNormalization"): self._skip_layer_normalization,
        }

    def add(self, node: NodeProto) -> None:
        """Append a node, or its replacement."""
        self._replacements.get((node.domain, node.op_type), self.nodes.append)(node)

    def _note_fp32_source(self, node: NodeProto) -> None:
        self._fp32_sources[node.output[0]] = node.input[0]

    def _gather(self, node: NodeProto) -> None:
        """Hold back rows of an 8-bit constant until ``_dequantize`` knows their scale."""
        stored = self._constants.get(node.input[0])
        if stored is None or stored.dtype not in (np.int8, np.uint8):
            self.nodes.append(node)
        else:
            self._gathered[node.output[0]] = node

    def _dequantize(self, node: NodeProto) -> None:
        gather = self._gathered.get(node.input[0])
        if gather is not None:
            table = self._dequantize_constant(gather.input[0], *node.input[1:])
            axis = _attribute(self._onnx, gather, "axis", 0)
            self._add("Gather", [table, gather.input[1]], node.output[0], axis=axis)
        elif node.input[0] in self._constants:
            self._add("Identity", [self._dequantize_constant(*node.input)], node.output[0])
        else:
            self.nodes.append(node)

    def _dynamic_quantize_matmul(self, node: NodeProto) -> None:
        values, weights, scale, zero, bias = _pad_names(node.input, 5)
        self._matmul(node, values, self._dequantize_constant(weights, scale, zero), bias)

    def _matmul_integer_to_float(self, node: NodeProto) -> None:
        left, right, _, scale, _, zero, bias = _pad_names(node.input, 7)
        if left not in self._fp32_sources:
            raise ModelError(
                f"node {node.name!r}: expected a dynamically quantized left operand, got another"
            )
        self._matmul(
            node, self._fp32_sources[left], self._dequantize_constant(right, scale, zero), bias
        )

    def _matmul(self, node: NodeProto, values: str, weights: str, bias: str) -> None:
        if not bias:
            self._add("MatMul", [values, weights], node.output[0])
            return
        product = self._add_inner(node, "MatMul", [values, weights])
        self._add("Add", [product, bias], node.output[0])

    def _fused_matmul(self, node: NodeProto) -> None:
        if any(_attribute(self._onnx, node, name, 0) for name in ("transBatchA", "transBatchB")):
            raise ModelError(
                f"node {node.name!r}: transposed batches of a FusedMatMul are not supported"
            )
        operands = []
        for name, flag in zip(node.input, ("transA", "transB"), strict=True):
            is_transposed = _attribute(self._onnx, node, flag, 0)
            operands.append(self._transpose(node, name) if is_transposed else name)
        alpha = _attribute(self._onnx, node, "alpha", 1.0)
        if alpha == 1.0:
            self._add("MatMul", operands, node.output[0])
            return
        product = self._add_inner(node, "MatMul", operands)
        self._add("Mul", [product, self._scalar(node, alpha)], node.output[0])

    def _transpose(self, node: NodeProto, name: str) -> str:
        axes = list(range(self._ranks[name]))
        return self._add_inner(node, "Transpose", [name], perm=[*axes[:-2], axes[-1], axes[-2]])

    def _fused_conv(self, node: NodeProto) -> None:
        activation = _attribute(self._onnx, node, "activation", b"").decode()
        if activation not in _ACTIVATIONS or len(node.input) > 3:
            raise ModelError(
                f"node {node.name!r}: a FusedConv with {activation or 'a sum'} is not supported; "
                f"supported: {', '.join(_ACTIVATIONS)}"
            )
        conv = self._onnx.NodeProto()
        conv.CopyFrom(node)
        conv.domain, conv.op_type = "", "Conv"
        kept = [entry for entry in conv.attribute if not entry.name.startswith("activation")]
        del conv.attribute[:], conv.output[:]
        conv.attribute.extend(kept)
        conv.output.append(self._constants.names.new(f"{node.output[0]}_conv"))
        self.nodes.append(conv)
        self._add(activation, [conv.output[0]], node.output[0])

    def _gelu(self, node: NodeProto) -> None:
        """Expand to x/2 · (1 + erf(x/√2)), after adding the bias of BiasGelu."""
        values = node.input[0]
        if len(node.input) > 1:
            values = self._add_inner(node, "Add", list(node.input))
        scaled = self._add_inner(node, "Mul", [values, self._scalar(node, 1 / sqrt(2))])
        error = self._add_inner(node, "Erf", [scaled])
        above = self._add_inner(node, "Add", [error, self._scalar(node, 1.0)])
        half = self._add_inner(node, "Mul", [values, self._scalar(node, 0.5)])
        self._add("Mul", [half, above], node.output[0])

    def _quick_gelu(self, node: NodeProto) -> None:
        """Expand to x · sigmoid(alpha · x)."""
        alpha = _attribute(self._onnx, node, "alpha", 1.702)
        values = node.input[0]
        scaled = values
        if alpha != 1.0:
            scaled = self._add_inner(node, "Mul", [values, self._scalar(node, alpha)])
        gate = self._add_inner(node, "Sigmoid", [scaled])
        self._add("Mul", [values, gate], node.output[0])

    def _skip_layer_normalization(self, node: NodeProto) -> None:
        values, skipped, gain, shift, bias = _pad_names(node.input, 5)
        outputs = _pad_names(node.output, 4)
        if outputs[1] or outputs[2]:
            raise ModelError(f"node {node.name!r}: the outputs mean and variance are not supported")
        total = self._add_inner(node, "Add", [values, skipped])
        if bias:
            total = self._add_inner(node, "Add", [total, bias])
        if outputs[3]:
            self._add("Identity", [total], outputs[3])
        inputs = [total, gain, shift] if shift else [total, gain]
        epsilon = _attribute(self._onnx, node, "epsilon", 1e-12)
        self._add("LayerNormalization", inputs, outputs[0], axis=-1, epsilon=epsilon)

    def _dequantize_constant(self, stored: str, scale: str, zero: str = "") -> str:
        """Add the fp32 constant of an 8-bit constant, and return its name.

        The scale is per tensor or per column.
        """
        key = (stored, scale, zero)
        if key not in self._dequantized:
            numbers, step = self._constant(stored), self._constant(scale)
            offset = self._constant(zero) if zero else np.zeros((), numbers.dtype)
            value = (numbers.astype(np.float32) - offset.astype(np.float32)) * step
            name = stored.removesuffix("_quantized")
            self._dequantized[key] = self._constants.add(name, value.astype(np.float32))
        return self._dequantized[key]

    def _constant(self, name: str) -> NDArray[Any]:
        value = self._constants.get(name)
        if value is None:
            raise ModelError(
                f"tensor {name!r}: expected a constant, since its weights are quantized"
            )
        return value

    def _scalar(self, node: NodeProto, value: float) -> str:
        return self._constants.add(f"{node.output[0]}_scalar", np.array(value, np.float32))

    def _add_inner(self, node: NodeProto, kind: str, inputs: list[str], **attributes: Any) -> str:
        output = self._constants.names.new(f"{node.output[0]}_{kind.lower()}")
        self._add(kind, inputs, output, **attributes)
        return output

    def _add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        node = self._onnx.helper.make_node(kind, inputs, [output], f"{kind}:{output}", **attributes)
        self.nodes.append(node)


def _attribute(onnx: Any, node: NodeProto, name: str, default: Any) -> Any:
    for entry in node.attribute:
        if entry.name == name:
            return onnx.helper.get_attribute_value(entry)
    return default


def _pad_names(names: Any, count: int) -> list[str]:
    """Append empty names for optional inputs that were left out at the end."""
    return [*names, *[""] * (count - len(names))]
