"""How files are quantized, by a look at their structure, and their form for TensorRT."""

from __future__ import annotations

import builtins
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_inference.backends.ort import OrtBackend
from edge_inference.engines.precision.tensorrt_form import write_for_tensorrt
from edge_inference.engines.quantized.quantized_file import look_at
from edge_inference.errors import ModelError
from quantized_models import (
    LAYOUTS,
    SHAPE,
    WEIGHTS,
    finish,
    fp32_result,
    look,
    run_plainly,
    sample,
    write_layout,
)

BIAS = "biases in fp32"
MIDDLE = "uint8 activations around 128 as int8 around 0"
BYTES = "weights in symmetric int8"
OWN = "ONNX's Q/DQ operators instead of ONNX Runtime's"

SYMMETRIC = "Q/DQ, int8 activations, int8 weights per channel"
ASYMMETRIC = "Q/DQ, asymmetric int8 activations, int8 weights per channel"
UNSIGNED = "Q/DQ, asymmetric uint8 activations, int8 weights per channel"
AROUND_128 = "Q/DQ, uint8 activations, int8 weights per channel"
BIASES = ", quantized biases"

# layout -> description, what must change for TensorRT, part of the obstacle
EXPECTED: dict[str, tuple[str, set[str], str]] = {
    "fp32": ("not quantized", set(), ""),
    "pt2e symmetric": (SYMMETRIC, set(), ""),
    "pt2e per tensor": ("Q/DQ, int8 activations, int8 weights", set(), ""),
    "modelopt": (SYMMETRIC, set(), ""),
    "pt2e asymmetric": (ASYMMETRIC, set(), "int8 activations with"),
    "pt2e x86": (UNSIGNED, set(), "uint8 activations with"),
    "fx": (UNSIGNED + BIASES, set(), "uint8 activations with"),
    "fx symmetric": (SYMMETRIC + BIASES, {BIAS}, ""),
    "fx around 128": (AROUND_128 + BIASES, {BIAS, MIDDLE}, ""),
    "ort u8s8": (UNSIGNED + BIASES, set(), "uint8 activations with"),
    "ort s8s8": (ASYMMETRIC + BIASES, set(), "int8 activations with"),
    "ort symmetric": (SYMMETRIC + BIASES, {BIAS}, ""),
    "ort symmetric per tensor": (
        "Q/DQ, int8 activations, int8 weights, quantized biases",
        {BIAS},
        "",
    ),
    "ort around 128": (AROUND_128 + BIASES, {BIAS, MIDDLE}, ""),
    "uint8 from 0": (UNSIGNED, set(), "uint8 activations with the zero point 0"),
    "no zero point": (UNSIGNED, set(), "uint8 activations with the zero point 0"),
    "uint8 weights": ("Q/DQ, int8 activations, uint8 weights per channel", {BYTES}, ""),
    "asymmetric weights": (SYMMETRIC, {BYTES}, ""),
    "asymmetric numbers": ("Q/DQ, int8 activations, uint8 weights per channel", {BYTES}, ""),
    "int4 weights": (
        "Q/DQ, int8 activations, int4 weights per channel, quantized biases",
        {BIAS, BYTES, OWN},
        "",
    ),
    "ort operators": (SYMMETRIC, {OWN}, ""),
    "int16 activations": (
        "Q/DQ, int16 activations, int8 weights per channel",
        set(),
        "int16 activations with the zero point 0",
    ),
    "weights only": ("weights only, int8 weights per channel", set(), ""),
    "QOperator": ("QOperator, uint8 activations", set(), "TensorRT has no QLinearConv"),
    "dynamic": ("dynamic", set(), "TensorRT has no DynamicQuantizeLinear, ConvInteger"),
    "float8": ("Q/DQ, float8e4m3fn activations, float8e4m3fn weights", set(), ""),
    "only TensorRT": ("Q/DQ", set(), ""),
}
CHANGED = [name for name, (_, changes, _) in EXPECTED.items() if changes]
#: ONNX Runtime has no operators for one, and computes the other wrongly.
NOT_ON_ONNXRUNTIME = ("float8", "only TensorRT")


def run(file: Path, x: np.ndarray) -> np.ndarray:
    """Run a file as the product does: exactly, also on a CPU that adds products in 16 bits."""
    with OrtBackend(file) as backend:
        return np.asarray(backend.infer({"x": x})["y"])


