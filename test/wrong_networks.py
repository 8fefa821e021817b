"""Networks that ONNX Runtime, TensorRT or the package onnx refuse, each for one cause."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper

from wrong_files import FLOAT, make_network

_FLOATS = np.float32


def _node(operator: str, *inputs: str, output: str = "y", **attributes: object) -> onnx.NodeProto:
    return helper.make_node(operator, list(inputs or ("x",)), [output], "n", **attributes)


def _relu(**network: object) -> onnx.ModelProto:
    return make_network(_node("Relu"), **network)  # type: ignore[arg-type]


def _of(operator: str, *inputs: str, domain: str = "", **attributes: object) -> onnx.ModelProto:
    opsets = {domain: 1} if domain else {}
    return make_network(_node(operator, *inputs, domain=domain, **attributes), opsets=opsets)


def _undeclared_domain() -> onnx.ModelProto:
    return make_network(_node("Wobble", domain="custom.ops"))


def _no_opset() -> onnx.ModelProto:
    model = _relu()
    del model.opset_import[:]
    return model


def _no_ir_version() -> onnx.ModelProto:
    model = _relu()
    model.ClearField("ir_version")
    return model


def _output_of_no_node() -> onnx.ModelProto:
    return make_network(_node("Relu", output="z"))


def _no_outputs() -> onnx.ModelProto:
    model = _relu()
    del model.graph.output[:]
    return model


def _no_shape() -> onnx.ModelProto:
    model = _relu()
    model.graph.output[0].type.tensor_type.ClearField("shape")
    return model


def _two_outputs_of_one_name() -> onnx.ModelProto:
    return make_network(
        helper.make_node("Relu", ["x"], ["y"], "n"), helper.make_node("Abs", ["x"], ["y"], "m")
    )


def _two_nodes_of_one_name() -> onnx.ModelProto:
    return make_network(_node("Relu", output="z"), _node("Abs", "z"))


def _plugin() -> onnx.ModelProto:
    """What export scripts of YOLO append for TensorRT."""
    node = helper.make_node(
        "EfficientNMS_TRT",
        ["x", "s"],
        ["y", "boxes", "scores", "classes"],
        "n",
        background_class=-1,
        max_output_boxes=100,
    )
    scores = {"s": np.zeros((1, 50, 8), _FLOATS)}
    return make_network(
        node, constants=scores, x=(FLOAT, [1, 50, 4]), y=(TensorProto.INT32, [1, 1])
    )


def _quantize(zero_point: int, kind: type) -> onnx.ModelProto:
    nodes = [
        _node("QuantizeLinear", "x", "s", "z", output="q"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], "d"),
    ]
    return make_network(*nodes, constants={"s": _FLOATS(0.1), "z": np.array(zero_point, kind)})


def _dynamic_quantization() -> onnx.ModelProto:
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"], "n"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], "d"),
    ]
    return make_network(*nodes)


def _size_by_values() -> onnx.ModelProto:
    """The number of results of TopK depends on the image."""
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Cast", ["sum"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Reshape", ["whole", "one"], ["count"]),
        helper.make_node("Reshape", ["x", "all"], ["flat"]),
        helper.make_node("TopK", ["flat", "count"], ["y", "places"], "n", axis=0),
    ]
    constants = {"one": np.int64([1]), "all": np.int64([-1])}
    return make_network(*nodes, constants=constants, y=(FLOAT, ["found"]))


def _branches() -> onnx.ModelProto:
    """The two branches have results of different ranks."""

    def branch(node: onnx.NodeProto) -> onnx.GraphProto:
        out = helper.make_tensor_value_info(node.output[0], FLOAT, None)
        return helper.make_graph([node], node.output[0], [], [out])

    nodes = [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Cast", ["sum"], ["is"], to=TensorProto.BOOL),
        helper.make_node(
            "If",
            ["is"],
            ["y"],
            "n",
            then_branch=branch(helper.make_node("Relu", ["x"], ["t"])),
            else_branch=branch(helper.make_node("ReduceSum", ["x"], ["e"], keepdims=0)),
        ),
    ]
    return make_network(*nodes)


def _large_k() -> onnx.ModelProto:
    node = helper.make_node("TopK", ["x", "k"], ["y", "places"], "n")
    return make_network(
        node,
        constants={"k": np.int64([5000])},
        x=(FLOAT, [1, 9000]),
        y=(FLOAT, [1, 5000]),
    )


def _typed(operator: str, kind: int, shape: list[int | str]) -> onnx.ModelProto:
    node = _node(operator, *(("x", "x") if operator == "Add" else ("x",)))
    return make_network(node, x=(kind, shape), y=(kind, shape))


_WEIGHTS = np.ones((4, 3, 1, 1))
NETWORKS: dict[str, Callable[[], onnx.ModelProto]] = {
    "newer IR version": lambda: _relu(ir_version=99),
    "newer opset": lambda: _relu(opsets={"": 99}),
    "newer opset of another domain": lambda: _relu(opsets={"ai.onnx.ml": 99}),
    "no opset": _no_opset,
    "no IR version": _no_ir_version,
    "no outputs": _no_outputs,
    "output of no node": _output_of_no_node,
    "no shape of an output": _no_shape,
    "operator of a newer opset": lambda: _of("Mish"),
    "operator of an older opset": lambda: make_network(
        _node("Upsample", "x", "s"), constants={"s": np.ones(4, _FLOATS)}
    ),
    "unknown operator": lambda: _of("Wobble"),
    "custom operator": lambda: _of("Wobble", domain="custom.ops"),
    "custom operator without its domain": _undeclared_domain,
    "TensorRT plugin": _plugin,
    "TensorRT plugin of a domain": lambda: _of("EfficientNMS_TRT", domain="TRT"),
    "TensorRT plugin of a tool": lambda: _of("TRTBatchedNMS", domain="mmdeploy"),
    "MMDeploy": lambda: _of("MMCVModulatedDeformConv2d", domain="mmdeploy"),
    "contrib operator": lambda: make_network(
        _node("FusedConv", "x", "w", domain="com.microsoft", activation="Relu"),
        constants={"w": _WEIGHTS.astype(_FLOATS)},
        y=(FLOAT, [1, 4, 8, 8]),
        opsets={"com.microsoft": 1},
    ),
    "unknown contrib operator": lambda: _of("Wobble", domain="com.microsoft"),
    "onnxruntime-extensions": lambda: _of("GaussianBlur", domain="ai.onnx.contrib"),
    "PyTorch operator": lambda: _of("ATen", domain="org.pytorch.aten"),
    "TensorFlow operator": lambda: _of("Roll", domain="ai.onnx.converters.tensorflow"),
    "classical operator": lambda: _of("Scaler", domain="ai.onnx.ml", offset=[0.0], scale=[1.0]),
    "standard operator": lambda: _of("Det"),
    "attribute missing": lambda: _of("Concat"),
    "input of no node": lambda: _of("Add", "x", "nowhere"),
    "two outputs of one name": _two_outputs_of_one_name,
    "two nodes of one name": _two_nodes_of_one_name,
    "types that differ": lambda: make_network(
        _node("Add", "x", "one"), constants={"one": np.int64([1])}
    ),
    "shapes that differ": lambda: make_network(
        _node("MatMul", "x", "w"), constants={"w": np.ones((5, 7), _FLOATS)}
    ),
    "type without a kernel": lambda: make_network(
        _node("Conv", "x", "w"),
        constants={"w": _WEIGHTS},
        x=(TensorProto.DOUBLE, [1, 3, 8, 8]),
        y=(TensorProto.DOUBLE, [1, 4, 8, 8]),
    ),
    "complex numbers": lambda: _typed("Identity", TensorProto.COMPLEX64, [1]),
    "text": lambda: _typed("Identity", TensorProto.STRING, [1]),
    "int16": lambda: _typed("Add", TensorProto.INT16, [1, 3]),
    "arithmetic in uint8": lambda: _typed("Add", TensorProto.UINT8, [1, 3]),
    "nine axes": lambda: _typed("Relu", FLOAT, [1] * 9),
    "uint8 inside": lambda: make_network(
        _node("Cast", output="b", to=TensorProto.UINT8),
        helper.make_node("Cast", ["b"], ["y"], "c", to=FLOAT),
    ),
    "asymmetric quantization": lambda: _quantize(3, np.int8),
    "asymmetric uint8": lambda: _quantize(128, np.uint8),
    "dynamic quantization": _dynamic_quantization,
    "size by values": _size_by_values,
    "branches of two ranks": _branches,
    "large K": _large_k,
    "dynamic shape": lambda: _typed("Relu", FLOAT, ["batch", 3, 8, 8]),
}
