"""Reads the precision that ONNX Runtime really computes in, from its optimized graph.

On the CPU, ONNX Runtime has few fp16 kernels and computes most of an fp16 network in fp32
between casts. Of an int8 network it fuses the patterns that it knows and computes the rest in
fp32. Only layers with weights count: they take nearly all of the time.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from edge_inference.backends.ort import CPU, import_onnxruntime, session_options
from edge_inference.engines.precision.onnx_file import first_line, import_onnx, raise_if_disk_full
from edge_inference.errors import BackendError

if TYPE_CHECKING:
    from onnx import GraphProto

_WEIGHTED = (
    "Conv",
    "ConvTranspose",
    "FusedConv",
    "FusedGemm",
    "FusedMatMul",
    "Gemm",
    "MatMul",
    "MatMulNBits",  # packed weights; it computes in the type of their scales
)
#: Kernels that compute in int8, by a part of their name.
_INTEGER = ("QLinear", "Integer", "QGemm", "QConv", "QAttention", "DynamicQuantizeMatMul")
#: Of these, the kernels without weights; "QLinearMatMul" is not one of them.
_WITHOUT_WEIGHTS = tuple(
    f"QLinear{operator}"
    for operator in (
        "Add",
        "AveragePool",
        "Concat",
        "GlobalAveragePool",
        "LeakyRelu",
        "Mul",
        "ReduceMean",
        "Sigmoid",
        "Softmax",
        "Where",
    )
)
UNKNOWN = "unknown"
_NAMES = {"FLOAT": "fp32", "FLOAT16": "fp16", "DOUBLE": "fp64", "BFLOAT16": "bf16"}


def onnxruntime_precisions(file: Path) -> dict[str, int]:
    """Count the layers with weights by their real precision, most frequent first.

    Raises BackendError where ONNX Runtime cannot open the file.
    """
    onnx, onnxruntime = import_onnx(), import_onnxruntime()
    with tempfile.TemporaryDirectory(prefix="edge_inference_") as folder:
        options = session_options(onnxruntime)
        options.optimized_model_filepath = str(Path(folder, "optimized.onnx"))
        try:
            onnxruntime.InferenceSession(str(file), options, providers=[CPU], enable_fallback=0)
        except Exception as error:  # ONNX Runtime's errors share no base class
            raise_if_disk_full(Path(options.optimized_model_filepath))
            raise BackendError(
                f"{file}: ONNX Runtime cannot open it: {first_line(error)}"
            ) from error
        graph = onnx.load(options.optimized_model_filepath, load_external_data=False).graph
    return dict(_count(graph, dict(onnx.TensorProto.DataType.items())).most_common())


def main_precision(file: Path) -> str:
    """Return the precision of most layers with weights, UNKNOWN where there are none."""
    return next(iter(onnxruntime_precisions(file)), UNKNOWN)


def _count(graph: GraphProto, types: dict[str, int]) -> Counter[str]:
    names = {number: _NAMES[name] for name, number in types.items() if name in _NAMES}
    type_of = {entry.name: names.get(entry.data_type) for entry in graph.initializer}
    for node in graph.node:
        if node.op_type == "Cast":
            (to,) = (entry.i for entry in node.attribute if entry.name == "to")
            type_of[node.output[0]] = names.get(to)
        elif node.op_type == "DequantizeLinear":
            type_of[node.output[0]] = "fp32"
    counts: Counter[str] = Counter()
    for node in graph.node:
        kind = node.op_type
        if any(part in kind for part in _INTEGER) and kind not in _WITHOUT_WEIGHTS:
            counts["int8"] += 1
        elif kind in _WEIGHTED:
            # Both inputs have the same type; computed tensors have no type in the file.
            known = (type_of.get(name) for name in node.input)
            counts[next((name for name in known if name), UNKNOWN)] += 1
    return counts