def sqnr_db(reference: np.ndarray, values: np.ndarray) -> float:
    noise = np.square(values.astype(np.float64) - reference).mean()
    return float(10 * np.log10(np.square(reference.astype(np.float64)).mean() / noise))


def test_every_layout_is_expected() -> None:
    assert list(EXPECTED) == list(LAYOUTS)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_recognized_without_the_package_onnx(
    layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_layout(layout, tmp_path / "q.onnx")
    real_import = builtins.__import__

    def no_onnx(name: str, *rest: Any) -> Any:
        assert name.partition(".")[0] != "onnx"
        return real_import(name, *rest)

    monkeypatch.setattr(builtins, "__import__", no_onnx)
    found = look(file)
    monkeypatch.undo()
    description, changes, obstacle = EXPECTED[layout]
    assert found.describe() == description
    assert set(found.changes) == changes
    assert bool(found.obstacles) == bool(obstacle)
    assert obstacle in "; ".join(found.obstacles)
    assert found.fits_tensorrt == (not changes and not obstacle)
    assert bool(found.onnxruntime_obstacles) == (layout in NOT_ON_ONNXRUNTIME)
    assert found.computes_in_int8 == (layout not in ("fp32", "weights only"))


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name not in NOT_ON_ONNXRUNTIME])
def test_onnx_runtime_runs_every_other_layout(layout: str, tmp_path: Path) -> None:
    file = write_layout(layout, tmp_path / "q.onnx")
    x = np.abs(sample()) if "zero" in layout or "from 0" in layout else sample()
    # 4-bit weights have steps 16 times as large: 24 dB less.
    assert sqnr_db(fp32_result(x), run(file, x)) > (15 if "int4" in layout else 30)


def test_onnx_runtime_drops_a_relu_before_float8(tmp_path: Path) -> None:
    """If this fails, a newer ONNX Runtime computes float8: the obstacle can go."""
    file, x = write_layout("float8", tmp_path / "q.onnx"), sample()
    assert sqnr_db(fp32_result(x), run_plainly(file, x)) > 25
    if onnxruntime.__version__ == "1.32.0":
        assert sqnr_db(fp32_result(x), run(file, x)) < 10


@pytest.mark.parametrize("layout", CHANGED)
def test_the_form_for_tensorrt_has_the_same_result(layout: str, tmp_path: Path) -> None:
    source, changed = write_layout(layout, tmp_path / "q.onnx"), tmp_path / "changed.onnx"
    write_for_tensorrt(source, changed)
    assert look(changed).fits_tensorrt
    assert set(look(changed).activations) == {"int8"}
    assert set(look(changed).weights) == {"int8"}
    assert look(changed).per_channel == look(source).per_channel
    assert look(changed).biases == 0
    graph = onnx.load(changed).graph
    constants = {entry.name for entry in graph.initializer}
    pairs = [node for node in graph.node if node.op_type.endswith("eLinear")]
    assert constants.issuperset(name for node in pairs for name in node.input[1:])
    for seed in range(3):
        before = run_plainly(source, sample(seed))
        after = run_plainly(changed, sample(seed))
        np.testing.assert_allclose(after, before, rtol=0, atol=1e-6)
    again = tmp_path / "again.onnx"
    write_for_tensorrt(source, again)
    assert again.read_bytes() == changed.read_bytes()


def test_weights_that_exceed_a_signed_byte_are_rounded_by_half_a_step(tmp_path: Path) -> None:
    """All weights are positive: from 0 to 255 with the zero point 0."""
    weights = np.abs(WEIGHTS["w2"])
    scale = np.float32(weights.max() / 255)
    numbers = np.rint(weights / scale).astype(np.uint8)
    constants = [
        numpy_helper.from_array(values, name)
        for name, values in {
            "s": np.float32(1 / 127),
            "z": np.int8(0),
            "w": numbers,
            "ws": scale,
            "wz": np.uint8(0),
            "ones": np.ones((6, 3, 1, 1), np.float32),
        }.items()
    ]
    nodes = [
        helper.make_node("Conv", ["x", "ones"], ["wide"]),
        helper.make_node("QuantizeLinear", ["wide", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], "weights"),
        helper.make_node("Conv", ["d", "wd"], ["y"]),
    ]
    onnx.save(finish(nodes, constants), tmp_path / "q.onnx")
    write_for_tensorrt(tmp_path / "q.onnx", tmp_path / "t.onnx")
    graph = onnx.load(tmp_path / "t.onnx").graph
    arrays = {entry.name: numpy_helper.to_array(entry) for entry in graph.initializer}
    (pair,) = (
        node for node in graph.node if node.op_type == "QuantizeLinear" and "wd" in node.input[0]
    )
    step = float(arrays[pair.input[1]])
    assert step == pytest.approx(weights.max() / 127, rel=1e-5)
    error = arrays[pair.input[0]] - numbers * scale
    assert np.abs(error).max() <= step / 2 * 1.0001
    assert np.abs(error).max() > 0


