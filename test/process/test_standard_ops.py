"""The standard operators compute the same as the contrib operators that they replace."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edge_inference.errors import ModelError
from edge_inference.optimize.onnx_lowering.standard_ops import lower_to_standard_ops
from graph_kit import INT64, PLAIN, kinds_of, make_contrib_node, make_model, run

RNG = np.random.default_rng(4)
#: Numbers that 8 bits hold exactly: dynamic quantization loses nothing of them.
WHOLE = RNG.permutation(256).reshape(2, 8, 16).astype(np.float32)
WEIGHTS = RNG.integers(0, 255, (16, 5)).astype(np.uint8)


def check_same_outputs(
    model: onnx.ModelProto, tolerance: float = 1e-5, **inputs: np.ndarray
) -> None:
    expected = run(model, **inputs)
    lower_to_standard_ops(model)
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    for name, value in run(model, **inputs).items():
        assert value.shape == expected[name].shape
        assert value == pytest.approx(expected[name], rel=tolerance, abs=tolerance), name


@pytest.mark.parametrize(
    ("transposed", "alpha"), [((0, 0), 1.0), ((0, 1), 0.25), ((1, 0), 2.0), ((1, 1), 1.0)]
)
def test_fused_matmul(transposed: tuple[int, int], alpha: float) -> None:
    node = make_contrib_node(
        "FusedMatMul", ["a", "b"], transA=transposed[0], transB=transposed[1], alpha=alpha
    )
    left, right = (
        ([2, 3, 6, 4] if transposed[0] else [2, 3, 4, 6]),
        ([5, 6] if transposed[1] else [6, 5]),
    )
    values = {
        name: RNG.normal(size=s).astype(np.float32) for name, s in (("a", left), ("b", right))
    }
    model = make_model([node], {"a": [None] * 4, "b": [None] * 2}, {"y": [None] * 4})
    check_same_outputs(model, **values)


@pytest.mark.parametrize(
    ("node", "constants"),
    [
        (make_contrib_node("Gelu", ["x"]), {}),
        (make_contrib_node("BiasGelu", ["x", "b"]), {"b": PLAIN[0, 0, 0]}),
        (make_contrib_node("QuickGelu", ["x"]), {}),
        (make_contrib_node("QuickGelu", ["x"], alpha=1.0), {}),
    ],
    ids=lambda given: getattr(given, "op_type", ""),
)
def test_activations(node: onnx.NodeProto, constants: dict[str, np.ndarray]) -> None:
    check_same_outputs(
        make_model([node], {"x": [None] * 4}, {"y": [None] * 4}, **constants), 1e-4, x=PLAIN
    )


@pytest.mark.parametrize("activation", ["Relu", "Sigmoid", "Tanh"])
@pytest.mark.parametrize("inputs", [["x", "w"], ["x", "w", "b"]])
def test_fused_convolution(activation: str, inputs: list[str]) -> None:
    node = make_contrib_node(
        "FusedConv", inputs, activation=activation, strides=[2, 1], pads=[1, 0, 1, 0]
    )
    constants = {"w": PLAIN[:, :, :3, :3].copy(), "b": np.array([0.5, -2.0], np.float32)}
    constants = {name: constants[name] for name in inputs[1:]}
    check_same_outputs(
        make_model([node], {"x": [None, 3, 4, 6]}, {"y": [None] * 4}, **constants), x=PLAIN
    )


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        (["x", "s", "g"], "y"),
        (["x", "s", "g", "h"], "y"),
        (["x", "s", "g", "h", "b"], "y"),
        (["x", "s", "g", "h"], "y   sum"),
    ],
)
def test_skip_layer_normalization(inputs: list[str], outputs: str) -> None:
    node = make_contrib_node("SkipLayerNormalization", inputs, epsilon=1e-5)
    node.output[:] = outputs.split(" ")
    constants = {name: RNG.normal(size=6).astype(np.float32) for name in inputs[2:]}
    model = make_model(
        [node],
        {"x": [None, None, 6], "s": [None, None, 6]},
        {name: [None, None, 6] for name in outputs.split()},
        **constants,
    )
    check_same_outputs(model, 1e-4, x=PLAIN[0], s=PLAIN[1])


@pytest.mark.parametrize("columns", [(), (5,)], ids=["one scale", "a scale for each column"])
@pytest.mark.parametrize("bias", ["", "bias"])
@pytest.mark.parametrize("kind", ["DynamicQuantizeMatMul", "MatMulIntegerToFloat"])
def test_integer_products(kind: str, bias: str, columns: tuple[int, ...]) -> None:
    quantize = helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "qs", "qz"], "quantize")
    if kind == "DynamicQuantizeMatMul":
        nodes = [make_contrib_node(kind, ["x", "w", "s", "z", bias])]
    else:
        nodes = [quantize, make_contrib_node(kind, ["q", "w", "qs", "s", "qz", "z", bias])]
    constants = {
        "w": WEIGHTS,
        "s": RNG.uniform(0.001, 0.01, columns).astype(np.float32),
        "z": np.full(columns, 120, np.uint8),
        "bias": np.arange(5, dtype=np.float32),
    }
    if not bias:
        del constants["bias"]
    model = make_model(nodes, {"x": [None, None, 16]}, {"y": [None, None, 5]}, **constants)
    check_same_outputs(model, 1e-4, x=WHOLE)
    assert kinds_of(model) == (["MatMul", "Add"] if bias else ["MatMul"])


def test_gather_from_an_8_bit_table() -> None:
    nodes = [
        helper.make_node("Gather", ["w", "ids"], ["row"], "gather"),
        helper.make_node("DequantizeLinear", ["row", "s", "z"], ["y"], "a"),
        helper.make_node("DequantizeLinear", ["row", "s", "z"], ["again"], "b"),
    ]
    model = make_model(
        nodes,
        {"ids": [None, None]},
        {"y": [None, None, 5], "again": [None, None, 5]},
        kinds={"ids": INT64},
        w=WEIGHTS,
        s=np.array(0.25, np.float32),
        z=np.array(3, np.uint8),
    )
    check_same_outputs(model, ids=np.array([[0, 15, 3]]))
    assert kinds_of(model) == ["Gather", "Gather"]
    assert len(model.graph.initializer) == 1


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (make_contrib_node("Inverse", ["x"]), r"node 'the Inverse' is com\.microsoft\.Inverse"),
        (
            make_contrib_node("FusedMatMul", ["x", "x"], transBatchA=1, transBatchB=1),
            "transposed batches",
        ),
        (
            make_contrib_node(
                "FusedConv", ["x", "x"], activation="LeakyRelu", activation_params=[0.1]
            ),
            "LeakyRelu is not supported; supported: Relu, Sigmoid, Tanh",
        ),
        (helper.make_node("MatMulInteger", ["i", "i"], ["y"], "n"), "is MatMulInteger, which"),
    ],
    ids=lambda given: getattr(given, "op_type", ""),
)
def test_an_unsupported_operator_is_refused(node: onnx.NodeProto, message: str) -> None:
    cast = helper.make_node("Cast", ["x"], ["i"], "cast", to=TensorProto.INT8)
    kinds = {"y": TensorProto.INT32} if node.op_type == "MatMulInteger" else {}
    model = make_model([cast, node], {"x": [2, 2, 2, 2]}, {"y": [None] * 4}, kinds=kinds)
    with pytest.raises(ModelError, match=message):
        lower_to_standard_ops(model)
