"""Converts a network from fp32 to fp16: nodes to half precision, with casts where types meet.

The operator schemas of ONNX define which operators support fp16 and which of their inputs do
not (the scales of a Resize), so that this file needs no list of operators. A tensor keeps its
name in fp32; its fp16 copy has another name. A tensor is cast once, before the first node that
needs the other type. Values between nodes in fp32 stay in fp32, as they may be too large for
fp16.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.engines.precision.graph import (
    FreshNames,
    captured_tensors,
    drop_unused_constants,
    float_tensors,
    other_values,
)
from edge_inference.engines.precision.onnx_file import import_onnx, infer_shapes, opset_of
from edge_inference.errors import ModelError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

MAX_FP16 = float(np.finfo(np.float16).max)
_MIN_FP16 = np.finfo(np.float16).smallest_subnormal

NO_FP16 = "without fp16 in ONNX"
WEIGHTS_TOO_LARGE = "with weights too large for fp16"

_FLOAT = "tensor(float)"
_HALF = "tensor(float16)"
#: Attributes that define the type of a node's output.
_TYPED_BY_ATTRIBUTE = ("dtype", "value", "output_dtype")
#: Operators whose bounds can be clipped to the largest fp16 number without changing the result.
_BOUNDED = ("Clip", "Max", "Min")
#: With a reduction, ONNX Runtime has no kernel of them for fp16.
_SCATTERS = ("ScatterElements", "ScatterND")


@dataclass
class _Plan:
    """The conversion of one node: the indices of inputs and outputs that become fp16."""

    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()
    reason: str = ""


def to_fp16(model: ModelProto, keep: Mapping[str, str]) -> tuple[ModelProto, dict[str, str]]:
    """Return the folded network in fp16, and the reason for each node in fp32.

    Inputs and outputs keep their type. ``keep`` maps nodes that stay in fp32 to the reason.
    Raises ModelError where no node can compute in fp16.
    """
    onnx = import_onnx()
    _lift_constants(model.graph, onnx)
    floats = float_tensors(model.graph, onnx)
    constants = {entry.name: entry for entry in model.graph.initializer}
    schemas = _Schemas(model, onnx)
    plans = {}
    for node in model.graph.node:
        plan = schemas.plan(node, floats)
        if node.name in keep:
            plan = _Plan(reason=keep[node.name])
        elif plan.inputs and _has_large_weights(node, plan, constants, onnx):
            plan = _Plan(reason=WEIGHTS_TOO_LARGE)
        plans[node.name] = plan
    if not any(plan.inputs or plan.outputs for plan in plans.values()):
        raise ModelError("no node of the network can compute in fp16; use the network in fp32")
    converted = _Rewriter(model, plans, constants, onnx).run()
    kept = {name: plan.reason for name, plan in plans.items() if plan.reason}
    return converted, kept


class _Schemas:
    """The operator schemas of ONNX."""

    def __init__(self, model: ModelProto, onnx: Any) -> None:
        self._onnx = onnx
        self._opset = opset_of(model)
        self._others = other_values(model.graph)

    def plan(self, node: NodeProto, floats: set[str]) -> _Plan:
        """Convert every fp32 input and output whose type parameter also allows fp16."""
        is_float = [name in floats for name in (*node.input, *node.output)]
        if not any(is_float):
            return _Plan()
        schema = self._schema(node)
        if schema is None or self._has_fixed_type(node) or _is_fp32_only(node):
            return _Plan(reason=NO_FP16)
        if not self._others.isdisjoint((*node.input, *node.output)):
            return _Plan(reason=NO_FP16)  # a sequence keeps the type of its tensors
        free = {
            entry.type_param_str
            for entry in schema.type_constraints
            if {_FLOAT, _HALF} <= set(entry.allowed_type_strs)
        }
        inputs = tuple(
            place
            for place, name in enumerate(node.input)
            if name in floats and _type_of(schema.inputs, place) in free
        )
        outputs = tuple(
            place
            for place, name in enumerate(node.output)
            if name in floats and _type_of(schema.outputs, place) in free
        )
        if node.op_type == "Cast":
            # A cast stays: fp32 values from integers may exceed the range of fp16.
            return _Plan()
        if not inputs and outputs:
            return _Plan(reason=NO_FP16)
        return _Plan(inputs, outputs, "" if inputs else NO_FP16)

    def _schema(self, node: NodeProto) -> Any:
        if node.domain not in ("", "ai.onnx"):
            return None
        try:
            return self._onnx.defs.get_schema(node.op_type, self._opset, "")
        except self._onnx.defs.SchemaError:
            return None

    def _has_fixed_type(self, node: NodeProto) -> bool:
        graphs = (self._onnx.AttributeProto.GRAPH, self._onnx.AttributeProto.GRAPHS)
        return any(
            entry.name in _TYPED_BY_ATTRIBUTE or entry.type in graphs for entry in node.attribute
        )


@dataclass
class _Rewriter:
    """Rewrites the nodes in their order, with casts before the first node that needs one."""

    model: ModelProto
    plans: dict[str, _Plan]
    constants: dict[str, TensorProto]
    onnx: Any
    half_of: dict[str, str] = field(default_factory=dict)
    only_half: dict[str, str] = field(default_factory=dict)
    casts: int = 0

    def run(self) -> ModelProto:
        graph = self.model.graph
        self._names = FreshNames(graph)
        nodes: list[NodeProto] = []
        for node in graph.node:
            nodes.extend(self._rewrite(node))
        for name in [entry.name for entry in graph.output]:
            nodes.extend(self._in_fp32(name))
        del graph.node[:]
        graph.node.extend(nodes)
        drop_unused_constants(graph)
        del graph.value_info[:]
        return infer_shapes(self.model)

    def _rewrite(self, node: NodeProto) -> Iterator[NodeProto]:
        plan = self.plans[node.name]
        for place, name in enumerate(node.input):
            if place in plan.inputs:
                bounded = node.op_type in _BOUNDED
                yield from self._in_half(name, bounded)
                node.input[place] = self.half_of[name]
            else:
                yield from self._in_fp32(name)
        for name in captured_tensors(node):
            yield from self._in_fp32(name)
        for place in plan.outputs:
            name = node.output[place]
            half = self._names.new(f"{name}_fp16")
            self.half_of[name] = self.only_half[name] = node.output[place] = half
        yield node

    def _in_half(self, name: str, bounded: bool) -> Iterator[NodeProto]:
        if name in self.half_of:
            return
        half = self.half_of[name] = self._names.new(f"{name}_fp16")
        if name in self.constants:
            values = self.onnx.numpy_helper.to_array(self.constants[name])
            if bounded:
                values = np.clip(values, -MAX_FP16, MAX_FP16)
            tensor = self.onnx.numpy_helper.from_array(_to_half(values), half)
            self.model.graph.initializer.append(tensor)
        else:
            yield self._cast(name, half, self.onnx.TensorProto.FLOAT16)

    def _in_fp32(self, name: str) -> Iterator[NodeProto]:
        if name in self.only_half:
            half = self.only_half.pop(name)
            yield self._cast(half, name, self.onnx.TensorProto.FLOAT)

    def _cast(self, source: str, target: str, kind: int) -> NodeProto:
        self.casts += 1
        name = self._names.new(f"cast_{self.casts}")
        return self.onnx.helper.make_node(  # type: ignore[no-any-return]
            "Cast", [source], [target], name=name, to=kind
        )


def _to_half(values: NDArray[np.float32]) -> NDArray[np.float16]:
    """Round to fp16; a value other than 0 stays so, as a divisor must not become 0."""
    with np.errstate(over="ignore"):
        half = np.asarray(values, np.float16)
    vanished = (half == 0) & (values != 0)
    return np.where(vanished, np.copysign(_MIN_FP16, half), half)


def _has_large_weights(
    node: NodeProto, plan: _Plan, constants: dict[str, TensorProto], onnx: Any
) -> bool:
    if node.op_type in _BOUNDED:
        return False
    weights = (constants.get(node.input[place]) for place in plan.inputs)
    arrays = [onnx.numpy_helper.to_array(entry) for entry in weights if entry is not None]
    return any(array.size and np.abs(array).max() > MAX_FP16 for array in arrays)


def _is_fp32_only(node: NodeProto) -> bool:
    """Tell whether a node is wrong or runs nowhere in fp16, although its schema allows it."""
    if node.op_type in ("BitCast", "MeanVarianceNormalization"):
        return True  # for the bits of a number, and with an fp32 constant inside
    reductions = [entry.s for entry in node.attribute if entry.name == "reduction"]
    return node.op_type in _SCATTERS and reductions not in ([], [b"none"])


def _lift_constants(graph: GraphProto, onnx: Any) -> None:
    """Convert Constant nodes into initializers, so that they get an fp16 copy, too."""
    for node in [node for node in graph.node if node.op_type == "Constant"]:
        values = [entry.t for entry in node.attribute if entry.name == "value"]
        if values:
            tensor = onnx.TensorProto()
            tensor.CopyFrom(values[0])
            tensor.name = node.output[0]
            graph.initializer.append(tensor)
            graph.node.remove(node)


def _type_of(parameters: Any, place: int) -> str:
    """Return the type parameter at an index; the last one may be variadic."""
    return str(parameters[min(place, len(parameters) - 1)].type_str)
