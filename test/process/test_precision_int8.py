"""int8: both Q/DQ styles, quantized and kept nodes, and accuracy."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_inference.engines.precision.calibration import Calibration
from edge_inference.engines.precision.derive import DeriveReport, derive
from edge_inference.engines.precision.int8 import NOT_QUANTIZED, TARGETS
from edge_inference.errors import ConfigError, ModelError
from int8_sums import can_saturate, int8_weights
from precision_networks import (
    calibrated,
    classifier,
    detector,
    kinds_of,
    make_images,
    nodes_of,
    run,
    session,
    sqnr_db,
    weights,
    write,
)


def int8(
    source: Path, target: str, *keep: str, calibration: Calibration | None = None, **more: int
) -> tuple[Path, DeriveReport]:
    destination = source.with_suffix(f".{target}.onnx")
    ranges = calibration or calibrated(source)
    made = derive(source, "int8", target, destination, keep_fp32=keep, calibration=ranges, **more)
    return destination, made


def what_runs(file: Path) -> Counter[str]:
    """Return the operators that ONNX Runtime really runs on the CPU."""
    optimized = file.with_suffix(".optimized.onnx")
    session(file, optimized)
    return Counter(node.op_type for node in onnx.load(optimized).graph.node)


@pytest.mark.parametrize("make", [classifier, detector])
def test_pairs_of_products_with_7_bit_weights_fit_in_16_bits(make: object, tmp_path: Path) -> None:
    source = make(tmp_path / "net.onnx")  # type: ignore[operator]
    whole = int8_weights(int8(source, "onnxruntime")[0])
    assert whole
    assert all(can_saturate(numbers) for numbers in whole.values()), "8 bits are one too many"
    made, report = int8(source, "onnxruntime", weight_bits=7)
    assert report.summary().startswith("int8 with 7-bit weights for onnxruntime: ")
    found = int8_weights(made)
    assert found.keys() == whole.keys()
    for name, numbers in found.items():
        assert not can_saturate(numbers), name
        # Quantized to 7 bits directly, not clipped from 8 bits.
        channels = numbers.reshape(len(numbers), -1)
        assert all(each.min() == -64 or each.max() == 63 for each in channels), name


def test_7_bit_weights_are_exact_with_fast_kernels(tmp_path: Path) -> None:
    source = classifier(tmp_path / "net.onnx")
    made, _ = int8(source, "onnxruntime", weight_bits=7)
    quick = onnxruntime.InferenceSession(str(made), providers=["CPUExecutionProvider"])
    for batch in make_images(2):
        (found,) = quick.run(None, {"x": batch})
        np.testing.assert_array_equal(found, run(made, batch)[0])
    assert sqnr_db(source, made, make_images()) > 22


def test_an_unknown_number_of_bits_is_refused(tmp_path: Path) -> None:
    source = classifier(tmp_path / "net.onnx")
    with pytest.raises(ConfigError, match="weight_bits: expected one of 7, 8, got 6"):
        int8(source, "onnxruntime", weight_bits=6)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("make", "least_db"), [(classifier, 25), (detector, 30)])
def test_results_stay_close(make: object, least_db: float, target: str, tmp_path: Path) -> None:
    source = make(tmp_path / "net.onnx")  # type: ignore[operator]
    made, report = int8(source, target)
    assert sqnr_db(source, made, make_images()) > least_db
    model = onnx.load(made)
    assert [entry.version for entry in model.opset_import] == [17]
    assert report.opset == 17
    ends = (*model.graph.input, *model.graph.output)
    assert {entry.type.tensor_type.elem_type for entry in ends} == {TensorProto.FLOAT}


def test_the_cpu_computes_all_layers_in_int8(tmp_path: Path) -> None:
    made, report = int8(classifier(tmp_path / "net.onnx"), "onnxruntime")
    assert report.kept == {}
    runs = what_runs(made)
    assert (runs["QLinearConv"], runs["QGemm"], runs["QLinearGlobalAveragePool"]) == (2, 1, 1)
    assert not runs.keys() & {"Conv", "Gemm", "Clip", "Relu", "GlobalAveragePool"}
    assert (runs["QuantizeLinear"], runs["DequantizeLinear"]) == (1, 1)


def test_moved_numbers_keep_their_scale(tmp_path: Path) -> None:
    made, _ = int8(detector(tmp_path / "net.onnx"), "onnxruntime")
    runs = what_runs(made)
    assert (runs["QLinearConv"], runs["QLinearLeakyRelu"], runs["QLinearConcat"]) == (2, 1, 1)
    assert runs["QuantizeLinear"] == 1  # the input; pooling and resizing compute in bytes
    behind = {
        node.output[0]: node.input[1] for node in nodes_of(made, lambda node: "Q" in node.name)
    }
    assert behind["u_quantized"] == behind["m_quantized"] == behind["l1_quantized"]


def test_nodes_after_the_last_layer_stay(tmp_path: Path) -> None:
    source = detector(tmp_path / "net.onnx")
    for target in TARGETS:
        _, report = int8(source, target)
        reason = "after the last layer with weights"
        assert {"sigmoid": reason, "reshape": reason}.items() <= report.kept.items()


def test_tensorrt_gets_signed_pairs_before_its_layers_only(tmp_path: Path) -> None:
    made, report = int8(classifier(tmp_path / "net.onnx"), "tensorrt")
    assert report.converted == {"Conv": 2, "GlobalAveragePool": 1, "Gemm": 1}
    assert report.kept == dict.fromkeys(("clip_1", "relu_2", "flatten"), NOT_QUANTIZED)
    constants = {entry.name: entry for entry in onnx.load(made).graph.initializer}
    quantizing = nodes_of(made, lambda node: node.op_type == "QuantizeLinear")
    assert len(quantizing) == 4 + 3  # before each node, and for the weights of each layer
    for node in quantizing:
        zero = numpy_helper.to_array(constants[node.input[2]])
        assert zero.dtype == np.int8
        assert not zero.any()
    # The clamp is fused into the layer before it, so there must be no pair between them.
    readers = {name: node.op_type for node in onnx.load(made).graph.node for name in node.input}
    assert (readers["c1"], readers["c2"]) == ("Clip", "Relu")
    assert kinds_of(made).keys() == {"FLOAT", "INT8"}


def test_weights_have_a_scale_for_each_channel(tmp_path: Path) -> None:
    source = classifier(tmp_path / "net.onnx")
    for target in TARGETS:
        made, _ = int8(source, target)
        axes = {
            helper.get_node_attr_value(node, "axis")
            for node in nodes_of(made, lambda node: node.op_type == "DequantizeLinear")
            if node.attribute
        }
        assert axes == {0}


def test_one_scale_for_all_channels_is_worse(tmp_path: Path) -> None:
    kernel = weights(16, 3, 3, 3) * np.logspace(0, -3, 16, dtype=np.float32).reshape(16, 1, 1, 1)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv", group=1),
        helper.make_node("InstanceNormalization", ["c", "one", "zero"], ["y"], name="norm"),
    ]
    constants = {"w": kernel, "one": np.ones(16, np.float32), "zero": np.zeros(16, np.float32)}
    source = write(tmp_path / "net.onnx", nodes, constants, ["y"])
    good, bad = (
        sqnr_db(source, int8(source, "tensorrt", per_channel=per_channel)[0], make_images())
        for per_channel in (True, False)
    )
    assert good > bad + 10


@pytest.mark.parametrize("target", TARGETS)
def test_a_named_node_stays_in_fp32(target: str, tmp_path: Path) -> None:
    source = classifier(tmp_path / "net.onnx")
    made, report = int8(source, target, "conv_2", "relu_2")
    assert report.kept["conv_2"] == report.kept["relu_2"] == "requested"
    (conv,) = nodes_of(made, lambda node: node.name == "conv_2")
    assert list(conv.input[1:]) == ["w2", "b2"]
    assert sqnr_db(source, made, make_images()) > 25
    if target == "onnxruntime":  # which would otherwise quantize the layer
        assert (what_runs(made)["Conv"], what_runs(made)["QLinearConv"]) == (1, 1)


def test_a_channel_without_weights_keeps_its_bias(tmp_path: Path) -> None:
    kernel = weights(4, 3, 1, 1)
    kernel[1:3] = 0
    kernel[2] = 1e-12
    bias = np.array([0.5, -0.7, 0.3, 0], np.float32)
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["y"], name="conv")]
    source = write(tmp_path / "net.onnx", nodes, {"w": kernel, "b": bias}, ["y"])
    found = run(int8(source, "onnxruntime")[0], make_images(1)[0])[0]
    assert found[0, 1] == pytest.approx(-0.7, abs=0.01)
    assert found[0, 2] == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("nodes", "shape"),
    [
        ([helper.make_node("MatMul", ["x", "w"], ["y"], name="n")], (12, 5)),
        ([helper.make_node("Gemm", ["x", "w"], ["y"], name="n")], (12, 5)),
        ([helper.make_node("Gemm", ["x", "w"], ["y"], name="n", transB=1)], (5, 12)),
        ([helper.make_node("Gemm", ["x", "w", "b"], ["y"], name="n", alpha=0.5)], (12, 5)),
        ([helper.make_node("MatMul", ["w", "x"], ["y"], name="n")], (5, 2)),
        (
            [
                helper.make_node("Transpose", ["x"], ["t"], name="t"),
                helper.make_node("MatMul", ["x", "t"], ["y"], name="n"),
            ],
            (1,),
        ),
    ],
    ids=["matmul", "gemm", "transposed", "scaled", "constant first", "two activations"],
)
def test_products_of_matrices(
    nodes: list[onnx.NodeProto], shape: tuple[int, ...], target: str, tmp_path: Path
) -> None:
    constants = {"w": weights(*shape), "b": weights(5, seed=1)}
    source = write(tmp_path / "net.onnx", nodes, constants, ["y"], shape=[2, 12])
    batches = make_images(shape=[2, 12])
    calibration = calibrate_on(source, batches)
    made, _ = int8(source, target, calibration=calibration)
    assert sqnr_db(source, made, batches) > 30


def test_a_transposed_convolution(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("ConvTranspose", ["x", "w", "b"], ["u"], name="up", strides=[2, 2]),
        helper.make_node("Conv", ["u", "w2"], ["y"], name="conv"),
    ]
    constants = {"w": weights(3, 6, 2, 2), "b": weights(6), "w2": weights(4, 6, 1, 1)}
    source = write(tmp_path / "net.onnx", nodes, constants, ["y"])
    for target, where in (("tensorrt", None), ("onnxruntime", NOT_QUANTIZED)):
        made, report = int8(source, target)
        assert report.kept.get("up") == where
        assert sqnr_db(source, made, make_images()) > 28


def test_a_result_with_other_readers_keeps_its_name(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["middle"], name="conv_1"),
        helper.make_node("Relu", ["middle"], ["r"], name="relu"),
        helper.make_node("Conv", ["r", "v"], ["y"], name="conv_2"),
        helper.make_node("Add", ["middle", "r"], ["sum"], name="add"),
    ]
    constants = {"w": weights(4, 3, 1, 1), "v": weights(4, 4, 1, 1, seed=1)}
    source = write(tmp_path / "net.onnx", nodes, constants, ["y", "middle", "sum"])
    for target in TARGETS:
        assert sqnr_db(source, int8(source, target)[0], make_images()) > 28


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    source = detector(tmp_path / "net.onnx")
    for target in TARGETS:
        one = int8(source, target)[0].read_bytes()
        assert int8(source, target)[0].read_bytes() == one


def test_a_missing_range_is_an_error(tmp_path: Path) -> None:
    source = classifier(tmp_path / "net.onnx")
    whole = calibrated(source)
    part = {name: span for name, span in whole.ranges.items() if name != "r1"}
    with pytest.raises(ModelError, match=r"no range for 1 tensor.*'r1'; calibrate again"):
        int8(source, "onnxruntime", calibration=dataclasses.replace(whole, ranges=part))


@pytest.mark.parametrize("target", TARGETS)
def test_an_old_opset_is_raised(target: str, tmp_path: Path) -> None:
    source = classifier(tmp_path / "net.onnx", opset=12)
    made, report = int8(source, target)
    assert report.opset == onnx.load(made).opset_import[0].version == 13
    assert sqnr_db(source, made, make_images()) > 25


def test_an_opset_that_onnx_cannot_raise_is_refused(tmp_path: Path) -> None:
    """In a branch, the form of a softmax does not show whether it was converted."""
    result = helper.make_tensor_value_info("z", TensorProto.FLOAT, None)
    inner = [helper.make_node("Softmax", ["c"], ["z"])]
    branches = {
        name: helper.make_graph(inner, name, [], [result])
        for name in ("then_branch", "else_branch")
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
        helper.make_node("ReduceSum", ["c"], ["sum"], name="sum", keepdims=0),
        helper.make_node("Cast", ["sum"], ["is_bright"], name="cast", to=TensorProto.BOOL),
        helper.make_node("If", ["is_bright"], ["y"], name="if", **branches),
    ]
    source = write(tmp_path / "net.onnx", nodes, {"w": weights(4, 3, 1, 1)}, ["y"], opset=12)
    with pytest.raises(ModelError, match=r"net\.onnx: opset 12: int8 needs at least 13, and"):
        int8(source, "onnxruntime")
    assert derive(source, "fp16", "tensorrt", tmp_path / "made.onnx").opset == 12


def test_a_network_without_layers_is_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"], name="relu")]
    source = write(tmp_path / "net.onnx", nodes, {}, ["y"])
    with pytest.raises(ModelError, match="no layer of the network can compute in int8"):
        int8(source, "tensorrt")


def calibrate_on(source: Path, batches: list[np.ndarray]) -> Calibration:
    from edge_inference.optimize.calibrate import calibrate

    return calibrate(source, "x", batches, "minmax")


@pytest.mark.parametrize("part", [1e-2, 1e-6, 1e-20, 0.0])
@pytest.mark.parametrize("size", [1.0, 1e-12, 1e-17])
def test_averages_near_0_of_larger_values_run(size: float, part: float, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["c1"], name="conv"),
        helper.make_node("GlobalAveragePool", ["c1"], ["g"], name="pool"),
        helper.make_node("Flatten", ["g"], ["f"], name="flatten"),
        helper.make_node("Gemm", ["f", "w2"], ["logits"], name="gemm", transB=1),
    ]
    constants = {"w1": weights(8, 3, 3, 3), "w2": weights(10, 8, seed=4)}
    source = write(tmp_path / "net.onnx", nodes, constants, ["logits"])
    measured = calibrated(source)
    ranges = dict(measured.ranges) | {
        "c1": (-300 * size, 200 * size),
        "g": (-300 * size * part, 200 * size * part),
    }
    made, _ = int8(source, "onnxruntime", calibration=dataclasses.replace(measured, ranges=ranges))
    assert what_runs(made)["QLinearGlobalAveragePool"] == 1
    assert np.isfinite(run(made, make_images(1)[0])[0]).all()
