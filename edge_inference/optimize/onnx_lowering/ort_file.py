"""Reads ``.ort`` and ``.onnx`` files with ONNX Runtime and returns ONNX graphs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_inference.backends.ort import CPU, import_onnxruntime, session_options
from edge_inference.engines.precision.onnx_file import first_line, import_onnx, raise_if_disk_full
from edge_inference.errors import BackendError, ModelError

if TYPE_CHECKING:
    from onnx import ModelProto


def read_ort_model(file: Path) -> ModelProto:
    """Read an ``.ort`` or ``.onnx`` file without any optimization of its operators.

    Raises ModelError for a file that ONNX Runtime cannot open, BackendError if a package is
    missing.
    """
    onnx = import_onnx()
    with tempfile.TemporaryDirectory(prefix="edge_inference_") as folder:
        copy = Path(folder, "model.onnx")
        onnxruntime, options = _import_unoptimized()
        options.optimized_model_filepath = str(copy)
        options.add_session_config_entry("session.save_model_format", "ONNX")
        try:
            onnxruntime.InferenceSession(str(file), options, providers=[CPU], enable_fallback=0)
            model = onnx.load(str(copy))
        except Exception as error:  # ONNX Runtime's errors share no base class
            raise_if_disk_full(copy)
            raise ModelError(
                f"{file}: ONNX Runtime cannot read it ({first_line(error)}); expected a complete "
                ".ort or .onnx file"
            ) from error
    # The .ort format stores no graph name, and ONNX requires one.
    model.graph.name = file.stem
    return model  # type: ignore[no-any-return]


def infer_ranks(model: ModelProto, names: Iterable[str]) -> dict[str, int]:
    """Return the rank of some tensors; ONNX Runtime infers it for contrib operators, too.

    Raises BackendError if ONNX Runtime cannot open the graph.
    """
    unique_names = list(dict.fromkeys(names))
    if not unique_names:
        return {}
    onnx = import_onnx()
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    declared = {entry.name for entry in probe.graph.output}
    for name in unique_names:
        if name not in declared:
            probe.graph.output.append(onnx.ValueInfoProto(name=name))
    onnxruntime, options = _import_unoptimized()
    try:
        session = onnxruntime.InferenceSession(
            probe.SerializeToString(), options, providers=[CPU], enable_fallback=0
        )
    except Exception as error:  # ONNX Runtime's errors share no base class
        raise BackendError(
            f"ONNX Runtime cannot open a graph to infer its shapes ({first_line(error)})"
        ) from error
    return {
        node.name: len(node.shape) for node in session.get_outputs() if node.name in unique_names
    }


def _import_unoptimized() -> tuple[Any, Any]:
    onnxruntime = import_onnxruntime()
    options = session_options(onnxruntime)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime, options
