"""fp32 to int8: quantise and dequantise pairs around the nodes, in the flavour an engine wants.

The same ranges give both flavours. ONNX Runtime's CPU kernels want unsigned
activations and pairs around everything, so that whole chains of nodes run on
bytes. TensorRT wants signed symmetric numbers, pairs before layers with weights
and none behind them (it fuses what follows into the layer), weights in fp32
with a pair of their own, and biases as they are.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_inference.backends.ort import import_onnxruntime
from edge_inference.engines.flavours.exclude import WEIGHTED
from edge_inference.engines.flavours.onnx_file import first_line, import_onnx, opset_of
from edge_inference.engines.flavours.ranges import Range
from edge_inference.errors import BackendError, ModelError

if TYPE_CHECKING:
    from onnx import ModelProto

#: Scales by channel came with this opset.
LOWEST_OPSET = 13

NOT_QUANTISED = "not quantised for this engine"

_MOVING_BYTES = (
    "Concat",
    "Flatten",
    "Gather",
    "MaxPool",
    "Pad",
    "Reshape",
    "Resize",
    "Slice",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
)
_MIXING = ("Add", "AveragePool", "GlobalAveragePool")


@dataclass(frozen=True)
class Flavour:
    """What one engine wants: the operators that work on bytes, and the quantiser's options."""

    operators: tuple[str, ...]
    signed_activations: bool
    options: Mapping[str, Any]


FLAVOURS: Mapping[str, Flavour] = {
    "onnxruntime": Flavour(
        operators=(
            *WEIGHTED,
            *_MIXING,
            *_MOVING_BYTES,
            "Clip",
            "LeakyRelu",
            "Mul",
            "Relu",
            "Sigmoid",
            "Softmax",
        ),
        signed_activations=False,
        options={},
    ),
    "tensorrt": Flavour(
        operators=(*WEIGHTED, *_MIXING),
        signed_activations=True,
        options={
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "AddQDQPairToWeight": True,
            "QuantizeBias": False,
            "OpTypesToExcludeOutputQuantization": [*WEIGHTED, *_MIXING],
        },
    ),
}
TARGETS = tuple(FLAVOURS)


def to_int8(
    model: ModelProto,
    target: str,
    ranges: Mapping[str, Range],
    keep: dict[str, str],
    *,
    per_channel: bool = True,
) -> tuple[ModelProto, dict[str, str]]:
    """Return the folded network with pairs, and why each node in fp32 stayed there.

    ``keep`` are nodes that stay, with the reason. ``per_channel`` gives each
    channel of the weights a scale of its own. Raises ModelError for an opset that
    is too old and for ranges that are missing, BackendError for a quantiser that
    fails or is too old.
    """
    opset = opset_of(model)
    if opset < LOWEST_OPSET:
        raise ModelError(
            f"opset {opset}: int8 needs at least {LOWEST_OPSET}; export the model again with "
            "that opset, or raise it with onnx.version_converter"
        )
    flavour = FLAVOURS[target]
    onnx = import_onnx()
    nodes = [
        node
        for node in model.graph.node
        if node.op_type in flavour.operators and node.name not in keep
    ]
    if not nodes:
        raise ModelError("no node of the network can compute in int8; use it in fp32")
    _check_ranges(model, nodes, ranges, onnx)
    kept = {
        node.name: keep.get(node.name, NOT_QUANTISED)
        for node in model.graph.node
        if node.name in keep or node.op_type not in flavour.operators
    }
    return _quantised(model, flavour, ranges, sorted(kept), per_channel), kept


def _quantised(
    model: ModelProto,
    flavour: Flavour,
    ranges: Mapping[str, Range],
    excluded: list[str],
    per_channel: bool,
) -> ModelProto:
    import_onnxruntime()
    from onnxruntime.quantization import CalibrationMethod, QuantType
    from onnxruntime.quantization.calibrate import TensorData, TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    if "static" in inspect.signature(QDQQuantizer).parameters:
        raise BackendError(
            "this ONNX Runtime's quantiser is too old to be given ranges: "
            "pip install 'onnxruntime>=1.18'"
        )
    data = {
        name: TensorData(lowest=np.float32(low), highest=np.float32(high))
        for name, (low, high) in ranges.items()
    }
    try:
        quantiser = QDQQuantizer(
            model,
            per_channel,
            False,
            QuantType.QInt8,
            QuantType.QInt8 if flavour.signed_activations else QuantType.QUInt8,
            TensorsData(CalibrationMethod.MinMax, data),
            [],
            excluded,
            list(flavour.operators),
            dict(flavour.options),
        )
        quantiser.quantize_model()
        quantiser.model.topological_sort()
    except Exception as error:  # the quantiser raises whatever comes
        raise BackendError(
            f"ONNX Runtime's quantiser fails on the network: {first_line(error)}; name the nodes "
            "that it stumbles over in int8_keep_fp32"
        ) from error
    return quantiser.model.model  # type: ignore[no-any-return]


def _check_ranges(
    model: ModelProto, nodes: list[Any], ranges: Mapping[str, Range], onnx: Any
) -> None:
    graph = model.graph
    constants = {entry.name for entry in graph.initializer}
    floats = {
        entry.name
        for entry in (*graph.input, *graph.output, *graph.value_info)
        if entry.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    } - constants
    names = dict.fromkeys(name for node in nodes for name in (*node.input, *node.output))
    missing = [name for name in names if name in floats and name not in ranges]
    if missing:
        raise ModelError(
            f"the calibration has no range for {len(missing)} tensor(s), the first is "
            f"{missing[0]!r}; calibrate again with this ONNX Runtime"
        )
