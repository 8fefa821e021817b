"""One small network, quantized in the layouts that exporters write.

Each layout is built by hand after files of PyTorch (pt2e and fx), NVIDIA's Model Optimizer and
ONNX Runtime, so that the tests need none of these packages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import NodeProto, TensorProto, helper, numpy_helper

from edge_inference.engines.quantized.quantized_file import QuantizedFile, look_at

Array = np.ndarray[Any, Any]

SIDE, CHANNELS, CLASSES = 8, 6, 4
SHAPE = (1, 3, SIDE, SIDE)


def _weights() -> dict[str, Array]:
    rng = np.random.default_rng(11)
    # The channels differ tenfold, as those of trained networks do.
    size = np.geomspace(0.1, 1.0, CHANNELS).astype(np.float32)[:, None, None, None]
    return {
        "w1": rng.normal(0, 0.5, (CHANNELS, 3, 3, 3)).astype(np.float32) * size,
        "b1": rng.normal(0, 0.3, CHANNELS).astype(np.float32),
        "w2": rng.normal(0, 0.4, (CLASSES, CHANNELS, 1, 1)).astype(np.float32),
        "b2": rng.normal(0, 0.3, CLASSES).astype(np.float32),
    }


WEIGHTS = _weights()


def sample(seed: int = 3) -> Array:
    """Return an input, (1, 3, SIDE, SIDE) float32 in -1 to 1."""
    return np.random.default_rng(seed).uniform(-1, 1, SHAPE).astype(np.float32)


def fp32_result(x: Array) -> Array:
    """Compute the network in numpy: a 3x3 convolution, Relu, a 1x1 convolution."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    hidden = np.einsum("nchwij,ocij->nohw", windows, WEIGHTS["w1"])
    hidden = np.maximum(hidden + WEIGHTS["b1"][:, None, None], 0)
    result = np.einsum("nchw,oc->nohw", hidden, WEIGHTS["w2"][:, :, 0, 0])
    return np.asarray(result + WEIGHTS["b2"][:, None, None])


def _ranges() -> dict[str, tuple[float, float]]:
    """Return the ranges of the two quantized tensors, over some inputs."""
    most = 0.0
    for seed in range(20):
        x = sample(seed)
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
        hidden = np.einsum("nchwij,ocij->nohw", windows, WEIGHTS["w1"])
        most = max(most, float((hidden + WEIGHTS["b1"][:, None, None]).max()))
    return {"x": (-1.0, 1.0), "hidden": (0.0, most)}


RANGES = _ranges()


@dataclass(frozen=True)
class Layout:
    """How the network is quantized; types are numpy's names, or "int4".

    ``zero_point`` of activations is "zero", "middle", "range" or "none" (left out). ``weights``
    is "numbers" (stored in bytes), "pair" (fp32 with a pair) or "fp32". ``bias`` is "fp32" or
    "int32". ``through`` are operators between a zero point and its constant.
    """

    activation: str = "int8"
    zero_point: str = "zero"
    weights: str = "numbers"
    weight_type: str = "int8"
    weight_zero_point: int | None = 0
    per_channel: bool = True
    bias: str = "fp32"
    through: bool = False
    domain: str = ""
    opset: int = 17


