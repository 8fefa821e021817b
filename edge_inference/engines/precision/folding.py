"""Folds the constants of a network: the common source of every derived model.

In the folded network, weights stored in fp16 are fp32, batch normalizations are merged into
their convolutions, every node has a name and every tensor a type. Calibrations and lists of
nodes in fp32 refer to this network.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from edge_inference.backends.ort import CPU, import_onnxruntime, session_options
from edge_inference.backends.ort_failures import explain_open_failure
from edge_inference.engines.precision.onnx_file import (
    first_line,
    import_onnx,
    raise_if_disk_full,
    read_onnx,
    serialize_onnx,
)
from edge_inference.errors import BackendError, ModelError

if TYPE_CHECKING:
    from onnx import ModelProto


def fold(source: Path) -> ModelProto:
    """Read an ONNX file and fold its constants; opset, inputs and outputs do not change.

    Raises ModelError for an invalid ONNX file, BackendError where
    ONNX Runtime cannot run it or a package is missing.
    """
    network, is_split = read_onnx(source)
    onnx = import_onnx()
    onnxruntime = import_onnxruntime()
    with tempfile.TemporaryDirectory(prefix="edge_inference_") as folder:
        folded = Path(folder, "folded.onnx")
        options = session_options(onnxruntime)
        level = onnxruntime.GraphOptimizationLevel
        options.graph_optimization_level = level.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(folded)
        # From a file, ONNX Runtime would write references to its external weights.
        source_model = serialize_onnx(network, source) if is_split else str(source)
        del network
        try:
            onnxruntime.InferenceSession(source_model, options, providers=[CPU], enable_fallback=0)
        except Exception as error:  # ONNX Runtime's errors share no base class
            raise_if_disk_full(folded)
            raise BackendError(explain_open_failure(source, error, onnxruntime)) from error
        model = onnx.load(str(folded))
    _name_nodes(model)
    _keep_used_domains(model)
    try:
        return onnx.shape_inference.infer_shapes(model)  # type: ignore[no-any-return]
    except onnx.shape_inference.InferenceError as error:
        raise ModelError(
            f"{source}: shapes cannot be inferred ({first_line(error)}); export it with another "
            "opset, or with fixed shapes"
        ) from error


def _name_nodes(model: ModelProto) -> None:
    taken = {node.name for node in model.graph.node}
    for index, node in enumerate(model.graph.node):
        if not node.name:
            name = f"{node.op_type}_{index}"
            while name in taken:
                name += "_"
            taken.add(name)
            node.name = name


def _keep_used_domains(model: ModelProto) -> None:
    """Drop the operator sets that ONNX Runtime adds; some parsers refuse them."""
    if any(attribute.HasField("g") for node in model.graph.node for attribute in node.attribute):
        return  # nodes inside a branch or loop may use them
    used = {node.domain for node in model.graph.node} | {""}
    kept = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
