"""The layers of real models in ONNX Runtime, and the command that shows them."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edge_inference.backends.null import NullBackend
from edge_inference.backends.ort import CPU, OrtBackend
from edge_inference.cli.command_line import run
from edge_inference.core.models.model import ModelDescription, load_model
from edge_inference.core.models.model_search import find_model
from edge_inference.engines.interleaved_timing import WARM_UP_CALLS
from edge_inference.errors import BackendError, CancelledError
from edge_inference.observe.profiling.layer_advice import ProfiledEngine, advise
from edge_inference.observe.profiling.layer_measurement import (
    MeasuredLayers,
    input_of,
    measure_layers,
)
from graph_kit import make_model
from small_model import write_model
from trace_format import faults_of, slices_of

RNG = np.random.default_rng(5)
SIDE = 64
IMAGE = [1, 8, SIDE, SIDE]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> ModelDescription:
    return load_model(write_model(tmp_path_factory.mktemp("models") / "small"))


def node(kind: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), outputs.split(), f"the_{outputs}", **attributes)


def measure(folder: Path, model: onnx.ModelProto, runs: int = 8) -> MeasuredLayers:
    """Measure a model on noise."""
    onnx.save(model, folder / "model.onnx")
    with OrtBackend(folder / "model.onnx") as backend:
        inputs = {
            spec.name: RNG.random([length or 1 for length in spec.shape]).astype(spec.dtype)
            for spec in backend.inputs
        }
    return measure_layers(OrtBackend(folder / "model.onnx"), inputs, runs)


def check_sums(measured: MeasuredLayers) -> None:
    profile = measured.profile
    assert 0 < profile.layers_ms <= profile.run_ms
    assert sum(layer.share for layer in profile.layers) <= 1
    for run_ in measured.recorded:
        assert sum(each.self_us for each in run_.nodes) <= run_.duration_us


def test_the_shipped_detector() -> None:
    model = find_model("nanodet")
    runs = 6
    backend = OrtBackend(model.variants["fp32"].file, (CPU,)).fit_to(model)
    fractions: list[float] = []
    measured = measure_layers(backend, input_of(model), runs, fractions.append)
    check_sums(measured)
    profile = measured.profile
    assert (profile.runs, profile.used, len(measured.recorded)) == (6, 3, 6)
    assert len(fractions) == runs + WARM_UP_CALLS
    assert fractions[-1] == 1.0
    # Fusions change the other operators, but no convolution disappears.
    graph = onnx.load(model.variants["fp32"].file, load_external_data=False).graph
    convolutions = sum(each.op_type == "Conv" for each in graph.node)
    assert profile.by_operator()["Conv"][0] == convolutions
    assert all(
        layer.kind.precision == "fp32" and layer.kind.weighted
        for layer in profile.layers
        if layer.kind.operator == "Conv"
    )
    # The backend is closed, and could serve again.
    with pytest.raises(BackendError, match="not open"):
        backend.infer(input_of(model))


def test_a_quantized_graph(tmp_path: Path) -> None:
    measured = measure(tmp_path, quantized())
    check_sums(measured)
    integer = [layer for layer in measured.profile.layers if layer.kind.precision == "int8"]
    assert [layer.kind.operator for layer in integer if layer.kind.weighted] == ["QLinearConv"]


def test_no_file_remains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    measure(tmp_path, network(node("Relu", "x", "y")))
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_measurement_can_be_cancelled(tmp_path: Path) -> None:
    onnx.save(network(node("Relu", "x", "y")), tmp_path / "model.onnx")
    backend = OrtBackend(tmp_path / "model.onnx")
    with pytest.raises(CancelledError):
        measure_layers(backend, {"x": np.zeros(IMAGE, np.float32)}, 5, cancelled=lambda: True)


def test_a_backend_without_layers_is_refused() -> None:
    with pytest.raises(BackendError, match=r"backend 'null' measures no layers: expected ort"):
        measure_layers(NullBackend((), ()), {}, 1)


def network(*nodes: onnx.NodeProto, shape: Any = IMAGE, **constants: Any) -> onnx.ModelProto:
    return make_model(nodes, {"x": shape}, {"y": [None] * len(shape)}, **constants)


def convolutions() -> onnx.ModelProto:
    weights = RNG.normal(size=(32, 8, 3, 3)).astype(np.float32)
    return network(node("Conv", "x w", "a", pads=[1] * 4), node("Relu", "a", "y"), w=weights)


def quantized(*, is_broken_up: bool = False) -> onnx.ModelProto:
    """Return a quantized convolution; or between operators that have no kernel in int8."""
    scale, zero = np.array(0.02, np.float32), np.array(128, np.uint8)
    constants = {
        "s": scale,
        "z": zero,
        "w": RNG.integers(-100, 100, (8, 8, 1, 1), dtype=np.int8),
        "zw": np.array(0, np.int8),
    }
    nodes = [node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "d")]
    last = "d"
    for index in range(4 if is_broken_up else 0):
        nodes += [
            node("Erf", last, f"e{index}"),
            node("QuantizeLinear", f"e{index} s z", f"q{index}"),
            node("DequantizeLinear", f"q{index} s z", f"d{index}"),
        ]
        last = f"d{index}"
    nodes += [
        node("DequantizeLinear", "w s zw", "dw"),
        node("Conv", f"{last} dw", "c"),
        node("QuantizeLinear", "c s z", "qc"),
        node("DequantizeLinear", "qc s z", "y"),
    ]
    return network(*nodes, **constants)


def doubles() -> onnx.ModelProto:
    return network(
        node("Cast", "x", "a", to=TensorProto.DOUBLE),
        node("Sin", "a", "b"),
        node("Cast", "b", "y", to=TensorProto.FLOAT),
    )


def nms() -> onnx.ModelProto:
    boxes = RNG.random((1, 2000, 4)).astype(np.float32)
    constants = {"n": np.array(2000, np.int64), "t": np.array(0.99, np.float32), "boxes": boxes}
    nodes = [node("NonMaxSuppression", "boxes x n t", "i"), node("Cast", "i", "y", to=1)]
    return make_model(nodes, {"x": [1, 2, 2000]}, {"y": [None, 3]}, **constants)


def shapes() -> onnx.ModelProto:
    """Flatten as exporters do for a dynamic batch."""
    nodes = []
    for index in range(6):
        nodes += [
            node("Shape", "x", f"s{index}"),
            node("Gather", f"s{index} zero", f"n{index}"),
            node("Unsqueeze", f"n{index} zero1", f"u{index}"),
        ]
    joined = " ".join(f"u{index}" for index in range(6))
    nodes += [node("Concat", joined, "c", axis=0), node("Cast", "c", "y", to=1)]
    constants = {"zero": np.array(0, np.int64), "zero1": np.array([0], np.int64)}
    return make_model(nodes, {"x": ["n", 3, 2, 2]}, {"y": [6]}, **constants)


def loop() -> onnx.ModelProto:
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"], "keep"),
            helper.make_node("Tanh", ["v"], ["w"], "inner"),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, [1, 3, 2, 2]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("w", TensorProto.FLOAT, [1, 3, 2, 2]),
        ],
    )
    nodes = [helper.make_node("Loop", ["n", "", "x"], ["y"], "the_loop", body=body)]
    return network(*nodes, shape=[1, 3, 2, 2], n=np.array(50, np.int64))


def transposes() -> onnx.ModelProto:
    order = [0, 2, 3, 1]
    return network(node("Transpose", "x", "a", perm=order), node("Exp", "a", "y"))


@pytest.mark.parametrize(
    ("make", "precision", "title"),
    [
        (convolutions, "int8", "layers with weights in fp32"),
        (lambda: quantized(is_broken_up=True), "int8", "quantization left between layers"),
        (doubles, "fp32", "64-bit numbers"),
        (nms, "fp32", "selection of boxes"),
        (shapes, "fp32", "arithmetic on shapes"),
        (loop, "fp32", "control flow"),
        (transposes, "fp32", "transposes"),
    ],
)
def test_a_graph_gets_its_advice(
    tmp_path: Path, small: ModelDescription, make: Any, precision: str, title: str
) -> None:
    measured = measure(tmp_path, make())
    check_sums(measured)
    advice = advise(measured.profile, ProfiledEngine(small, "ort", precision))
    assert title in [each.title for each in advice]


@pytest.mark.parametrize(("make", "precision"), [(convolutions, "fp32"), (quantized, "int8")])
def test_a_sound_graph_gets_none(
    tmp_path: Path, small: ModelDescription, make: Any, precision: str
) -> None:
    measured = measure(tmp_path, make())
    assert advise(measured.profile, ProfiledEngine(small, "ort", precision)) == []


def test_inner_nodes_of_a_loop_are_layers_of_their_own(tmp_path: Path) -> None:
    measured = measure(tmp_path, loop())
    check_sums(measured)
    operators = [layer.kind.operator for layer in measured.profile.layers]
    assert {"Loop", "Tanh"} <= set(operators)
    inner = [each for each in measured.recorded[0].nodes if each.operator == "Tanh"]
    assert len(inner) == 50


# The command --------------------------------------------------------------------------------------


def test_the_command_prints_the_layers_and_writes_a_trace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, file = write_model(tmp_path / "small"), tmp_path / "layers.json"
    options = ["--backend", "ort", "--runs", "4", "--trace", str(file)]
    assert run(["profile", "--model", str(folder), *options]) == 0
    text = capsys.readouterr().out
    assert "small on ort in fp32: ONNX Runtime" in text
    assert "mean of the faster 2 of 4 runs" in text
    assert "GPU memory: not measured" in text
    assert "GlobalAveragePool" in text
    trace = json.loads(file.read_text())
    assert faults_of(trace) == []
    runs = slices_of(trace, "inference")
    assert [event["name"] for event in runs] == [f"inference {n}" for n in (1, 2, 3, 4)]
    layers = slices_of(trace, "layer")
    assert len(layers) % 4 == 0
    assert all(
        any(run_["ts"] <= each["ts"] <= run_["ts"] + run_["dur"] for run_ in runs)
        for each in layers
    )


def test_the_command_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_model(tmp_path / "small")
    assert run(["profile", "--model", str(folder), "--backend", "ort", "--json"]) == 0
    *layers, last = map(json.loads, capsys.readouterr().out.splitlines())
    summary = last["summary"]
    assert summary["layers"] == len(layers)
    assert summary["layers_ms"] == pytest.approx(sum(layer["ms"] for layer in layers))
    assert summary["layers_ms"] <= summary["inference_ms"]
    assert summary["gpu_memory_mib"] is None
    assert {layer["operator"] for layer in layers} == set(summary["operators"])


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ([], 2, "expected --model, --pipeline or --live"),
        (["--model", "no_such_model"], 1, "no_such_model"),
        (["--model", "nanodet", "--backend", "null"], 1, "'null' measures no layers"),
        (["--model", "nanodet", "--seconds", "3"], 2, "--seconds is for --pipeline or --live"),
        (["--model", "nanodet", "--stacks", "a.svg"], 2, "--stacks is for --pipeline"),
        (["--model", "nanodet", "--trace", "a.txt"], 1, "ends in .json, .json.gz or .html"),
        (["--model", "nanodet", "--trace", "/no/such/a.json"], 1, "folder does not exist"),
        (["--model", "nanodet", "--int8-mode", "fast"], 2, "--int8-mode fast is for"),
        (["--pipeline", "perception"], 2, "needs --source"),
        (["--pipeline", "perception", "--source", "sample", "--runs", "3"], 2, "--runs is for"),
        (["--pipeline", "voice", "--source", "sample", "--rate", "3"], 2, "voice has no such"),
        (["--pipeline", "perception", "--source", "no.mp4"], 1, "no.mp4"),
        (["--live", "--source", "sample"], 2, "--source is for --pipeline"),
        (["--live", "--model", "nanodet"], 2, "--model is for --pipeline"),
        (["--live", "--precision", "int8"], 2, "--precision is for --pipeline"),
        (
            ["--pipeline", "perception", "--source", "sample", "--namespace", "ai"],
            2,
            "--namespace is for --live",
        ),
    ],
)
def test_a_wrong_command_is_one_sentence(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, text: str
) -> None:
    assert run(["profile", *arguments]) == code
    errors = capsys.readouterr().err
    assert text in errors
    assert errors.count("\n") == 1


def test_a_trace_that_is_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "trace.json"
    folder.mkdir()
    assert run(["profile", "--model", "nanodet", "--trace", str(folder)]) == 1
    assert "expected the name of a file, got a folder" in capsys.readouterr().err


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_trace_in_a_folder_without_permission(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tmp_path.chmod(0o500)
    assert run(["profile", "--model", "nanodet", "--trace", str(tmp_path / "a.json")]) == 1
    assert "allow this user to write there" in capsys.readouterr().err