@dataclass
class _Writer:
    layout: Layout
    nodes: list[NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)

    def write(self) -> onnx.ModelProto:
        x = self.activation("x", "x")
        self.node("Conv", [x, *self.parameters("1", "x")], "c1", pads=[1] * 4)
        self.node("Relu", ["c1"], "hidden")
        hidden = self.activation("hidden", "hidden")
        self.node("Conv", [hidden, *self.parameters("2", "hidden")], "y")
        return finish(self.nodes, self.constants, self.layout.opset)

    def node(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        domain = self.layout.domain if kind.endswith("eLinear") else ""
        self.nodes.append(
            helper.make_node(
                kind, inputs, [output], f"{output}_{kind}", domain=domain, **attributes
            )
        )
        return output

    def constant(self, name: str, values: Any) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def point(self, name: str, values: Array) -> list[str]:
        """Write a zero point, directly or as the fx export of PyTorch does."""
        if not self.layout.through:
            return [self.constant(name, values)]
        if values.ndim and not values.any():
            shape = self.constant(f"{name}_shape", np.array(values.shape, np.int64))
            value = numpy_helper.from_array(np.zeros(1, np.int32))
            self.node("ConstantOfShape", [shape], f"{name}_filled", value=value)
            kind = helper.np_dtype_to_tensor_dtype(values.dtype)
            return [self.node("Cast", [f"{name}_filled"], name, to=kind)]
        self.constant(f"{name}_kept", values)
        return [self.node("Identity", [f"{name}_kept"], name)]

    def scale_of(self, name: str) -> tuple[float, int]:
        """Return scale and zero point of an activation."""
        low, high = RANGES[name]
        kind = np.dtype(self.layout.activation)
        limits = np.iinfo(kind)
        if self.layout.zero_point == "range":
            scale = (high - low) / (limits.max - limits.min)
            return scale, round(limits.min - low / scale)
        if self.layout.zero_point == "middle":
            return max(-low, high) / 127, 128
        return max(-low, high) / limits.max, 0

    def activation(self, tensor: str, name: str) -> str:
        layout = self.layout
        scale, zero = self.scale_of(name)
        parameters = [self.constant(f"{name}_scale", np.float32(scale))]
        if layout.zero_point != "none":
            kind = np.dtype(layout.activation)
            parameters += self.point(f"{name}_zero", np.asarray(zero, kind))
        number = self.node("QuantizeLinear", [tensor, *parameters], f"{name}_q")
        if layout.through:
            to = helper.np_dtype_to_tensor_dtype(np.dtype(layout.activation))
            number = self.node("Cast", [number], f"{name}_cast", to=to)
        return self.node("DequantizeLinear", [number, *parameters], f"{name}_dq")

    def parameters(self, number: str, source: str) -> list[str]:
        """Write weights and bias of a convolution; return their names."""
        layout, weights, bias = self.layout, WEIGHTS[f"w{number}"], WEIGHTS[f"b{number}"]
        if layout.weights == "fp32":
            return [self.constant(f"w{number}", weights), self.constant(f"b{number}", bias)]
        zero = layout.weight_zero_point
        low, high = LIMITS[layout.weight_type]
        room = min(high - (zero or 0), (zero or 0) - low) if zero is not None else high
        each = np.abs(weights).max(axis=(1, 2, 3))
        scale = ((each if layout.per_channel else each.max()) / room).astype(np.float32)
        along = scale[:, None, None, None] if layout.per_channel else scale
        name = f"w{number}"
        shape = scale.shape
        names = [self.constant(f"{name}_scale", scale)]
        if zero is not None:
            names += self.low_bits_or_point(f"{name}_zero", np.full(shape, zero))
        axis = {"axis": 0} if layout.per_channel else {}
        if layout.weights == "pair":
            source_name = self.node(
                "QuantizeLinear", [self.constant(name, weights), *names], f"{name}_q", **axis
            )
        else:
            steps = np.clip(np.rint(weights / along) + (zero or 0), low, high)
            source_name = f"{name}_numbers"
            self.low_bits(source_name, steps)
        result = [self.node("DequantizeLinear", [source_name, *names], f"{name}_dq", **axis)]
        return [*result, self.bias(number, bias, np.atleast_1d(scale) * self.scale_of(source)[0])]

    def bias(self, number: str, bias: Array, scale: Array) -> str:
        if self.layout.bias == "fp32":
            return self.constant(f"b{number}", bias)
        steps = np.rint(bias / scale).astype(np.int32)
        names = [
            self.constant(f"b{number}_numbers", steps),
            self.constant(f"b{number}_scale", scale.astype(np.float32)),
        ]
        names += self.point(f"b{number}_zero", np.zeros(scale.shape, np.int32))
        axis = {"axis": 0} if scale.size > 1 else {}
        return self.node("DequantizeLinear", names, f"b{number}_dq", **axis)

    def low_bits(self, name: str, values: Array) -> None:
        kind = {"int4": TensorProto.INT4, "uint4": TensorProto.UINT4}.get(self.layout.weight_type)
        if kind is None:
            self.constant(name, values.astype(self.layout.weight_type))
        else:
            flat = values.astype(np.int64).ravel().tolist()
            self.constants.append(helper.make_tensor(name, kind, values.shape, flat))

    def low_bits_or_point(self, name: str, values: Array) -> list[str]:
        if self.layout.weight_type in ("int4", "uint4"):
            self.low_bits(name, values)
            return [name]
        return self.point(name, values.astype(self.layout.weight_type))


LIMITS = {"int8": (-128, 127), "uint8": (0, 255), "int4": (-8, 7), "int16": (-32768, 32767)}


def finish(
    nodes: Sequence[NodeProto], constants: Sequence[TensorProto], opset: int = 17
) -> onnx.ModelProto:
    """Return the model of nodes from ``x`` to ``y``."""
    graph = helper.make_graph(
        nodes,
        "quantized",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, CLASSES, SIDE, SIDE))],
        constants,
    )
    opsets = [helper.make_opsetid("", opset)]
    domains = sorted({node.domain for node in nodes} - {""})
    opsets += [helper.make_opsetid(domain, 1) for domain in domains]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10 if opset > 17 else 8)


