"""Nodes that stay in fp32: named, by operator or pattern, with masked values, and selections."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edge_inference.engines.precision.calibration import Calibration
from edge_inference.engines.precision.derive import derive
from edge_inference.engines.precision.exclude import named_nodes
from edge_inference.engines.precision.folding import fold
from edge_inference.engines.precision.int8 import TARGETS
from edge_inference.errors import ModelError
from edge_inference.optimize.calibrate import calibrate
from graph_kinds import attention
from operator_kinds import KINDS
from precision_networks import calibrated, classifier, make_images, sqnr_db
from small_net import SmallNet

MASKS = ["-inf", "-3.4028235e38", "-65504", "-1e4", "-100", "where", "computed"]


@pytest.mark.parametrize(
    ("entry", "kept"),
    [
        ("conv_1", {"conv_1"}),
        ("Conv", {"conv_1", "conv_2"}),
        ("conv_*", {"conv_1", "conv_2"}),
        ("*_[12]", {"conv_1", "clip_1", "conv_2", "relu_2"}),
        ("?emm", {"gemm"}),
        ("*", {"conv_1", "clip_1", "conv_2", "relu_2", "pool", "flatten", "gemm"}),
    ],
)
def test_an_entry_is_a_name_an_operator_or_a_pattern(
    entry: str, kept: set[str], tmp_path: Path
) -> None:
    source = classifier(tmp_path / "net.onnx")
    assert named_nodes(fold(source), [entry], "net") == dict.fromkeys(kept, "requested")
    if entry == "*":
        return
    report = derive(source, "fp16", "tensorrt", tmp_path / "made.onnx", keep_fp32=[entry])
    assert {name for name, why in report.kept.items() if why == "requested"} == kept


def test_the_name_of_a_node_comes_first(tmp_path: Path) -> None:
    net = SmallNet()
    stem = net.add("Relu", net.conv("x", 3, 8, name="/a[1]/*"), name="Conv")
    net.add("Conv", stem, net.weight(4, 8, 1, 1), outputs="y", name="/a1/x")
    onnx.save(net.model(), tmp_path / "net.onnx")
    model = fold(tmp_path / "net.onnx")
    assert list(named_nodes(model, ["Conv"], "net")) == ["Conv"]
    assert list(named_nodes(model, ["/a[1]/*"], "net")) == ["/a[1]/*"]


def test_too_many_patterns_are_refused_before_they_are_compared(tmp_path: Path) -> None:
    model = fold(classifier(tmp_path / "net.onnx"))
    patterns = [f"conv_{'*' * count}" for count in range(1, 1002)]
    assert set(named_nodes(model, patterns[:1000] * 2, "net")) == {"conv_1", "conv_2"}
    with pytest.raises(ModelError, match=r"at most 1000 operators and patterns .* got 1001"):
        named_nodes(model, ["conv_1", *patterns], "net")


@pytest.mark.parametrize(
    ("entry", "near"),
    [("conv2", "conv_2, conv_1"), ("Convv", "Conv, "), ("cov_*", "conv_"), ("conv", "Conv")],
)
def test_an_entry_for_nothing_is_refused(entry: str, near: str, tmp_path: Path) -> None:
    model = fold(classifier(tmp_path / "net.onnx"))
    with pytest.raises(ModelError) as caught:
        named_nodes(model, ["conv_1", entry], "net.onnx")
    before, after = str(caught.value).split("the nearest names are ")
    assert before.startswith(f"net.onnx: no node has the name {entry!r}, ")
    assert near in after


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("mask", MASKS)
def test_attention_with_a_mask_is_as_close_as_without(
    mask: str, target: str, tmp_path: Path
) -> None:
    found = {}
    for name in ("none", mask):
        source = tmp_path / f"{name}.onnx"
        onnx.save(attention(name), source)
        report = derive(
            source, "int8", target, tmp_path / "made.onnx", calibration=calibrated(source)
        )
        found[name] = sqnr_db(source, tmp_path / "made.onnx", make_images())
    assert found[mask] > found["none"] - 4
    assert report.converted["MatMul"] == 6
    operators = {node.name: node.op_type for node in fold(source).graph.node}
    masked = {operators[name] for name, why in report.kept.items() if why == "with masked values"}
    assert masked == {*masked & {"Mul", "Where", "Add"}, "Softmax"}


@pytest.mark.parametrize("target", TARGETS)
def test_the_products_of_the_attention_operator_compute_in_int8(
    target: str, tmp_path: Path
) -> None:
    source = tmp_path / "net.onnx"
    onnx.save(KINDS["attention_operator"].make(), source)
    report = derive(source, "int8", target, tmp_path / "made.onnx", calibration=calibrated(source))
    assert report.converted["MatMul"] == 6  # three before, two of the attention, one behind
    assert "Attention" not in report.converted
    assert "with masked values" in report.kept.values()


def test_a_range_over_a_mask_would_destroy_int8(tmp_path: Path) -> None:
    """The reason for the rule: 8 dB, against 30 with it."""
    source = tmp_path / "net.onnx"
    onnx.save(attention("-1e4"), source)
    right = calibrated(source)
    assert right.masked
    whole = dict.fromkeys(right.masked, (-10_000.0, 10.0))
    wrong = Calibration(
        **{**vars(right), "ranges": {**right.ranges, **whole}, "masked": ()}  # type: ignore[arg-type]
    )
    found = []
    for calibration in (right, wrong):
        derive(source, "int8", "onnxruntime", tmp_path / "made.onnx", calibration=calibration)
        found.append(sqnr_db(source, tmp_path / "made.onnx", make_images()))
    assert found[0] > 25
    assert found[1] < 15


def test_a_calibration_file_keeps_what_is_masked(tmp_path: Path) -> None:
    source = tmp_path / "net.onnx"
    onnx.save(attention("-inf"), source)
    made = calibrated(source)
    made.save(tmp_path / "calibration.json")
    assert Calibration.load(tmp_path / "calibration.json").masked == made.masked
    assert not made.ranges.keys() & set(made.masked)
    text = made.to_json().replace('"masked": [', '"masked": [7, ')
    with pytest.raises(ModelError, match="calibration: masked: expected tensor names, got"):
        Calibration.from_json(text)


@pytest.mark.parametrize("name", ["non_max_suppression", "non_zero", "top_k"])
def test_what_selects_results_stays_in_fp32(name: str, tmp_path: Path) -> None:
    source = tmp_path / "net.onnx"
    onnx.save(KINDS[name].make(), source)
    report = derive(source, "fp16", "tensorrt", tmp_path / "made.onnx")
    kept = {name for name, why in report.kept.items() if why == "selecting results"}
    operators = {node.op_type for node in fold(source).graph.node if node.name in kept}
    assert "Sigmoid" in operators  # it computes the scores
    assert operators & {"NonMaxSuppression", "NonZero", "TopK"}
    assert not operators & {"Conv", "Relu"}
    graph = onnx.load(tmp_path / "made.onnx").graph
    casts = [node for node in graph.node if node.op_type == "Cast"]
    assert len(casts) == 2  # the image to fp16, the map to fp32


PER_CHANNEL = [
    "initializers_as_inputs",
    "inputs_with_defaults",
    "fp16_weights_behind_casts",
    "fp16_between_casts",
    "fp16_native",
    "bf16_weights",
    "weights_behind_shape_operators",
    "tied_weights",
    "local_function",
    "opset_7",
    "opset_11",
]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", PER_CHANNEL)
def test_all_weights_have_a_scale_for_each_channel(name: str, target: str, tmp_path: Path) -> None:
    source = tmp_path / "net.onnx"
    onnx.save(KINDS[name].make(), source)
    half = name == "fp16_native"
    images = [image.astype(np.float16 if half else np.float32) for image in make_images()]
    made = tmp_path / "made.onnx"
    derive(source, "int8", target, made, calibration=calibrate(source, "x", images))
    graph = onnx.load(made).graph
    constants = {entry.name: numpy_helper.to_array(entry) for entry in graph.initializer}
    pairs = {node.output[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
    folded = fold(source).graph
    weights = {entry.name: list(entry.dims) for entry in folded.initializer}
    layers = [node for node in folded.node if node.op_type in ("Conv", "MatMul")]
    assert len(layers) >= 2
    behind = {node.name: list(node.input) for node in graph.node}
    for layer in layers:
        axis = int(layer.op_type == "MatMul")
        pair = pairs[behind[layer.name][1]]
        assert constants[pair.input[1]].size == weights[layer.input[1]][axis], layer.name
        assert helper.get_node_attr_value(pair, "axis") == axis


@pytest.mark.parametrize(("rows", "is_conversion"), [(4, True), (8, False)])
@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_a_conversion_of_boxes_is_no_layer(
    precision: str, rows: int, is_conversion: bool, tmp_path: Path
) -> None:
    net = SmallNet()
    rates = net.add("Sigmoid", net.conv("x", 3, rows, name="head"), name="rates")
    flat = net.add("Reshape", rates, net.integers(1, rows, 256), name="flat")
    boxes = net.add("Transpose", flat, perm=[0, 2, 1], name="boxes")
    converted = net.add("MatMul", boxes, net.weight(rows, 4), name="convert")
    best = net.add("ReduceMax", converted, axes=[2], keepdims=0, name="best")
    net.add("TopK", best, net.integers(5), outputs="y places", name="top")
    source = tmp_path / "net.onnx"
    onnx.save(net.model(), source)
    calibration = calibrated(source) if precision == "int8" else None
    made = tmp_path / "made.onnx"
    report = derive(source, precision, "onnxruntime", made, calibration=calibration)
    kept = report.kept.keys() & {"head", "rates", "boxes", "convert", "best", "top"}
    after = {"rates", "boxes", "convert"} if is_conversion else set()
    assert kept == after | {"best", "top"}
