"""Converts a network to a newer opset."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_inference.engines.precision.graph import all_graphs
from edge_inference.engines.precision.onnx_file import first_line, import_onnx, opset_of
from edge_inference.errors import ModelError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

#: The first opset with scales per channel, which int8 needs.
MIN_OPSET = 13
#: The first opset in which QuantizeLinear and DequantizeLinear convert from and to fp16.
FP16_PAIRS_OPSET = 19
#: Operators that mean something else since opset 13, in the same form. Not every version of onnx
#: converts branches and loops; ONNX Runtime refuses all other old forms there.
_NEW_MEANING = ("Hardmax", "LogSoftmax", "Softmax")


def convert_opset(model: ModelProto, opset: int = MIN_OPSET) -> ModelProto:
    """Return the network in ``opset`` if its own is older. Raises ModelError where ONNX cannot."""
    if opset_of(model) >= opset:
        return model
    onnx = import_onnx()
    if opset_of(model) < MIN_OPSET:
        _check_branches(model.graph)
    for node in model.graph.node:
        if node.op_type == "Pad":
            _drop_unused_value(node)
    try:
        return onnx.version_converter.convert_version(model, opset)  # type: ignore[no-any-return]
    except Exception as error:  # the converter's errors share no base class
        raise ModelError(
            f"it cannot be converted to opset {opset} ({first_line(error)})"
        ) from error


def _check_branches(whole: GraphProto) -> None:
    for graph in all_graphs(whole):
        for node in graph.node:
            if graph is not whole and node.op_type in _NEW_MEANING:
                raise ModelError(
                    f"it cannot be converted to opset {MIN_OPSET} "
                    f"({node.op_type} in a branch or loop)"
                )


def _drop_unused_value(pad: NodeProto) -> None:
    """Remove a value that the mode ignores: the converter would leave it, which is not valid."""
    mode = next((entry.s for entry in pad.attribute if entry.name == "mode"), b"constant")
    if mode != b"constant":
        kept = [entry for entry in pad.attribute if entry.name != "value"]
        del pad.attribute[:]
        pad.attribute.extend(kept)
