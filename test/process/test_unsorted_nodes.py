"""Files whose nodes are not in the order of computation, as converters to fp16 write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_inference.engines.precision.derive import derive
from edge_inference.engines.precision.graph import sort_nodes
from edge_inference.engines.precision.onnx_file import read_onnx
from edge_inference.errors import ModelError

WEIGHT = np.arange(-12, 12, dtype=np.float16).reshape(2, 3, 2, 2) / 8
IMAGE = np.linspace(-1, 1, 75, dtype=np.float32).reshape(1, 3, 5, 5)


def _floats(name: str, *shape: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _write(file: Path, nodes: list[onnx.NodeProto]) -> Path:
    graph = helper.make_graph(
        nodes,
        "half",
        [_floats("images", *IMAGE.shape)],
        [_floats("out", 1, 2, 4, 4)],
        [numpy_helper.from_array(WEIGHT, "weight")],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), file
    )
    return file


def _expected() -> np.ndarray:
    """Return the ReLU of the convolution, by its definition."""
    image, weight = IMAGE.astype(np.float16).astype(np.float64), WEIGHT.astype(np.float64)
    sums = np.zeros((1, 2, 4, 4))
    for row in range(4):
        for column in range(4):
            part = image[0, :, row : row + 2, column : column + 2]
            sums[0, :, row, column] = (weight * part).sum(axis=(1, 2, 3))
    return np.maximum(sums, 0)


def _half(first_last: bool) -> list[onnx.NodeProto]:
    nodes = [
        helper.make_node("Cast", ["images"], ["cast"], "graph_input_cast_0", to=10),
        helper.make_node("Conv", ["cast", "weight"], ["conv"], "conv"),
        helper.make_node("Relu", ["conv"], ["relu"], "relu"),
        helper.make_node("Cast", ["relu"], ["out"], "graph_output_cast_0", to=1),
    ]
    return [*nodes[1:], nodes[0]] if first_last else nodes


def test_a_file_with_the_cast_of_its_input_at_the_end_derives(tmp_path: Path) -> None:
    sorted_file = _write(tmp_path / "sorted.onnx", _half(first_last=False))
    unsorted = _write(tmp_path / "unsorted.onnx", _half(first_last=True))
    results = []
    for file in (sorted_file, unsorted):
        derived = file.with_suffix(".fp16.onnx")
        derive(file, "fp16", "onnxruntime", derived)
        session = onnxruntime.InferenceSession(str(derived), providers=["CPUExecutionProvider"])
        results.append(session.run(None, {"images": IMAGE})[0])
    np.testing.assert_allclose(results[1], _expected(), atol=2e-2)
    np.testing.assert_array_equal(*results)


def test_only_what_is_out_of_order_moves(tmp_path: Path) -> None:
    model, _ = read_onnx(_write(tmp_path / "unsorted.onnx", _half(first_last=True)))
    names = ["graph_input_cast_0", "conv", "relu", "graph_output_cast_0"]
    assert [node.name for node in model.graph.node] == names
    assert not sort_nodes(model.graph)


def test_nodes_that_do_not_need_each_other_keep_their_order() -> None:
    nodes = [
        helper.make_node("Neg", ["late"], ["out"], "early"),
        helper.make_node("Abs", ["images"], ["a"], "first"),
        helper.make_node("Abs", ["images"], ["b"], "second"),
        helper.make_node("Abs", ["images"], ["late"], "third"),
    ]
    graph = helper.make_graph(nodes, "rows", [_floats("images", 1)], [_floats("out", 1)])
    assert sort_nodes(graph)
    assert [node.name for node in graph.node] == ["first", "second", "third", "early"]


def test_a_branch_that_reads_a_later_node() -> None:
    """The branch's own result may have the name of the node's."""
    branch = helper.make_graph(
        [helper.make_node("Neg", ["late"], ["out"])], "branch", [], [_floats("out", 1)]
    )
    nodes = [
        helper.make_node("If", ["flag"], ["out"], "if", then_branch=branch, else_branch=branch),
        helper.make_node("Abs", ["images"], ["late"], "abs"),
    ]
    graph = helper.make_graph(nodes, "branches", [_floats("images", 1)], [_floats("out", 1)])
    assert sort_nodes(graph)
    assert [node.name for node in graph.node] == ["abs", "if"]


@pytest.mark.parametrize(
    ("source", "hint"), [("nowhere", "no earlier node computes"), ("relu", "no earlier node")]
)
def test_a_node_without_a_source_or_in_a_circle_has_a_sentence(
    tmp_path: Path, source: str, hint: str
) -> None:
    nodes = _half(first_last=True)
    nodes[0].input[0] = source
    with pytest.raises(ModelError, match=hint):
        read_onnx(_write(tmp_path / "wrong.onnx", nodes))
