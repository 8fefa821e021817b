"""Parses an ONNX file into a TensorRT network, and describes networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edge_inference.backends.trt.layers import (
    COMPUTE_PRECISIONS,
    LayerPrecision,
    moves_data,
    precision_of_type,
)
from edge_inference.backends.trt.vendor import Vendor, enum_member
from edge_inference.core.onnx_format.onnx_problems import find_file_problem
from edge_inference.engines.build.build_options import BuildOptions
from edge_inference.engines.build.parse_failures import explain_parse_failure
from edge_inference.engines.build.profiles import DeclaredInput
from edge_inference.engines.quantized.quantized_file import look_at
from edge_inference.errors import BackendError

# The numpy name of each TensorRT type.
_TYPE_NAMES: Mapping[str, str] = {
    "FLOAT": "float32",
    "HALF": "float16",
    "BF16": "bfloat16",
    "INT8": "int8",
    "UINT8": "uint8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
}
_WEIGHTED_KINDS = ("CONVOLUTION", "DECONVOLUTION", "FULLY_CONNECTED")


def is_strongly_typed(vendor: Vendor, options: BuildOptions) -> bool:
    """Tell whether the network computes exactly in the types of the ONNX.

    Raises BackendError for typing "flags" where this version has none.
    """
    trt = vendor.trt
    has_flags = enum_member(trt.BuilderFlag, "FP16") is not None
    if options.typing == "flags":
        if not has_flags:
            raise BackendError(
                f"typing 'flags': {vendor.title} takes the precision from the ONNX only; set "
                "typing to 'onnx'"
            )
        return False
    if options.device != "gpu" and has_flags:
        return False  # a DLA takes its precision from flags where they exist
    return enum_member(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED") is not None


def read_network(vendor: Vendor, builder: Any, onnx_file: Path, strongly_typed: bool) -> Any:
    """Parse an ONNX file. Raises BackendError that names the node, file or damage.

    The parser owns the weights; TensorRT's bindings keep it alive as long as the network.
    """
    _require_signed_pairs(onnx_file, vendor.title)
    trt = vendor.trt
    network = builder.create_network(_creation_flags(trt, strongly_typed))
    parser = trt.OnnxParser(network, vendor.logger)
    with vendor.errors.collect() as lines:
        is_parsed = parser.parse_from_file(str(onnx_file))
    if not is_parsed:
        raise BackendError(explain_parse_failure(onnx_file, vendor.title, parser, lines))
    if network.num_outputs == 0:  # other bytes may be a valid empty protobuf message
        raise BackendError(
            find_file_problem(onnx_file)
            or f"{onnx_file}: expected an ONNX model with outputs, got one without; declare its "
            "results as outputs when you export it"
        )
    return network


def _require_signed_pairs(onnx_file: Path, title: str) -> None:
    """Raise BackendError for quantized numbers that the parser refuses or takes for others.

    It takes uint8 with the zero point 0 for int8: numbers above 127 would be wrong.
    """
    found = look_at(onnx_file)
    if found is None or found.fits_tensorrt:
        return
    if found.obstacles:
        cause = f"{title} cannot run it: {'; '.join(found.obstacles)}"
        hint = "export it quantized with Q/DQ pairs of signed numbers around 0"
    else:
        cause = f"{title} needs {' and '.join(found.changes)}"
        hint = "name it as variants.int8 of a model, whose engine is built in that form"
    raise BackendError(f"{onnx_file}: {cause}; {hint}")


def require_precision(onnx_file: Path, network: Any, precision: str) -> None:
    """Raise BackendError where a strongly typed network is not in the requested precision.

    Only layers that compute count: an fp32 ONNX may store its weights as float16.
    """
    if precision == "fp16":
        layers = layer_precisions(network)
        found = any(entry.computes and entry.precision == "fp16" for entry in layers)
        sign = "layers in float16"
    elif precision == "int8":
        found = is_quantized(network)
        sign = "nodes QuantizeLinear or DequantizeLinear"
    elif precision == "fp32":
        return
    else:
        raise BackendError(
            f"{onnx_file}: expected a precision of fp32, fp16 or int8, got {precision!r}"
        )
    if not found:
        raise BackendError(
            f"{onnx_file}: expected an {precision} ONNX, got one without {sign}; derive the "
            f"{precision} model first, or build it as fp32"
        )


def is_quantized(network: Any) -> bool:
    """Tell whether the ONNX has quantized numbers, if only for weights."""
    return any(_kind(layer) in ("QUANTIZE", "DEQUANTIZE") for layer in layers_of(network))


def declared_inputs(network: Any) -> list[DeclaredInput]:
    """Return the inputs with their shapes and axis names."""
    found = []
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        shape = tuple(int(size) for size in tensor.shape)
        names = tuple(tensor.get_dimension_name(axis) or "" for axis in range(len(shape)))
        found.append(DeclaredInput(tensor.name, shape, names, bool(tensor.is_shape_tensor)))
    return found


def describe_inputs(network: Any) -> dict[str, tuple[Any, ...]]:
    """Return ``[dtype, *shape]`` of every input, -1 for a dynamic axis."""
    tensors = [network.get_input(index) for index in range(network.num_inputs)]
    return {tensor.name: _describe(tensor) for tensor in tensors}


def describe_outputs(network: Any) -> dict[str, tuple[Any, ...]]:
    """Return ``[dtype, *shape]`` of every output, -1 for a dynamic axis."""
    tensors = [network.get_output(index) for index in range(network.num_outputs)]
    return {tensor.name: _describe(tensor) for tensor in tensors}


def layers_of(network: Any) -> Iterator[Any]:
    """Yield the network's layers."""
    for index in range(network.num_layers):
        yield network.get_layer(index)


