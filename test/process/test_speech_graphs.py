"""Branches, masks and sizes are removed from a graph without a change of its outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_inference.errors import ModelError
from edge_inference.optimize.onnx_lowering.branches import keep_outputs, split_branches
from edge_inference.optimize.onnx_lowering.constant_shapes import fold_constant_shapes
from edge_inference.optimize.onnx_lowering.mask_removal import remove_mask_input
from edge_inference.optimize.onnx_lowering.ort_file import read_ort_model
from edge_inference.optimize.onnx_lowering.speech_graphs import lower_speech_graph, shape_profiles
from graph_kit import FLOAT, INT64, PLAIN, kinds_of, make_contrib_node, make_model, run


def constant(**values: Any) -> dict[str, np.ndarray]:
    return {name: np.array(value, np.int64) for name, value in values.items()}


def test_known_sizes_become_constants_and_dynamic_ones_stay() -> None:
    """Half of the last axis, which is known, of a tensor with a dynamic first axis."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"], "shape"),
        helper.make_node("Gather", ["shape", "last"], ["width"], "width"),
        helper.make_node("Div", ["width", "two"], ["half"], "half"),
        helper.make_node("Unsqueeze", ["half", "axes"], ["end"], "end"),
        helper.make_node("Slice", ["x", "axes", "end", "one"], ["y"], "slice"),
        helper.make_node("Gather", ["shape", "first"], ["open"], "open"),
    ]
    model = make_model(
        nodes,
        {"x": ["n", 6]},
        {"y": [None, None], "open": []},
        kinds={"open": INT64},
        **constant(last=1, first=0, two=2, axes=[0], one=[1]),
    )
    folded = fold_constant_shapes(model)
    assert sorted(kinds_of(folded)) == [
        "Gather",
        "Shape",
        "Slice",
    ]
    (y,) = [entry for entry in folded.graph.output if entry.name == "y"]
    assert y.type.tensor_type.shape.dim[1].dim_value == 3
    x = PLAIN[0, 0]
    assert run(folded, x=x)["y"].tolist() == x[:, :3].tolist()


def test_a_size_that_became_a_float_is_not_folded() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"], "shape"),
        helper.make_node("Cast", ["shape"], ["sizes"], "cast", to=FLOAT),
        helper.make_node("Sqrt", ["sizes"], ["y"], "root"),
    ]
    folded = fold_constant_shapes(make_model(nodes, {"x": ["n", 4]}, {"y": [2]}))
    assert run(folded, x=PLAIN[0, 0, :, :4])["y"].tolist() == [2.0, 2.0]


