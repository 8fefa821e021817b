"""Graphs that normalize the image themselves: no second normalization is proposed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_inference.core.exports.families import propose
from edge_inference.core.exports.onnx_summary import read_summary
from proposal_kit import evidence, floats, input_spec

IMAGENET = (123.675, 116.28, 103.53)
LOGITS = {"logits": floats([0.5, 1.5, -2.5])}


@pytest.mark.parametrize(
    ("scaling", "mean", "std"),
    [
        (("Sub", (0.485, 0.456, 0.406)), 0.0, 255.0),
        (("Add", (-0.5,)), 0.0, 255.0),
        (("Mul", (2.0,)), 0.0, 255.0),
        (("Div", (0.5,)), 0.0, 255.0),
        (("Div", (255.0,)), 0.0, 1.0),
        (("Mul", (1 / 127.5,)), 0.0, 1.0),
        (("Sub", IMAGENET), 0.0, 1.0),
        # These change no pixel.
        (("Mul", (1.0,)), IMAGENET[0], 58.395),
        (("Add", (0.0,)), IMAGENET[0], 58.395),
        (("Mul", (0.0,)), IMAGENET[0], 58.395),
        (None, IMAGENET[0], 58.395),
    ],
)
def test_what_the_graph_calculates_first(scaling: Any, mean: float, std: float) -> None:
    proposal = propose(evidence(LOGITS, scaling=scaling))
    assert proposal is not None
    spec = input_spec(proposal)
    assert (spec.mean[0], spec.std[0]) == (mean, std)
    is_own = mean == 0
    assert ("the graph normalizes them itself" in proposal.assumed["input.mean"]) == is_own


def test_integers_stay_unchanged_pixels() -> None:
    proposal = propose(evidence(LOGITS, dtype="uint8", scaling=("Sub", (0.5,))))
    assert proposal is not None
    assert (proposal.input["mean"], proposal.input["std"]) == ([0.0], [1.0])


def _write(file: Path, *nodes: onnx.NodeProto, constant: np.ndarray | None = None) -> Path:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    weights = [] if constant is None else [numpy_helper.from_array(constant, "c")]
    graph = helper.make_graph(nodes, "g", [x], [y], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), file)
    return file


MEAN = np.float32([0.5, 0.25, 0.125]).reshape(1, 3, 1, 1)


@pytest.mark.parametrize("as_node", [False, True])
def test_the_constants_of_a_file(tmp_path: Path, as_node: bool) -> None:
    tensor = numpy_helper.from_array(MEAN, "c")
    nodes = [helper.make_node("Constant", [], ["c"], value=tensor)] if as_node else []
    file = _write(
        tmp_path / "m.onnx",
        *nodes,
        helper.make_node("Cast", ["x"], ["half"], to=10),
        helper.make_node("Cast", ["half"], ["z"], to=1),
        helper.make_node("Sub", ["z", "c"], ["y"]),
        constant=None if as_node else MEAN,
    )
    assert read_summary(file).first_scaling == ("Sub", (0.5, 0.25, 0.125))


@pytest.mark.parametrize(
    ("nodes", "constant"),
    [
        ([helper.make_node("Relu", ["x"], ["y"])], None),
        ([helper.make_node("Sub", ["c", "x"], ["y"])], MEAN),  # 1 - x inverts the image
        ([helper.make_node("Div", ["c", "x"], ["y"])], MEAN),
        ([helper.make_node("Sub", ["x", "x"], ["y"])], None),
        ([helper.make_node("Add", ["x", "c"], ["y"])], np.ones((1, 3, 8, 8), np.float32)),
        ([helper.make_node("Add", ["x", "c"], ["y"])], np.float32([np.inf])),
        (
            [
                helper.make_node("MaxPool", ["x"], ["z"], kernel_shape=[2, 2]),
                helper.make_node("Sub", ["z", "c"], ["y"]),
            ],
            MEAN,
        ),
    ],
)
def test_a_graph_without_a_normalization(
    tmp_path: Path, nodes: list[onnx.NodeProto], constant: np.ndarray | None
) -> None:
    file = _write(tmp_path / "m.onnx", *nodes, constant=constant)
    assert read_summary(file).first_scaling is None


def test_a_constant_may_come_first(tmp_path: Path) -> None:
    node = helper.make_node("Mul", ["c", "x"], ["y"])
    file = _write(tmp_path / "m.onnx", node, constant=np.float32(0.125))
    assert read_summary(file).first_scaling == ("Mul", (0.125,))
