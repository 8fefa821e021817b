"""How files are quantized that no exporter writes, or of which few do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_inference.engines.precision.tensorrt_form import write_for_tensorrt
from edge_inference.errors import ModelError
from quantized_models import look


@pytest.mark.parametrize(
    ("scale", "zero_point", "axis", "words"),
    [
        (np.ones(5, np.float32), np.full(5, 128, np.uint8), 0, r"of axis 0 of \[4, 2\] .* got 5"),
        (np.ones(4, np.float32), np.full(3, 128, np.uint8), 0, r"of axis 0 of \[4, 2\] .* got 3"),
        (np.ones(4, np.float32), np.full(4, 128, np.uint8), 1, r"of axis 1 of \[4, 2\] .* got 4"),
        (np.ones(4, np.float32), np.full(4, 128, np.uint8), 2, r"of axis 2 of \[4, 2\] .* got 4"),
        (np.ones(4, np.float32), np.full(4, 128, np.uint8), -3, r"of axis -3 of \[4, 2\] .* got 4"),
        (np.ones(5, np.float32), np.uint8(128), 0, r"of axis 0 of \[4, 2\] .* got 5"),
        (np.ones(4, np.float32), np.uint8(128), 2, r"of axis 2 of \[4, 2\] .* got 4"),
        (np.array(["1"], object), np.uint8(128), 0, "scale of node 'dq' is a text"),
    ],
)
def test_scales_that_do_not_fit_are_refused_in_a_sentence(
    scale: np.ndarray, zero_point: np.ndarray, axis: int, words: str, tmp_path: Path
) -> None:
    graph = helper.make_graph(
        [
            helper.make_node("DequantizeLinear", ["w", "s", "z"], ["d"], name="dq", axis=axis),
            helper.make_node("MatMul", ["x", "d"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
        [
            numpy_helper.from_array(np.full((4, 2), 9, np.uint8), "w"),
            numpy_helper.from_array(scale, "s"),
            numpy_helper.from_array(zero_point, "z"),
        ],
    )
    file = tmp_path / "q.onnx"
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 17)])
    file.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=words):
        write_for_tensorrt(file, tmp_path / "t.onnx")


def write_nodes(file: Path, nodes: list[onnx.NodeProto], *constants: onnx.TensorProto) -> Path:
    """Write nodes from x to y that no checker has seen."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])],
        [
            numpy_helper.from_array(np.float32(0.1), "scale"),
            numpy_helper.from_array(np.uint8(128), "middle"),
            *constants,
        ],
    )
    file.write_bytes(helper.make_model(graph).SerializeToString())
    return file


def test_nodes_that_need_each_other_end_the_search(tmp_path: Path) -> None:
    pair = ["scale", "middle"]
    found = look(
        write_nodes(
            tmp_path / "q.onnx",
            [
                helper.make_node("QuantizeLinear", ["x", *pair], ["a"]),
                helper.make_node("Identity", ["a"], ["b"]),
                helper.make_node("Identity", ["b"], ["a"]),
                helper.make_node("DequantizeLinear", ["b", *pair], ["y"]),
            ],
        )
    )
    assert found.activations == ("uint8",)


def test_a_pair_node_without_outputs_is_no_error(tmp_path: Path) -> None:
    pair = ["scale", "middle"]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", *pair], []),
        helper.make_node("DequantizeLinear", [], ["y"]),
    ]
    assert look(write_nodes(tmp_path / "q.onnx", nodes)).activations == ("uint8", "unknown")


def test_a_scale_of_countless_values_is_no_error(tmp_path: Path) -> None:
    huge = TensorProto(name="huge", dims=[2**62] * 60, data_type=TensorProto.FLOAT)
    weights = numpy_helper.from_array(np.ones(4, np.int8), "w")
    nodes = [helper.make_node("DequantizeLinear", ["w", "huge"], ["y"])]
    found = look(write_nodes(tmp_path / "q.onnx", nodes, huge, weights))
    assert found.kind == "weights only"
    assert found.per_channel


def test_the_zero_points_of_all_activations_count(tmp_path: Path) -> None:
    points = (3, 3, 9, 6)
    constants = [numpy_helper.from_array(np.uint8(each), f"z{i}") for i, each in enumerate(points)]
    nodes = []
    for i in range(len(points)):
        pair = ["scale", f"z{i}"]
        nodes.append(helper.make_node("QuantizeLinear", ["x", *pair], [f"q{i}"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"q{i}", *pair], [f"d{i}"]))
    nodes.append(helper.make_node("Sum", [f"d{i}" for i in range(len(points))], ["y"]))
    found = look(write_nodes(tmp_path / "q.onnx", nodes, *constants))
    assert found.obstacles == ("uint8 activations with zero points of 3 to 9",)


def test_constants_in_nodes(tmp_path: Path) -> None:
    def constant(values: np.ndarray, name: str) -> onnx.NodeProto:
        return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(values))

    filling = numpy_helper.from_array(np.array([5], np.int8))
    nodes = [
        constant(np.ones((4, 4), np.int8), "w"),
        constant(np.int8(0), "zero"),
        constant(np.array([4]), "count"),
        helper.make_node("ConstantOfShape", ["count"], ["five"], value=filling),
        helper.make_node("DequantizeLinear", ["w", "scale", "zero"], ["d"]),
        helper.make_node("MatMul", ["x", "d"], ["m"]),
        helper.make_node("QuantizeLinear", ["m", "scale", "five"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "five"], ["y"]),
    ]
    found = look(write_nodes(tmp_path / "q.onnx", nodes))
    assert (found.activations, found.weights) == (("int8",), ("int8",))
    assert found.obstacles == ("int8 activations with the zero point 5",)


def test_pairs_in_a_function_are_seen(tmp_path: Path) -> None:
    pair = [
        helper.make_node("QuantizeLinear", ["a", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["b"]),
    ]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    function = helper.make_function("own", "F", ["a", "s", "z"], ["b"], pair, opsets[:1])
    call = helper.make_node("F", ["x", "scale", "middle"], ["y"], domain="own")
    file = write_nodes(tmp_path / "q.onnx", [call])
    assert look(file).kind == ""
    model = onnx.load(file)
    model.functions.append(function)
    file.write_bytes(model.SerializeToString())
    found = look(file)
    assert found.kind == "Q/DQ"
    assert found.obstacles == ("zero points that the network computes",)


@pytest.mark.parametrize(("kind", "value"), [("INT4", -3), ("UINT4", 13)])
def test_a_zero_point_of_four_bits(kind: str, value: int, tmp_path: Path) -> None:
    point = TensorProto(
        name="z", dims=[2], data_type=TensorProto.DataType.Value(kind), raw_data=b"\xdd"
    )
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "z"], ["y"]),
    ]
    found = look(write_nodes(tmp_path / "q.onnx", nodes, point))
    assert found.obstacles == (f"{kind.lower()} activations with the zero point {value}",)
