"""fp32 to fp16: which nodes can compute in half precision, and casts where types meet.

ONNX itself says which operators take fp16 and which of their inputs never do
(the scales of a Resize), so there is no list of operators here. A tensor keeps
its name in fp32; its fp16 twin has another. A cast is made once, at the first
node that needs the other type: a chain of nodes that stay in fp32 hands its
values on in fp32, as it must where they are too large for fp16.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.engines.precision.graph import (
    FreshNames,
    captured,
    drop_unused_constants,
    float_tensors,
)
from edge_inference.engines.precision.onnx_file import import_onnx, opset_of
from edge_inference.errors import ModelError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

LARGEST = float(np.finfo(np.float16).max)
_SMALLEST = np.finfo(np.float16).smallest_subnormal

NO_HALF = "ONNX has no fp16 for it"
WEIGHTS_TOO_LARGE = "weights larger than fp16 holds"

_FLOAT = "tensor(float)"
_HALF = "tensor(float16)"
#: What their output's type is stands in an attribute, or in the type of another tensor.
_TYPED_BY_ATTRIBUTE = ("dtype", "value", "output_dtype")
#: Bounds that may be cut to the largest fp16 number without changing the result.
_BOUNDED = ("Clip", "Max", "Min")


@dataclass
class _Plan:
    """What becomes of one node: the places of inputs and outputs that turn to fp16."""

    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()
    reason: str = ""


def to_fp16(model: ModelProto, keep: Mapping[str, str]) -> tuple[ModelProto, dict[str, str]]:
    """Return the folded network in fp16, and why each node in fp32 stayed there.

    Inputs and outputs keep their type. ``keep`` are nodes that stay, with the
    reason. Raises ModelError where no node can turn.
    """
    onnx = import_onnx()
    _lift_constants(model.graph, onnx)
    floats = float_tensors(model.graph, onnx)
    constants = {entry.name: entry for entry in model.graph.initializer}
    schemas = _Schemas(onnx, opset_of(model))
    plans = {}
    for node in model.graph.node:
        plan = schemas.plan(node, floats)
        if node.name in keep:
            plan = _Plan(reason=keep[node.name])
        elif plan.inputs and _has_large_weights(node, plan, constants, onnx):
            plan = _Plan(reason=WEIGHTS_TOO_LARGE)
        plans[node.name] = plan
    if not any(plan.inputs or plan.outputs for plan in plans.values()):
        raise ModelError("no node of the network can compute in fp16; use it in fp32")
    converted = _Rewriter(model, plans, constants, onnx).run()
    kept = {name: plan.reason for name, plan in plans.items() if plan.reason}
    return converted, kept


class _Schemas:
    """What ONNX says about the types of an operator."""

    def __init__(self, onnx: Any, opset: int) -> None:
        self._onnx = onnx
        self._opset = opset

    def plan(self, node: NodeProto, floats: set[str]) -> _Plan:
        """Turn every fp32 input and output that shares a type which fp16 may take."""
        is_float = [name in floats for name in (*node.input, *node.output)]
        if not any(is_float):
            return _Plan()
        schema = self._schema(node)
        if schema is None or self._is_typed_otherwise(node):
            return _Plan(reason=NO_HALF)
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
            # Its output's type is free of its input's: fp32 made from integers may be
            # larger than fp16 holds, and only the result of the next node tells.
            return _Plan()
        if not inputs and outputs:
            return _Plan(reason=NO_HALF)
        return _Plan(inputs, outputs, "" if inputs else NO_HALF)

    def _schema(self, node: NodeProto) -> Any:
        if node.domain not in ("", "ai.onnx"):
            return None
        try:
            return self._onnx.defs.get_schema(node.op_type, self._opset, "")
        except self._onnx.defs.SchemaError:
            return None

    def _is_typed_otherwise(self, node: NodeProto) -> bool:
        graphs = (self._onnx.AttributeProto.GRAPH, self._onnx.AttributeProto.GRAPHS)
        return any(
            entry.name in _TYPED_BY_ATTRIBUTE or entry.type in graphs for entry in node.attribute
        )


@dataclass
class _Rewriter:
    """Writes the nodes anew, in their order, with casts before the first that needs one."""

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
            nodes.extend(self._rewritten(node))
        for name in [entry.name for entry in graph.output]:
            nodes.extend(self._in_fp32(name))
        del graph.node[:]
        graph.node.extend(nodes)
        drop_unused_constants(graph)
        del graph.value_info[:]
        return self.onnx.shape_inference.infer_shapes(self.model)  # type: ignore[no-any-return]

    def _rewritten(self, node: NodeProto) -> Iterator[NodeProto]:
        plan = self.plans[node.name]
        for place, name in enumerate(node.input):
            if place in plan.inputs:
                bounded = node.op_type in _BOUNDED
                yield from self._in_half(name, bounded)
                node.input[place] = self.half_of[name]
            else:
                yield from self._in_fp32(name)
        for name in captured(node):
            yield from self._in_fp32(name)
        for place in plan.outputs:
            name = node.output[place]
            twin = self._names.new(f"{name}_fp16")
            self.half_of[name] = self.only_half[name] = node.output[place] = twin
        yield node

    def _in_half(self, name: str, bounded: bool) -> Iterator[NodeProto]:
        if name in self.half_of:
            return
        twin = self.half_of[name] = self._names.new(f"{name}_fp16")
        if name in self.constants:
            values = self.onnx.numpy_helper.to_array(self.constants[name])
            if bounded:
                values = np.clip(values, -LARGEST, LARGEST)
            tensor = self.onnx.numpy_helper.from_array(_to_half(values), twin)
            self.model.graph.initializer.append(tensor)
        else:
            yield self._cast(name, twin, self.onnx.TensorProto.FLOAT16)

    def _in_fp32(self, name: str) -> Iterator[NodeProto]:
        if name in self.only_half:
            twin = self.only_half.pop(name)
            yield self._cast(twin, name, self.onnx.TensorProto.FLOAT)

    def _cast(self, source: str, target: str, kind: int) -> NodeProto:
        self.casts += 1
        name = self._names.new(f"cast_{self.casts}")
        return self.onnx.helper.make_node(  # type: ignore[no-any-return]
            "Cast", [source], [target], name=name, to=kind
        )


def _to_half(values: NDArray[np.float32]) -> NDArray[np.float16]:
    """Round to fp16; what is not 0 stays so, as it may be what keeps a divisor from 0."""
    with np.errstate(over="ignore"):
        half = np.asarray(values, np.float16)
    vanished = (half == 0) & (values != 0)
    return np.where(vanished, np.copysign(_SMALLEST, half), half)


def _has_large_weights(
    node: NodeProto, plan: _Plan, constants: dict[str, TensorProto], onnx: Any
) -> bool:
    if node.op_type in _BOUNDED:
        return False
    weights = (constants.get(node.input[place]) for place in plan.inputs)
    arrays = [onnx.numpy_helper.to_array(entry) for entry in weights if entry is not None]
    return any(array.size and np.abs(array).max() > LARGEST for array in arrays)


def _lift_constants(graph: GraphProto, onnx: Any) -> None:
    """Turn nodes that only hold a tensor into initializers, so that they have a twin too."""
    for node in [node for node in graph.node if node.op_type == "Constant"]:
        values = [entry.t for entry in node.attribute if entry.name == "value"]
        if values:
            tensor = onnx.TensorProto()
            tensor.CopyFrom(values[0])
            tensor.name = node.output[0]
            graph.initializer.append(tensor)
            graph.node.remove(node)


def _type_of(parameters: Any, place: int) -> str:
    """Return the type parameter at a place; the last one may stand for any number."""
    return str(parameters[min(place, len(parameters) - 1)].type_str)