def test_a_file_that_has_no_form_is_refused(tmp_path: Path) -> None:
    for layout, words in (("ort u8s8", "uint8 activations"), ("QOperator", "no QLinearConv")):
        file = write_layout(layout, tmp_path / "q.onnx")
        with pytest.raises(ModelError, match=words):
            write_for_tensorrt(file, tmp_path / "t.onnx")
    assert not (tmp_path / "t.onnx").exists()


def test_numbers_that_another_operator_reads_are_not_shifted(tmp_path: Path) -> None:
    model = LAYOUTS["ort around 128"]()
    pool = helper.make_node("MaxPool", ["x_q"], ["x_pooled"], kernel_shape=[1, 1])
    model.graph.node.insert(1, pool)
    dequantize = next(node for node in model.graph.node if node.output[0] == "x_dq")
    dequantize.input[0] = "x_pooled"
    onnx.save(model, tmp_path / "q.onnx")
    found = look(tmp_path / "q.onnx")
    assert found.obstacles == ("uint8 activations with the zero point 128",)


@pytest.mark.parametrize("how", ["cast to fp32", "output"])
def test_numbers_that_are_read_as_numbers_are_not_shifted(how: str, tmp_path: Path) -> None:
    """Their pair could be shifted, but then another reader would get other numbers."""
    model = LAYOUTS["ort around 128"]()
    if how == "output":
        info = helper.make_tensor_value_info("x_q", TensorProto.UINT8, SHAPE)
        model.graph.output.append(info)
    else:
        last = model.graph.node[-1]
        last.output[0] = "plain"
        model.graph.node.extend(
            [
                helper.make_node("Cast", ["x_q"], ["numbers"], to=TensorProto.FLOAT),
                helper.make_node("ReduceMean", ["numbers"], ["mean"]),
                helper.make_node("Add", ["plain", "mean"], ["y"]),
            ]
        )
    onnx.save(model, tmp_path / "q.onnx")
    found = look(tmp_path / "q.onnx")
    assert found.obstacles == ("uint8 activations with the zero point 128",)


def test_constants_that_an_old_file_lists_as_inputs_do_not_become_inputs(tmp_path: Path) -> None:
    model = LAYOUTS["ort symmetric"]()
    for entry in model.graph.initializer:
        info = helper.make_tensor_value_info(entry.name, entry.data_type, entry.dims)
        model.graph.input.append(info)
    onnx.save(model, tmp_path / "q.onnx")
    write_for_tensorrt(tmp_path / "q.onnx", tmp_path / "t.onnx")
    after = run_plainly(tmp_path / "t.onnx", sample())
    np.testing.assert_allclose(after, run_plainly(tmp_path / "q.onnx", sample()), atol=1e-6)


def test_a_file_with_external_weights_has_a_form(tmp_path: Path) -> None:
    external = {"save_as_external_data": True, "location": "w.bin", "size_threshold": 0}
    onnx.save(LAYOUTS["ort around 128"](), tmp_path / "q.onnx", **external)
    write_for_tensorrt(tmp_path / "q.onnx", tmp_path / "t.onnx")
    after = run_plainly(tmp_path / "t.onnx", sample())
    np.testing.assert_allclose(after, run_plainly(tmp_path / "q.onnx", sample()), atol=1e-6)


def test_a_zero_point_that_the_network_computes_is_not_known(tmp_path: Path) -> None:
    model = LAYOUTS["pt2e symmetric"]()
    model.graph.node.insert(0, helper.make_node("Max", ["x_zero", "w1_zero"], ["computed"]))
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            if name == "x_zero" and node.op_type != "Max":
                node.input[place] = "computed"
    onnx.save(model, tmp_path / "q.onnx")
    assert look(tmp_path / "q.onnx").obstacles == ("zero points that the network computes",)