def _unquantized() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], "first", pads=[1] * 4),
        helper.make_node("Relu", ["c1"], ["hidden"], "relu"),
        helper.make_node("Conv", ["hidden", "w2", "b2"], ["y"], "second"),
    ]
    return finish(nodes, [numpy_helper.from_array(v, k) for k, v in WEIGHTS.items()])


def _integer_weights(name: str) -> tuple[Array, Array]:
    weights = WEIGHTS[name]
    scale = (np.abs(weights).max(axis=(1, 2, 3)) / 127).astype(np.float32)
    return np.rint(weights / scale[:, None, None, None]).astype(np.int8), scale


def _integer_operators() -> onnx.ModelProto:
    """Write ONNX Runtime's QOperator format: QLinearConv."""
    writer = _Writer(Layout(activation="uint8", zero_point="range"))
    values: dict[str, Any] = {}
    ranges = {"x": RANGES["x"], "hidden": RANGES["hidden"], "y": (-4.0, 4.0)}
    for name, (low, high) in ranges.items():
        scale = (high - low) / 255
        values[f"{name}_scale"] = np.float32(scale)
        values[f"{name}_zero"] = np.uint8(round(-low / scale))
    for number, source in (("1", "x"), ("2", "hidden")):
        numbers, scale = _integer_weights(f"w{number}")
        values[f"w{number}"], values[f"w{number}_scale"] = numbers, scale
        values[f"w{number}_zero"] = np.zeros(scale.shape, np.int8)
        steps = WEIGHTS[f"b{number}"] / (scale * values[f"{source}_scale"])
        values[f"b{number}"] = np.rint(steps).astype(np.int32)
    for name, value in values.items():
        writer.constant(name, value)
    writer.node("QuantizeLinear", ["x", "x_scale", "x_zero"], "x_q")
    for number, source, result in (("1", "x", "hidden"), ("2", "hidden", "y")):
        inputs = [f"{source}_q", f"{source}_scale", f"{source}_zero"]
        inputs += [f"w{number}", f"w{number}_scale", f"w{number}_zero"]
        inputs += [f"{result}_scale", f"{result}_zero", f"b{number}"]
        pads = {"pads": [1] * 4} if number == "1" else {}
        writer.nodes.append(
            helper.make_node("QLinearConv", inputs, [f"{result}_q"], f"conv{number}", **pads)
        )
    writer.node("DequantizeLinear", ["y_q", "y_scale", "y_zero"], "y")
    return finish(writer.nodes, writer.constants)


def _dynamic() -> onnx.ModelProto:
    """Write ONNX Runtime's dynamic quantization: the range of a tensor is found as it runs."""
    writer = _Writer(Layout())
    for number, source, result in (("1", "x", "c1"), ("2", "hidden", "y")):
        numbers, scale = _integer_weights(f"w{number}")
        writer.constant(f"w{number}", numbers)
        writer.constant(f"w{number}_scale", scale.reshape(1, -1, 1, 1))
        writer.constant(f"w{number}_zero", np.int8(0))
        writer.constant(f"b{number}", WEIGHTS[f"b{number}"].reshape(1, -1, 1, 1))
        parts = [f"{source}_q", f"{source}_scale", f"{source}_zero"]
        writer.nodes.append(helper.make_node("DynamicQuantizeLinear", [source], parts))
        pads = {"pads": [1] * 4} if number == "1" else {}
        inputs = [parts[0], f"w{number}", parts[2], f"w{number}_zero"]
        writer.node("ConvInteger", inputs, f"{result}_sum", **pads)
        writer.node("Cast", [f"{result}_sum"], f"{result}_float", to=TensorProto.FLOAT)
        writer.node("Mul", [parts[1], f"w{number}_scale"], f"{result}_scales")
        writer.node("Mul", [f"{result}_float", f"{result}_scales"], f"{result}_scaled")
        writer.node("Add", [f"{result}_scaled", f"b{number}"], result)
        if number == "1":
            writer.node("Relu", ["c1"], "hidden")
    return finish(writer.nodes, writer.constants)


