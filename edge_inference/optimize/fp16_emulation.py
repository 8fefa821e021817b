"""Emulates fp16 on a CPU: every tensor is rounded to fp16 as a GPU does.

ONNX Runtime's CPU engine has few fp16 kernels. It computes fp16 networks in fp32 and removes the
casts between two layers, so that overflows never appear. The emulated network computes its layers
in fp32, as a GPU does inside a layer, and rounds each output with a pair of casts that ONNX
Runtime does not remove.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_inference.engines.precision.onnx_file import (
    first_line,
    import_onnx,
    infer_shapes,
    load_network,
)
from edge_inference.errors import BackendError

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto


def emulate_fp16(derived: Path) -> ModelProto:
    """Return the fp16 network that ``derive`` wrote so that a CPU computes what a GPU would.

    Node names, inputs and outputs stay the same. Raises BackendError if the package onnx is
    missing or cannot infer the types.
    """
    onnx = import_onnx()
    model = load_network(derived)
    graph = model.graph
    float16 = onnx.TensorProto.FLOAT16
    # Outputs of fp16 come from casts, which stay.
    outputs = {entry.name for entry in graph.output}
    float16_tensors = {
        entry.name
        for entry in graph.value_info
        if entry.type.tensor_type.elem_type == float16 and entry.name not in outputs
    }
    for constant in graph.initializer:
        if constant.data_type == float16:
            values = onnx.numpy_helper.to_array(constant).astype("float32")
            constant.CopyFrom(onnx.numpy_helper.from_array(values, constant.name))
    nodes: list[NodeProto] = []
    for node in graph.node:
        nodes.append(node)
        for index, name in enumerate(node.output):
            if name in float16_tensors:
                node.output[index] = f"{name}.exact"
                nodes += _make_rounding(onnx, node.output[index], name)
        if outputs.isdisjoint(node.output):
            _widen_cast(onnx, node)
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]
    try:
        return infer_shapes(model)
    except onnx.shape_inference.InferenceError as error:
        raise BackendError(f"{derived}: shapes cannot be inferred: {first_line(error)}") from error


def _make_rounding(onnx: Any, source: str, target: str) -> list[NodeProto]:
    """Return a cast to fp16 and back."""
    types = onnx.TensorProto
    make_node = onnx.helper.make_node
    return [
        make_node("Cast", [source], [f"{target}.half"], name=f"{target}.round", to=types.FLOAT16),
        make_node("Cast", [f"{target}.half"], [target], name=f"{target}.widen", to=types.FLOAT),
    ]


def _widen_cast(onnx: Any, node: NodeProto) -> None:
    """Turn a cast to fp16 into one to fp32: the casts that follow it round."""
    if node.op_type == "Cast":
        for attribute in node.attribute:
            if attribute.name == "to" and attribute.i == onnx.TensorProto.FLOAT16:
                attribute.i = onnx.TensorProto.FLOAT
