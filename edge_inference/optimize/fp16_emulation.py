"""An fp16 network for a CPU: every value is rounded to fp16 as it will be on a GPU.

ONNX Runtime's CPU engine has few fp16 kernels; it computes fp16 networks in fp32 and
leaves out the casts between two layers, so that no overflow is ever seen. Here the
layers compute in fp32 in the open, as a GPU does inside a layer, and what they give
goes through a pair of casts that belongs to the network and therefore stays.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_inference.engines.precision.onnx_file import first_line, import_onnx
from edge_inference.errors import BackendError

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto


def emulate_fp16(derived: Path) -> ModelProto:
    """Return what ``derive`` made for fp16, so that a CPU computes what a GPU would.

    Nodes keep their names, inputs and outputs are those of the derived model. Raises
    BackendError where the package onnx is missing or cannot follow the types.
    """
    onnx = import_onnx()
    model = onnx.load(str(derived))
    graph = model.graph
    known = (*graph.value_info, *graph.output)
    half = onnx.TensorProto.FLOAT16
    halves = {entry.name for entry in known if entry.type.tensor_type.elem_type == half}
    for constant in graph.initializer:
        if constant.data_type == half:
            values = onnx.numpy_helper.to_array(constant).astype("float32")
            constant.CopyFrom(onnx.numpy_helper.from_array(values, constant.name))
    nodes: list[NodeProto] = []
    for node in graph.node:
        nodes.append(node)
        for place, name in enumerate(node.output):
            if name in halves:
                node.output[place] = f"{name}.exact"
                nodes += _rounding(onnx, node.output[place], name)
        _retype_cast(onnx, node)
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]
    try:
        return onnx.shape_inference.infer_shapes(model)  # type: ignore[no-any-return]
    except onnx.shape_inference.InferenceError as error:
        raise BackendError(f"{derived}: shapes cannot be inferred: {first_line(error)}") from error


def _rounding(onnx: Any, source: str, target: str) -> list[NodeProto]:
    types = onnx.TensorProto
    make = onnx.helper.make_node
    return [
        make("Cast", [source], [f"{target}.half"], name=f"{target}.round", to=types.FLOAT16),
        make("Cast", [f"{target}.half"], [target], name=f"{target}.widen", to=types.FLOAT),
    ]


def _retype_cast(onnx: Any, node: NodeProto) -> None:
    """A cast to fp16 only hands its value on: the rounding behind it does the work."""
    if node.op_type == "Cast":
        for attribute in node.attribute:
            if attribute.name == "to" and attribute.i == onnx.TensorProto.FLOAT16:
                attribute.i = onnx.TensorProto.FLOAT
