"""Replaces the functions of a network by their nodes."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from edge_inference.engines.precision.graph import all_graphs
from edge_inference.engines.precision.onnx_file import import_onnx, infer_shapes

if TYPE_CHECKING:
    from onnx import ModelProto

#: One operator since opset 23. In it no product could compute in int8, and TensorRT has kernels
#: for few of its forms.
_ATTENTION = "Attention"


def inline_functions(model: ModelProto) -> ModelProto:
    """Return the network with the nodes of its own functions and of ONNX's attention."""
    onnx = import_onnx()
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    graphs = all_graphs(model.graph)
    operators = {(node.domain, node.op_type) for graph in graphs for node in graph.node}
    if ("", _ATTENTION) not in operators:
        return model
    # Older versions of onnx, and networks without known types, keep the operator.
    with suppress(RuntimeError, TypeError, onnx.shape_inference.InferenceError):
        # The definition depends on the types of the inputs, also of constants.
        model = infer_shapes(model)
        model.graph.value_info.extend(
            onnx.helper.make_tensor_value_info(entry.name, entry.data_type, entry.dims)
            for entry in model.graph.initializer
        )
        model = onnx.inliner.inline_selected_functions(
            model, [("", _ATTENTION)], inline_schema_functions=True
        )
    return model
