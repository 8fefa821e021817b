"""Widens a network in fp16 or bf16 to fp32, so that every precision derives from fp32.

A model that was exported in half precision may be declared as the fp32 variant. ONNX Runtime
would put casts around its layers, which hide their weights, and calibration would see no fp32
tensor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edge_inference.engines.precision.graph import FreshNames, all_graphs
from edge_inference.engines.precision.onnx_file import import_onnx

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto, TypeProto

#: Attributes that hold the type of a node's output.
_TYPE_ATTRIBUTES = ("dtype", "output_dtype", "to")


def widen_to_fp32(model: ModelProto) -> None:
    """Turn all tensors of fp16 and bf16 into fp32, in place.

    Inputs and outputs keep their type, with a cast inside the network.
    """
    onnx = import_onnx()
    narrow = (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
    ends = {
        entry.name: entry.type.tensor_type.elem_type
        for entry in (*model.graph.input, *model.graph.output)
    }
    for graph in all_graphs(model.graph):
        if graph is not model.graph:
            for entry in (*graph.input, *graph.output):
                _widen_type(entry.type, narrow, onnx)
        del graph.value_info[:]
        for tensor in graph.initializer:
            _widen_tensor(tensor, narrow, onnx)
        for node in graph.node:
            _widen_attributes(node, narrow, onnx)
    narrow_ends = {name: kind for name, kind in ends.items() if kind in narrow}
    if narrow_ends:
        _cast_ends(model.graph, narrow_ends, onnx)


def _widen_attributes(node: NodeProto, narrow: tuple[int, ...], onnx: Any) -> None:
    for attribute in node.attribute:
        if attribute.name in _TYPE_ATTRIBUTES and attribute.i in narrow:
            attribute.i = onnx.TensorProto.FLOAT
        for tensor in (attribute.t, *attribute.tensors):
            _widen_tensor(tensor, narrow, onnx)
        _widen_type(attribute.tp, narrow, onnx)


def _widen_tensor(tensor: TensorProto, narrow: tuple[int, ...], onnx: Any) -> None:
    if tensor.data_type in narrow:
        values = onnx.numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))


def _widen_type(kind: TypeProto, narrow: tuple[int, ...], onnx: Any) -> None:
    """Widen the type of a tensor, or of the elements of a sequence or an optional value."""
    field = kind.WhichOneof("value")
    if field == "tensor_type" and kind.tensor_type.elem_type in narrow:
        kind.tensor_type.elem_type = onnx.TensorProto.FLOAT
    elif field in ("sequence_type", "optional_type"):
        _widen_type(getattr(kind, field).elem_type, narrow, onnx)


def _cast_ends(graph: GraphProto, ends: dict[str, int], onnx: Any) -> None:
    """Insert the casts behind inputs and before outputs of half precision."""
    names = FreshNames(graph)
    inputs = {entry.name for entry in graph.input}
    inner = {name: names.new(f"{name}_fp32") for name in ends}
    for tensor in graph.initializer:
        tensor.name = inner.get(tensor.name, tensor.name)
    for each in all_graphs(graph):
        if each is not graph:
            for entry in each.output:
                entry.name = inner.get(entry.name, entry.name)
        for node in each.node:
            for tensors in (node.input, node.output):
                tensors[:] = [inner.get(name, name) for name in tensors]
    before: list[NodeProto] = []
    behind: list[NodeProto] = []
    for name, kind in ends.items():
        is_input = name in inputs
        source, target = (name, inner[name]) if is_input else (inner[name], name)
        cast = onnx.helper.make_node(
            "Cast",
            [source],
            [target],
            name=names.new(f"cast_{name}"),
            to=onnx.TensorProto.FLOAT if is_input else kind,
        )
        (before if is_input else behind).append(cast)
    nodes = [*before, *graph.node, *behind]
    del graph.node[:]
    graph.node.extend(nodes)
