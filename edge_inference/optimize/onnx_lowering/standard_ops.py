"""Writes ONNX Runtime's own operators as operators of ONNX, in fp32.

Integer products quantise their input on the way and lose a little of it; what replaces them
does not, so results differ by that quantisation. Weights are the numbers that were stored.
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

_OWN = "com.microsoft"
_ACTIVATIONS = ("Relu", "Sigmoid", "Tanh")
#: Public operators of integer arithmetic that few engines know.
_INTEGER = ("DynamicQuantizeLinear", "MatMulInteger", "ConvInteger", "QLinearMatMul", "QLinearConv")


def lower_to_standard_ops(model: ModelProto) -> None:
    """Replace, in place, every operator that is not ONNX's own, and integer arithmetic.

    The graph must not branch. Raises ModelError where it has an operator that is not known
    here, BackendError where ONNX Runtime cannot tell the shapes that are needed.
    """
    onnx = import_onnx()
    work = _Rewriting(model, onnx)
    nodes = list(model.graph.node)
    for node in nodes:
        work.node(node)
    del model.graph.node[:]
    model.graph.node.extend(work.nodes)
    prune(model.graph)
    _require_public(model)
    del model.opset_import[:]
    model.opset_import.append(onnx.helper.make_opsetid("", work.opset))


def _require_public(model: ModelProto) -> None:
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx") or node.op_type in _INTEGER:
            kind = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
            raise ModelError(
                f"node {node.name!r} is {kind}, which cannot be written in operators that "
                "every engine knows"
            )


class _Rewriting:
    """The new list of nodes, while it grows."""

    def __init__(self, model: ModelProto, onnx: Any) -> None:
        self.nodes: list[NodeProto] = []
        self.opset = next(
            entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")
        )
        self._onnx = onnx
        self._constants = Constants(model.graph)
        #: Of tensors that are quantised on the way: what they were before.
        self._before: dict[str, str] = {}
        #: Rows picked from constants in 8 bits.
        self._gathered: dict[str, NodeProto] = {}
        #: Of constants that are stored in 8 bits: the same in fp32.
        self._restored: dict[tuple[str, ...], str] = {}
        fused = [node for node in model.graph.node if node.op_type == "FusedMatMul"]
        self._ranks = infer_ranks(model, [name for node in fused for name in node.input])
        self._rules: dict[tuple[str, str], Callable[[NodeProto], None]] = {
            ("", "DynamicQuantizeLinear"): self._remember,
            ("", "Gather"): self._gather,
            ("", "DequantizeLinear"): self._dequantise,
            (_OWN, "DynamicQuantizeMatMul"): self._dynamic_product,
            (_OWN, "MatMulIntegerToFloat"): self._integer_product,
            (_OWN, "FusedMatMul"): self._product,
            (_OWN, "FusedConv"): self._convolution,
            (_OWN, "Gelu"): self._gelu,
            (_OWN, "BiasGelu"): self._gelu,
            (_OWN, "QuickGelu"): self._quick_gelu,
            (_OWN, "SkipLayerNormalization"): self._normalisation_of_sum,
        }

    def node(self, node: NodeProto) -> None:
        """Append a node as it is, or what replaces it."""
        self._rules.get((node.domain, node.op_type), self.nodes.append)(node)

    def _remember(self, node: NodeProto) -> None:
        self._before[node.output[0]] = node.input[0]

    def _gather(self, node: NodeProto) -> None:
        """Rows of a constant in 8 bits wait for their scale; see ``_dequantise``."""
        stored = self._constants.get(node.input[0])
        if stored is None or stored.dtype not in (np.int8, np.uint8):
            self.nodes.append(node)
        else:
            self._gathered[node.output[0]] = node

    def _dequantise(self, node: NodeProto) -> None:
        gather = self._gathered.get(node.input[0])
        if gather is not None:
            table = self._restore(gather.input[0], *node.input[1:])
            axis = _attribute(self._onnx, gather, "axis", 0)
            self._add("Gather", [table, gather.input[1]], node.output[0], axis=axis)
        elif node.input[0] in self._constants:
            self._add("Identity", [self._restore(*node.input)], node.output[0])
        else:
            self.nodes.append(node)

    def _dynamic_product(self, node: NodeProto) -> None:
        values, weights, scale, zero, bias = _padded(node.input, 5)
        self._weighted(node, values, self._restore(weights, scale, zero), bias)

    def _integer_product(self, node: NodeProto) -> None:
        left, right, _, scale, _, zero, bias = _padded(node.input, 7)
        if left not in self._before:
            raise ModelError(f"node {node.name!r}: its left side is not quantised on the way")
        self._weighted(node, self._before[left], self._restore(right, scale, zero), bias)

    def _weighted(self, node: NodeProto, values: str, weights: str, bias: str) -> None:
        if not bias:
            self._add("MatMul", [values, weights], node.output[0])
            return
        product = self._between(node, "MatMul", [values, weights])
        self._add("Add", [product, bias], node.output[0])

    def _product(self, node: NodeProto) -> None:
        if any(_attribute(self._onnx, node, name, 0) for name in ("transBatchA", "transBatchB")):
            raise ModelError(f"node {node.name!r}: a product that transposes batches is not known")
        sides = []
        for name, flag in zip(node.input, ("transA", "transB"), strict=True):
            turned = _attribute(self._onnx, node, flag, 0)
            sides.append(self._turned(node, name) if turned else name)
        alpha = _attribute(self._onnx, node, "alpha", 1.0)
        if alpha == 1.0:
            self._add("MatMul", sides, node.output[0])
            return
        product = self._between(node, "MatMul", sides)
        self._add("Mul", [product, self._number(node, alpha)], node.output[0])

    def _turned(self, node: NodeProto, name: str) -> str:
        axes = list(range(self._ranks[name]))
        return self._between(node, "Transpose", [name], perm=[*axes[:-2], axes[-1], axes[-2]])

    def _convolution(self, node: NodeProto) -> None:
        activation = _attribute(self._onnx, node, "activation", b"").decode()
        if activation not in _ACTIVATIONS or len(node.input) > 3:
            raise ModelError(
                f"node {node.name!r}: a convolution with {activation or 'a sum'} behind it is not "
                f"known; known: {', '.join(_ACTIVATIONS)}"
            )
        plain = self._onnx.NodeProto()
        plain.CopyFrom(node)
        plain.domain, plain.op_type = "", "Conv"
        own = [entry for entry in plain.attribute if not entry.name.startswith("activation")]
        del plain.attribute[:], plain.output[:]
        plain.attribute.extend(own)
        plain.output.append(self._constants.names.new(f"{node.output[0]}_conv"))
        self.nodes.append(plain)
        self._add(activation, [plain.output[0]], node.output[0])

    def _gelu(self, node: NodeProto) -> None:
        """Write it out: x/2 · (1 + erf(x/√2)), after adding a bias where there is one."""
        values = node.input[0]
        if len(node.input) > 1:
            values = self._between(node, "Add", list(node.input))
        scaled = self._between(node, "Mul", [values, self._number(node, 1 / sqrt(2))])
        error = self._between(node, "Erf", [scaled])
        above = self._between(node, "Add", [error, self._number(node, 1.0)])
        half = self._between(node, "Mul", [values, self._number(node, 0.5)])
        self._add("Mul", [half, above], node.output[0])

    def _quick_gelu(self, node: NodeProto) -> None:
        """Write it out: x · sigmoid(alpha · x)."""
        alpha = _attribute(self._onnx, node, "alpha", 1.702)
        values = node.input[0]
        steeper = values
        if alpha != 1.0:
            steeper = self._between(node, "Mul", [values, self._number(node, alpha)])
        gate = self._between(node, "Sigmoid", [steeper])
        self._add("Mul", [values, gate], node.output[0])

    def _normalisation_of_sum(self, node: NodeProto) -> None:
        values, skipped, gain, shift, bias = _padded(node.input, 5)
        outputs = _padded(node.output, 4)
        if outputs[1] or outputs[2]:
            raise ModelError(f"node {node.name!r}: gives mean and variance, which is not known")
        total = self._between(node, "Add", [values, skipped])
        if bias:
            total = self._between(node, "Add", [total, bias])
        if outputs[3]:
            self._add("Identity", [total], outputs[3])
        inputs = [total, gain, shift] if shift else [total, gain]
        epsilon = _attribute(self._onnx, node, "epsilon", 1e-12)
        self._add("LayerNormalization", inputs, outputs[0], axis=-1, epsilon=epsilon)

    def _restore(self, stored: str, scale: str, zero: str = "") -> str:
        """Return the name of a constant that was stored in 8 bits, in fp32.

        Scales are one for all, or one for each column.
        """
        key = (stored, scale, zero)
        if key not in self._restored:
            numbers, step = self._constant(stored), self._constant(scale)
            offset = self._constant(zero) if zero else np.zeros((), numbers.dtype)
            value = (numbers.astype(np.float32) - offset.astype(np.float32)) * step
            wanted = stored.removesuffix("_quantized")
            self._restored[key] = self._constants.add(wanted, value.astype(np.float32))
        return self._restored[key]

    def _constant(self, name: str) -> NDArray[Any]:
        value = self._constants.get(name)
        if value is None:
            raise ModelError(f"tensor {name!r}: expected a constant beside quantised weights")
        return value

    def _number(self, node: NodeProto, value: float) -> str:
        return self._constants.add(f"{node.output[0]}_number", np.array(value, np.float32))

    def _between(self, node: NodeProto, kind: str, inputs: list[str], **attributes: Any) -> str:
        output = self._constants.names.new(f"{node.output[0]}_{kind.lower()}")
        self._add(kind, inputs, output, **attributes)
        return output

    def _add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        made = self._onnx.helper.make_node(kind, inputs, [output], f"{kind}:{output}", **attributes)
        self.nodes.append(made)


def _attribute(onnx: Any, node: NodeProto, name: str, default: Any) -> Any:
    for entry in node.attribute:
        if entry.name == name:
            return onnx.helper.get_attribute_value(entry)
    return default


def _padded(names: Any, count: int) -> list[str]:
    """Return names with empty ones for those that are left out at the end."""
    return [*names, *[""] * (count - len(names))]
