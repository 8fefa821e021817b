"""Reads a model that ONNX Runtime reads, in its own format too, as an ONNX graph."""

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


def read_model(file: Path) -> ModelProto:
    """Read an ``.ort`` or ``.onnx`` file as it is, with the operators that it has.

    Raises ModelError for a file that ONNX Runtime cannot open, BackendError where a
    package is missing.
    """
    onnx = import_onnx()
    with tempfile.TemporaryDirectory(prefix="edge_inference_") as folder:
        copy = Path(folder, "model.onnx")
        onnxruntime, options = _options()
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
    # ONNX Runtime's own format keeps none, and ONNX wants one.
    model.graph.name = file.stem
    return model  # type: ignore[no-any-return]


def ranks_of(model: ModelProto, names: Iterable[str]) -> dict[str, int]:
    """Return how many axes some tensors have; ONNX Runtime knows them for its own operators too.

    Raises BackendError where it does not.
    """
    wanted = list(dict.fromkeys(names))
    if not wanted:
        return {}
    onnx = import_onnx()
    asking = onnx.ModelProto()
    asking.CopyFrom(model)
    declared = {entry.name for entry in asking.graph.output}
    for name in wanted:
        if name not in declared:
            asking.graph.output.append(onnx.ValueInfoProto(name=name))
    onnxruntime, options = _options()
    try:
        session = onnxruntime.InferenceSession(
            asking.SerializeToString(), options, providers=[CPU], enable_fallback=0
        )
    except Exception as error:  # ONNX Runtime's errors share no base class
        raise BackendError(
            f"ONNX Runtime cannot open a graph to tell its shapes ({first_line(error)})"
        ) from error
    return {node.name: len(node.shape) for node in session.get_outputs() if node.name in wanted}


def _options() -> tuple[Any, Any]:
    onnxruntime = import_onnxruntime()
    options = session_options(onnxruntime)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime, options
