"""Converts a network from fp32 to int8: Q/DQ pairs around the nodes, in the style of an engine.

One calibration serves both styles. ONNX Runtime's CPU kernels need unsigned activations and
pairs around every node, so that chains of nodes compute in bytes. TensorRT needs signed
symmetric numbers, pairs before layers with weights but none behind them (it fuses the next
nodes into the layer), weights in fp32 with a pair of their own, and biases in fp32.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from edge_inference.engines.precision.graph import float_tensors
from edge_inference.engines.precision.int8_mode import FULL_BITS, REDUCED_BITS
from edge_inference.engines.precision.onnx_file import import_onnx, opset_of
from edge_inference.engines.precision.opset import MIN_OPSET
from edge_inference.engines.precision.qdq_pairs import QdqStyle, QdqWriter, WeightForm
from edge_inference.engines.precision.ranges import Range
from edge_inference.errors import ModelError

if TYPE_CHECKING:
    from onnx import ModelProto

NOT_QUANTIZED = "not quantized for this engine"

QDQ_STYLES: Mapping[str, QdqStyle] = {
    "onnxruntime": QdqStyle(
        # No ConvTranspose: ONNX Runtime computes it in fp32 and would dequantize the weights.
        weighted=("Conv", "Gemm", "MatMul"),
        computing=(
            "Add",
            "AveragePool",
            "Concat",
            "GlobalAveragePool",
            "LeakyRelu",
            "Mul",
            "Sigmoid",
            "Softmax",
        ),
        moving=(
            "Flatten",
            "MaxPool",
            "Reshape",
            "Resize",
            "Slice",
            "Split",
            "Squeeze",
            "Transpose",
            "Unsqueeze",
        ),
        signed_activations=False,
        pairs_behind=True,
        stores_numbers=True,
    ),
    "tensorrt": QdqStyle(
        weighted=("Conv", "ConvTranspose", "Gemm", "MatMul"),
        computing=("Add", "AveragePool", "GlobalAveragePool"),
        moving=(),
        signed_activations=True,
        pairs_behind=False,
        stores_numbers=False,
    ),
}
TARGETS = tuple(QDQ_STYLES)


def to_int8(
    model: ModelProto,
    target: str,
    ranges: Mapping[str, Range],
    keep: Mapping[str, str],
    *,
    per_channel: bool = True,
    weight_bits: int = FULL_BITS,
    reduce_range: Collection[str] = (),
    fp16_scales: bool = False,
) -> tuple[ModelProto, dict[str, str]]:
    """Return the folded network with Q/DQ pairs, and the reason for each node in fp32.

    ``keep`` maps nodes that stay in fp32 to the reason. ``per_channel`` gives each channel of
    the weights its own scale. ``weight_bits`` is 8, or 7 for kernels that add two products in
    16 bits; the weights of the nodes ``reduce_range`` always have 7. ``fp16_scales`` rounds all
    scales to fp16. Raises ModelError for an opset that is too old, for missing ranges, and where no
    node can compute in int8.
    """
    opset = opset_of(model)
    if opset < MIN_OPSET:
        raise ModelError(
            f"opset {opset}: int8 needs at least {MIN_OPSET}, and onnx.version_converter cannot "
            "convert this network; export the model again with that opset"
        )
    style = QDQ_STYLES[target]
    onnx = import_onnx()
    _check_ranges(model, style, ranges, keep)
    operators = {node.name: node.op_type for node in model.graph.node}
    bits = dict.fromkeys(reduce_range, REDUCED_BITS)
    writer = QdqWriter(
        model,
        style,
        ranges,
        keep,
        WeightForm(per_channel, weight_bits, bits, fp16_scales),
        onnx,
    )
    writer.run()
    if not any(operators[name] in style.weighted for name in writer.quantized):
        raise ModelError("no layer of the network can compute in int8; use the network in fp32")
    quantized = set(writer.quantized)
    kept = {name: keep.get(name, NOT_QUANTIZED) for name in operators if name not in quantized}
    return model, kept


def _check_ranges(
    model: ModelProto, style: QdqStyle, ranges: Mapping[str, Range], keep: Mapping[str, str]
) -> None:
    graph = model.graph
    floats = float_tensors(graph, import_onnx()) - {entry.name for entry in graph.initializer}
    needed = dict.fromkeys(
        name
        for node in graph.node
        if node.op_type in style.operators() and node.name not in keep
        for name in (*node.input, *node.output)
    )
    missing = [name for name in needed if name in floats and name not in ranges]
    if missing:
        raise ModelError(
            f"the calibration has no range for {len(missing)} tensor(s), the first is "
            f"{missing[0]!r}; calibrate again with this ONNX Runtime"
        )
