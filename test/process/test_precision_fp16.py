"""fp16: converted and kept nodes, and values that are too large or too small."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from edge_inference.engines.precision.derive import DeriveReport, derive
from edge_inference.engines.precision.folding import fold
from edge_inference.engines.precision.fp16 import NO_FP16, WEIGHTS_TOO_LARGE
from edge_inference.engines.precision.graph import all_graphs
from edge_inference.errors import CancelledError, ModelError, SourceError
from edge_inference.optimize.overflow import find_overflows
from operator_kinds import KINDS
from precision_networks import (
    classifier,
    detector,
    kinds_of,
    make_images,
    nodes_of,
    run,
    sqnr_db,
    write,
)

SCALAR = np.float32(1000).reshape(())


def half(source: Path, *keep: str) -> tuple[Path, DeriveReport]:
    destination = source.with_suffix(".fp16.onnx")
    return destination, derive(source, "fp16", "tensorrt", destination, keep_fp32=keep)


def run_exactly(file: Path, batch: NDArray[np.float32]) -> NDArray[np.float32]:
    """Run in numpy: ONNX Runtime computes most of fp16 in fp32 on a CPU."""
    (found,) = ReferenceEvaluator(str(file)).run(None, {"x": batch})
    return np.asarray(found)


def large(file: Path) -> Path:
    """Write a network with values of a million between three nodes only."""
    nodes = [
        helper.make_node("Mul", ["x", "k"], ["a"], name="up"),
        helper.make_node("Mul", ["a", "k"], ["b"], name="more"),
        helper.make_node("Sqrt", ["b"], ["c"], name="root"),
        helper.make_node("Div", ["c", "k"], ["d"], name="down"),
        helper.make_node("Relu", ["d"], ["y"], name="relu"),
    ]
    return write(file, nodes, {"k": SCALAR}, ["y"], shape=[1, 4])


@pytest.mark.parametrize("make", [classifier, detector])
def test_all_nodes_are_converted_but_not_inputs_and_outputs(make: object, tmp_path: Path) -> None:
    source = make(tmp_path / "net.onnx")  # type: ignore[operator]
    made, report = half(source)
    assert report.kept == {}
    assert kinds_of(made).get("FLOAT", []) in ([], ["Resize"])
    model = onnx.load(made)
    ends = (*model.graph.input, *model.graph.output)
    assert {entry.type.tensor_type.elem_type for entry in ends} == {TensorProto.FLOAT}
    assert [entry.version for entry in model.opset_import] == [17]
    assert sqnr_db(source, made, make_images()) > 45
    assert report.bytes < report.source_bytes


def test_a_named_node_stays_with_its_weights(tmp_path: Path) -> None:
    source = classifier(tmp_path / "net.onnx")
    made, report = half(source, "conv_2")
    assert report.kept == {"conv_2": "requested"}
    assert report.converted == {"Conv": 1, "Clip": 1, "Relu": 1, "GlobalAveragePool": 1} | {
        "Flatten": 1,
        "Gemm": 1,
    }
    assert kinds_of(made)["FLOAT"] == ["Conv", "Conv"]  # weights and bias
    assert sqnr_db(source, made, make_images()) > 45


def test_large_values_pass_between_kept_nodes_untouched(tmp_path: Path) -> None:
    source = large(tmp_path / "net.onnx")
    batch = np.array([[1, 2, 0.5, 0.1]], np.float32)
    assert not np.isfinite(run_exactly(half(source)[0], batch)).all()
    found = find_overflows(source, "x", [batch])
    assert list(found) == ["more", "root"]
    assert found["more"] == pytest.approx(2e6)
    made, _ = half(source, *found)
    assert run_exactly(made, batch) == pytest.approx(run(source, batch)[0], rel=2e-3)
    assert len(nodes_of(made, lambda node: node.op_type == "Cast")) == 4  # in, to, from, out


def test_nan_counts_as_an_overflow(tmp_path: Path) -> None:
    source = large(tmp_path / "net.onnx")
    found = find_overflows(source, "x", [np.array([[1, 1, 1, -1]], np.float32)] * 2)
    assert list(found) == ["more", "root", "down", "relu"]


def test_without_an_overflow_no_node_is_found(tmp_path: Path) -> None:
    reports: list[int] = []
    source = classifier(tmp_path / "net.onnx")
    assert find_overflows(source, "x", make_images(2), reports.append) == {}
    assert reports == [1, 2]
    with pytest.raises(SourceError, match="at least one image"):
        find_overflows(source, "x", [])
    with pytest.raises(CancelledError, match="cancelled"):
        find_overflows(source, "x", make_images(2), cancelled=lambda: True)


def test_a_node_with_large_weights_stays_in_fp32(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Mul", ["x", "huge"], ["a"], name="grow"),
        helper.make_node("Mul", ["a", "tiny"], ["b"], name="shrink"),
        helper.make_node("Relu", ["b"], ["y"], name="relu"),
    ]
    huge, tiny = np.array([1e5, 2e5], np.float32), np.array([1e-3, 1e-3], np.float32)
    source = write(tmp_path / "net.onnx", nodes, {"huge": huge, "tiny": tiny}, ["y"], shape=[1, 2])
    _, report = half(source)
    assert report.kept == {"grow": WEIGHTS_TOO_LARGE}


def test_bounds_beyond_fp16_are_clipped(tmp_path: Path) -> None:
    limit = np.finfo(np.float32).max
    nodes = [helper.make_node("Clip", ["x", "low", "high"], ["y"], name="clip")]
    bounds = {"low": np.zeros((), np.float32), "high": np.full((), limit, np.float32)}
    source = write(tmp_path / "net.onnx", nodes, bounds, ["y"], shape=[1, 3])
    made, report = half(source)
    assert report.kept == {}
    assert run(made, np.array([[-1, 2, 3]], np.float32))[0].tolist() == [[0, 2, 3]]


def test_a_small_constant_does_not_become_0(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Add", ["x", "epsilon"], ["a"], name="add"),
        helper.make_node("Div", ["x", "a"], ["y"], name="div"),
    ]
    epsilon = {"epsilon": np.full((), 1e-12, np.float32)}
    source = write(tmp_path / "net.onnx", nodes, epsilon, ["y"], shape=[1, 2])
    assert run(half(source)[0], np.array([[0, 1]], np.float32))[0].tolist() == [[0, 1]]


@pytest.mark.parametrize("tiny", [1e-12, -1e-12])
def test_a_constant_below_fp16_keeps_its_sign(tmp_path: Path, tiny: float) -> None:
    nodes = [helper.make_node("Add", ["x", "tiny"], ["y"], name="add")]
    constants = {"tiny": np.full((), tiny, np.float32)}
    source = write(tmp_path / "net.onnx", nodes, constants, ["y"], shape=[1, 1])
    (result,) = run(half(source)[0], np.zeros((1, 1), np.float32))
    assert np.sign(result) == np.sign(tiny)


def test_an_operator_without_fp16_stays(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["boxes"], name="relu"),
        helper.make_node(
            "RandomUniformLike", ["boxes"], ["r"], name="random", dtype=1, low=1.0, high=2.0
        ),
        helper.make_node("Add", ["boxes", "r"], ["s"], name="add"),
    ]
    source = write(tmp_path / "net.onnx", nodes, {}, ["s"], [1, 2, 4])
    made, report = half(source)
    assert report.kept == {"random": NO_FP16}
    (total,) = run(made, np.array([[[0, 0, 1, 1], [5, 5, 6, 6]]], np.float32))
    assert (total >= 1).all()


def test_values_cast_from_integers_stay_in_fp32(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], name="cast", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["f", "k"], ["m"], name="mul"),
        helper.make_node("Relu", ["m"], ["y"], name="relu"),
    ]
    small = {"k": np.full((), 1e-3, np.float32)}
    kinds = {"x": TensorProto.INT32}
    source = write(tmp_path / "net.onnx", nodes, small, ["y"], shape=[1, 2], kinds=kinds)
    made, _ = half(source, "mul")
    found = run_exactly(made, np.array([[100_000, 7]], np.int32))
    assert found[0] == pytest.approx([100, 0.007], rel=1e-3)


def test_all_readers_share_one_cast(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], name="relu"),
        helper.make_node("Exp", ["r"], ["a"], name="exp"),
        helper.make_node("Sin", ["r"], ["b"], name="sin"),
        helper.make_node("Add", ["a", "b"], ["y"], name="add"),
        helper.make_node("Relu", ["r"], ["x_fp16"], name="taken"),
    ]
    source = write(tmp_path / "net.onnx", nodes, {}, ["y", "r", "x_fp16"], shape=[1, 2])
    made, _ = half(source, "exp", "sin")
    casts = nodes_of(made, lambda node: node.op_type == "Cast" and node.output[0] == "r")
    assert len(casts) == 1
    batch = np.array([[0.5, 1.5]], np.float32)
    for found, wanted in zip(run(made, batch), run(source, batch), strict=True):
        assert found == pytest.approx(wanted, rel=2e-3)


def test_a_branch_reads_outer_tensors_in_fp32(tmp_path: Path) -> None:
    def branch(operator: str) -> onnx.GraphProto:
        result = helper.make_tensor_value_info("z", TensorProto.FLOAT, None)
        return helper.make_graph([helper.make_node(operator, ["r"], ["z"])], "b", [], [result])

    nodes = [
        helper.make_node("Relu", ["x"], ["r"], name="relu"),
        helper.make_node("ReduceSum", ["r"], ["sum"], name="sum", keepdims=0),
        helper.make_node("Cast", ["sum"], ["is_any"], name="cast", to=TensorProto.BOOL),
        helper.make_node(
            "If", ["is_any"], ["y"], name="if", then_branch=branch("Exp"), else_branch=branch("Neg")
        ),
    ]
    source = write(tmp_path / "net.onnx", nodes, {}, ["y"], shape=[1, 2])
    made, report = half(source)
    assert report.kept == {"if": NO_FP16}
    batch = np.array([[1, 2]], np.float32)
    assert run(made, batch)[0] == pytest.approx(run(source, batch)[0], rel=2e-3)


def test_a_network_without_fp32_is_refused(tmp_path: Path) -> None:
    kinds = {"x": TensorProto.INT32, "y": TensorProto.INT32}
    nodes = [helper.make_node("Abs", ["x"], ["y"])]
    source = write(tmp_path / "net.onnx", nodes, {}, ["y"], shape=[1, 2], kinds=kinds)
    with pytest.raises(ModelError, match=r"net\.onnx: no node of the network can compute in fp16"):
        half(source)


@pytest.mark.parametrize(
    ("name", "casts"),
    [
        ("fp16_weights_behind_casts", 0),
        ("fp16_between_casts", 1),
        ("bf16_weights", 0),
        ("fp16_native", 2),
        ("branch_in_fp16", 2),
    ],
)
def test_half_precision_is_widened_on_every_machine(name: str, casts: int, tmp_path: Path) -> None:
    """ONNX Runtime would leave fp16 where the CPU computes in it, as on ARM."""
    source = tmp_path / "net.onnx"
    onnx.save(KINDS[name].make(), source)
    graph = fold(source).graph
    narrow = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
    graphs = list(all_graphs(graph))
    assert not [
        entry.name for each in graphs for entry in each.initializer if entry.data_type in narrow
    ]
    ends = {entry.name for entry in graph.output}
    assert not [
        entry.name
        for entry in graph.value_info
        if entry.type.tensor_type.elem_type in narrow and entry.name not in ends
    ]
    assert sum(node.op_type == "Cast" for each in graphs for node in each.node) == casts


def test_a_sequence_keeps_the_type_of_its_tensors(tmp_path: Path) -> None:
    source = tmp_path / "net.onnx"
    onnx.save(KINDS["sequences"].make(), source)
    made, report = half(source, "Conv")
    kept = {name.split("_")[0] for name, why in report.kept.items() if why == NO_FP16}
    assert "splittosequence" in kept
    assert sqnr_db(source, made, make_images()) > 60