def tensors_of(network: Any) -> Iterator[Any]:
    """Yield every tensor once: the inputs, then the outputs of each layer."""
    for index in range(network.num_inputs):
        yield network.get_input(index)
    for layer in layers_of(network):
        for index in range(layer.num_outputs):
            yield layer.get_output(index)


def layer_precisions(network: Any) -> tuple[LayerPrecision, ...]:
    """Return the precision of each layer by the types in the network.

    A layer with dequantized inputs counts as one of the quantized type, as TensorRT builds it so.
    """
    dequantized = {
        layer.get_output(0).name: precision_of_type(layer.get_input(0).dtype.name)
        for layer in layers_of(network)
        if _kind(layer) == "DEQUANTIZE"
    }
    return tuple(_layer_precision(layer, dequantized) for layer in layers_of(network))


def _layer_precision(layer: Any, dequantized: Mapping[str, str]) -> LayerPrecision:
    inputs = [layer.get_input(index) for index in range(layer.num_inputs)]
    inputs = [tensor for tensor in inputs if tensor is not None]
    outputs = [layer.get_output(index) for index in range(layer.num_outputs)]
    kind = _kind(layer)
    precisions = [precision_of_type(tensor.dtype.name) for tensor in inputs + outputs]
    computing = [name for name in precisions if name in COMPUTE_PRECISIONS]
    precision = next(iter(computing or precisions), "unknown")
    computes = bool(computing) and not moves_data(kind)
    floats = [
        tensor.name for tensor in inputs if precision_of_type(tensor.dtype.name) in ("fp32", "fp16")
    ]
    if computes and floats and dequantized.keys() >= set(floats):
        precision = dequantized[floats[0]]
    return LayerPrecision(layer.name, kind, precision, computes, kind in _WEIGHTED_KINDS)


def _kind(layer: Any) -> str:
    return str(layer.type.name)


def _describe(tensor: Any) -> tuple[Any, ...]:
    name = str(tensor.dtype.name)
    return (_TYPE_NAMES.get(name, name.lower()), *(int(size) for size in tensor.shape))


def _creation_flags(trt: Any, strongly_typed: bool) -> int:
    """Return the creation flags; from TensorRT 10 on, explicit batch is the only mode."""
    name = "STRONGLY_TYPED" if strongly_typed else "EXPLICIT_BATCH"
    member = enum_member(trt.NetworkDefinitionCreationFlag, name)
    return 0 if member is None else 1 << int(member)