def _float8() -> onnx.ModelProto:
    """Write the Model Optimizer's fp8: pairs of float8 numbers."""
    model = _Writer(Layout(weights="pair", per_channel=False, opset=19)).write()
    for entry in model.graph.initializer:
        if entry.name.endswith("_zero"):
            zero = helper.make_tensor(entry.name, TensorProto.FLOAT8E4M3FN, entry.dims, [0.0])
            entry.CopyFrom(zero)
    return model


def _only_tensorrt() -> onnx.ModelProto:
    """Write pairs with TensorRT's own operators, as the Model Optimizer does for PyTorch."""
    model = _Writer(Layout(weights="pair", per_channel=False)).write()
    for node in model.graph.node:
        if node.op_type.endswith("eLinear"):
            node.domain, node.op_type = "trt", f"TRT_FP8{node.op_type}"
            del node.input[2:]
    model.opset_import.append(helper.make_opsetid("trt", 1))
    return model


def _of(**settings: Any) -> Callable[[], onnx.ModelProto]:
    return lambda: _Writer(Layout(**settings)).write()


LAYOUTS: dict[str, Callable[[], onnx.ModelProto]] = {
    "fp32": _unquantized,
    "pt2e symmetric": _of(),
    "pt2e per tensor": _of(per_channel=False),
    "modelopt": _of(weights="pair"),
    "pt2e asymmetric": _of(zero_point="range"),
    "pt2e x86": _of(activation="uint8", zero_point="range"),
    "fx": _of(activation="uint8", zero_point="range", through=True, bias="int32"),
    "fx symmetric": _of(through=True, bias="int32"),
    "fx around 128": _of(activation="uint8", zero_point="middle", through=True, bias="int32"),
    "ort u8s8": _of(activation="uint8", zero_point="range", bias="int32"),
    "ort s8s8": _of(zero_point="range", bias="int32"),
    "ort symmetric": _of(bias="int32"),
    "ort symmetric per tensor": _of(bias="int32", per_channel=False),
    "ort around 128": _of(activation="uint8", zero_point="middle", bias="int32"),
    "uint8 from 0": _of(activation="uint8"),
    "no zero point": _of(activation="uint8", zero_point="none"),
    "uint8 weights": _of(weight_type="uint8", weight_zero_point=128),
    "asymmetric weights": _of(weight_type="int8", weight_zero_point=-9, weights="pair"),
    "asymmetric numbers": _of(weight_type="uint8", weight_zero_point=150),
    "int4 weights": _of(weight_type="int4", domain="com.microsoft", bias="int32"),
    "ort operators": _of(domain="com.microsoft"),
    "int16 activations": _of(activation="int16", opset=21),
    "weights only": lambda: _without_activations(_Writer(Layout()).write()),
    "QOperator": _integer_operators,
    "dynamic": _dynamic,
    "float8": _float8,
    "only TensorRT": _only_tensorrt,
}


def _without_activations(model: onnx.ModelProto) -> onnx.ModelProto:
    dropped = {"x_q", "x_dq", "hidden_q", "hidden_dq"}
    kept = [node for node in model.graph.node if node.output[0] not in dropped]
    for node in kept:
        for place, name in enumerate(node.input):
            node.input[place] = name.removesuffix("_dq") if name in dropped else name
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return model


def write_layout(name: str, file: Path) -> Path:
    """Write the network in a layout; return the file."""
    onnx.save(LAYOUTS[name](), file)
    return file


def look(file: Path) -> QuantizedFile:
    """Return how a readable file is quantized."""
    found = look_at(file)
    assert found is not None
    return found


def run_plainly(file: Path, x: np.ndarray) -> np.ndarray:
    """Run the operators one by one, in fp32 and on integers, as ONNX defines them."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])