def test_the_bias_with_a_computed_scale_is_refused(tmp_path: Path) -> None:
    model = LAYOUTS["ort symmetric"]()
    model.graph.node.insert(0, helper.make_node("Mul", ["x_scale", "w1_scale"], ["product"]))
    (bias,) = (node for node in model.graph.node if node.output[0] == "b1_dq")
    bias.input[1] = "product"
    onnx.save(model, tmp_path / "q.onnx")
    assert "scales of constants that the network computes" in look(tmp_path / "q.onnx").obstacles[0]


def test_pairs_in_a_branch_are_seen(tmp_path: Path) -> None:
    """Both branches quantize the network's input; one needs another form."""

    def branch(name: str, kind: str) -> onnx.GraphProto:
        names = [f"{name}_s", f"{name}_z"]
        zero = 128 if kind == "uint8" else 0
        return helper.make_graph(
            [
                helper.make_node("QuantizeLinear", ["x", *names], [f"{name}_q"]),
                helper.make_node("DequantizeLinear", [f"{name}_q", *names], [f"{name}_d"]),
            ],
            name,
            [],
            [helper.make_tensor_value_info(f"{name}_d", TensorProto.FLOAT, SHAPE)],
            [
                numpy_helper.from_array(np.float32(0.01), names[0]),
                numpy_helper.from_array(np.array(zero, kind), names[1]),
            ],
        )

    for kind, obstacles in (("int8", 0), ("uint8", 1)):
        node = helper.make_node(
            "If",
            ["yes"],
            ["y"],
            then_branch=branch("then", kind),
            else_branch=branch("else", "int8"),
        )
        graph = helper.make_graph(
            [node],
            "branches",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, SHAPE)],
            [numpy_helper.from_array(np.array(True), "yes")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        onnx.save(model, tmp_path / f"{kind}.onnx")
        found = look(tmp_path / f"{kind}.onnx")
        assert found.kind == "Q/DQ"
        assert len(found.obstacles) == obstacles, found


@pytest.mark.parametrize("form", ["raw", "fields", "external"])
@pytest.mark.parametrize("last", [0, 3])
def test_the_zero_point_of_every_channel_counts(form: str, last: int, tmp_path: Path) -> None:
    """Its numbers are bytes, or fields as ONNX Runtime writes them, or in a file of weights."""
    channels = 300
    points = np.zeros(channels, np.int8)
    points[-1] = last
    constants = [
        numpy_helper.from_array(np.ones((channels, 3, 1, 1), np.int8), "w"),
        numpy_helper.from_array(np.full(channels, 0.1, np.float32), "ws"),
        helper.make_tensor("wz", TensorProto.INT8, [channels], points.tolist())
        if form == "fields"
        else numpy_helper.from_array(points, "wz"),
    ]
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=0),
        helper.make_node("Conv", ["x", "wd"], ["y"]),
    ]
    model = finish(nodes, constants)
    external = {"save_as_external_data": True, "location": "w.bin", "size_threshold": 0}
    onnx.save(model, tmp_path / "q.onnx", **(external if form == "external" else {}))
    found = look(tmp_path / "q.onnx")
    assert found.weights == ("int8",)
    assert found.per_channel
    assert found.changes == ((BYTES,) if last else ())


def test_what_is_not_a_readable_onnx_file_has_no_description(tmp_path: Path) -> None:
    whole = write_layout("ort u8s8", tmp_path / "q.onnx").read_bytes()
    assert look_at(tmp_path / "missing.onnx") is None
    assert look_at(tmp_path) is None
    os.mkfifo(tmp_path / "pipe.onnx")
    assert look_at(tmp_path / "pipe.onnx") is None
    for length in range(0, len(whole), 97):  # cut off anywhere: no other exception
        (tmp_path / "cut.onnx").write_bytes(whole[:length])
        look_at(tmp_path / "cut.onnx")
    rng = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 5):
            damaged[place] = rng.integers(256)
        (tmp_path / "cut.onnx").write_bytes(damaged)
        look_at(tmp_path / "cut.onnx")


def test_a_changed_file_is_looked_at_again(tmp_path: Path) -> None:
    file = write_layout("fp32", tmp_path / "q.onnx")
    assert look(file).kind == ""
    write_layout("dynamic", file)
    assert look(file).kind == "dynamic"