def test_nonzero_of_a_constant_is_folded() -> None:
    """PyTorch exports repeat_interleave with NonZero of a constant."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"], "shape"),
        helper.make_node("Gather", ["shape", "last"], ["width"], "width"),
        helper.make_node(
            "ConstantOfShape",
            ["width"],
            ["twos"],
            "twos",
            value=helper.make_tensor("value", INT64, [1], [2]),
        ),
        helper.make_node("Unsqueeze", ["twos", "last"], ["counts"], "counts"),
        helper.make_node("Less", ["range", "counts"], ["wanted"], "less"),
        helper.make_node("NonZero", ["wanted"], ["places"], "places"),
        helper.make_node("Split", ["places"], ["which", "copy"], "split", axis=0, num_outputs=2),
        helper.make_node("Gather", ["x", "which"], ["y"], "gather", axis=1),
    ]
    model = make_model(
        nodes,
        {"x": ["n", 3]},
        {"y": [None, None, None]},
        **constant(last=[1], range=[0, 1]),
    )
    folded = fold_constant_shapes(model)
    assert kinds_of(folded) == ["Gather"]
    x = PLAIN[0, 0, :, :3]
    assert run(folded, x=x)["y"][:, 0].tolist() == np.repeat(x, 2, axis=1).tolist()


def make_masked_model(last: onnx.NodeProto) -> onnx.ModelProto:
    """Make an attention bias as exporters do: 0 for a mask of 1, otherwise hugely negative."""
    nodes = [
        helper.make_node("Slice", ["mask", "from", "to", "axis", "step"], ["thin"], "thin"),
        helper.make_node("Unsqueeze", ["thin", "axis"], ["wide"], "wide"),
        helper.make_node("Cast", ["wide"], ["ones"], "ones", to=FLOAT),
        helper.make_node("Sub", ["one", "ones"], ["zeros"], "zeros"),
        helper.make_node("Cast", ["zeros"], ["hidden"], "hidden", to=TensorProto.BOOL),
        helper.make_node("Where", ["hidden", "low", "zeros"], ["bias"], "bias"),
        last,
    ]
    numbers = {"one": np.array(1, np.float32), "low": np.array(-1e9, np.float32)}
    return make_model(
        nodes,
        {"scores": ["n", "q", "k"], "mask": ["n", "samples"]},
        {"y": [None, None, None]},
        kinds={"mask": INT64},
        **numbers,
        **constant(**{"from": [0], "to": [2**62], "axis": [1], "step": [2]}),
    )


@pytest.mark.parametrize("order", [["scores", "bias"], ["bias", "scores"]])
def test_a_mask_that_hides_nothing_is_removed(order: list[str]) -> None:
    model = make_masked_model(helper.make_node("Add", order, ["sum"], "sum"))
    model.graph.node.append(helper.make_node("Softmax", ["sum"], ["y"], "softmax"))
    scores = PLAIN[0]
    expected = run(model, scores=scores, mask=np.ones((3, 12), np.int64))["y"]
    remove_mask_input(model, "mask")
    assert kinds_of(model) == ["Softmax"]
    assert run(model, scores=scores)["y"] == pytest.approx(expected)


def test_a_graph_without_a_mask_stays() -> None:
    model = make_masked_model(helper.make_node("Add", ["scores", "bias"], ["y"], "sum"))
    before = model.SerializeToString()
    remove_mask_input(model, "another")
    assert model.SerializeToString() == before


def test_a_mask_that_is_used_in_another_way_is_refused() -> None:
    model = make_masked_model(helper.make_node("Mul", ["scores", "ones"], ["y"], "product"))
    with pytest.raises(ModelError, match="input 'mask': expected a mask that is only added"):
        remove_mask_input(model, "mask")


def make_merged_model(condition: str = "again") -> onnx.ModelProto:
    """Make a graph with an If: one branch multiplies the earlier result, the other subtracts."""

    def branch(kind: str, inner: str) -> onnx.GraphProto:
        info = helper.make_tensor_value_info(inner, FLOAT, [None])
        other = helper.make_tensor_value_info(f"{inner}_encoder", FLOAT, [None])
        nodes = [
            helper.make_node(kind, ["double", f"{inner}_own"], [inner], kind),
            helper.make_node("Neg", ["past"], [other.name], f"neg {kind}"),
        ]
        own_constant = numpy_helper.from_array(np.array([3], np.float32), f"{inner}_own")
        return helper.make_graph(nodes, kind, [], [info, other], [own_constant])

    nodes = [
        helper.make_node("Add", ["x", "x"], ["double"], "before"),
        helper.make_node(
            "If",
            [condition],
            ["y", "y_encoder"],
            "choice",
            then_branch=branch("Mul", "y"),
            else_branch=branch("Sub", "inner"),
        ),
    ]
    return make_model(
        nodes,
        {"x": ["n"], "past": ["n"], "again": [1]},
        {"y": [None], "y_encoder": [None]},
        kinds={"again": TensorProto.BOOL},
        unused=np.zeros(3, np.float32),
    )


def test_each_branch_computes_the_same_as_in_the_whole_graph() -> None:
    whole = make_merged_model()
    branches = split_branches(whole)
    x, past = np.array([1, 2], np.float32), np.array([7], np.float32)
    for again, alone in ((True, branches.when_true), (False, branches.when_false)):
        expected = run(whole, x=x, past=past, again=np.array([again]))
        assert "If" not in kinds_of(alone)
        assert len(alone.graph.initializer) == 1
        assert run(alone, x=x, past=past)["y"].tolist() == expected["y"].tolist()
    keep_outputs(branches.when_true, lambda name: "encoder" not in name)
    assert [entry.name for entry in branches.when_true.graph.input] == ["x"]
    assert run(branches.when_true, x=x)["y"].tolist() == [6, 12]


def test_a_graph_without_one_if_on_an_input_is_refused() -> None:
    whole = make_merged_model()
    del whole.graph.node[1]
    with pytest.raises(ModelError, match=r"one If whose condition is an input.*, got 0 If"):
        split_branches(whole)
    with pytest.raises(ModelError, match=r"one If whose condition is an input.*, got 1 If"):
        split_branches(make_merged_model("double"))


def test_a_file_that_is_not_a_model_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "encoder.ort"
    file.write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"encoder\.ort: ONNX Runtime cannot read it"):
        read_ort_model(file)


def test_the_same_file_makes_the_same_bytes(tmp_path: Path) -> None:
    model = make_masked_model(helper.make_node("Add", ["scores", "bias"], ["sum"], "sum"))
    model.graph.node.append(make_contrib_node("Gelu", ["sum"]))
    model.graph.input[1].name = "attention_mask"
    model.graph.node[0].input[0] = "attention_mask"
    onnx.save(model, tmp_path / "model.onnx")
    first, second = (
        lower_speech_graph("encoder", {"encoder": tmp_path / "model.onnx"}) for _ in range(2)
    )
    assert [entry.name for entry in first.graph.input] == ["scores"]
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(
        deterministic=True
    )


def test_an_old_graph_is_converted_to_a_newer_opset(tmp_path: Path) -> None:
    model = make_model([make_contrib_node("Gelu", ["x"])], {"x": ["n"]}, {"y": ["n"]}, opset=14)
    onnx.save(model, tmp_path / "model.onnx")
    graph = lower_speech_graph("encoder", {"encoder": tmp_path / "model.onnx"})
    assert graph.opset_import[0].version == 17


def test_profiles_follow_from_the_names_of_axes() -> None:
    node = helper.make_node("Relu", ["x"], ["y"], "relu")
    model = make_model([node], {"x": ["batch_size", 8, "past"]}, {"y": [None] * 3})
    (found,) = shape_profiles(model, {"batch_size": (1, 1, 4), "past": (1, 9, 90)})
    assert str(found) == "x:1x8x1,1x8x9,4x8x90"
    with pytest.raises(ModelError, match="input 'x': axis 'past' is not known; known: batch_size"):
        shape_profiles(model, {"batch_size": (1, 1, 4)})
