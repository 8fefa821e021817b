"""int8 with 7-bit weights of some nodes, and with fp16 as the rest for TensorRT."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto

from edge_inference.core.models.model import ModelDescription, load_model
from edge_inference.core.models.variants import Derivation
from edge_inference.engines.cache.artifact_cache import key_of
from edge_inference.engines.cache.artifacts import DerivedModel
from edge_inference.engines.precision.derive import derive
from edge_inference.engines.precision.folding import fold, folded_once
from edge_inference.errors import ModelError
from input_kinds import write_classifier
from int8_sums import can_saturate, int8_weights
from precision_networks import calibrated, classifier, make_images, nodes_of


def test_only_the_named_nodes_have_7_bit_weights(tmp_path: Path) -> None:
    source = classifier(tmp_path / "net.onnx")
    made = tmp_path / "int8.onnx"
    calibration = calibrated(source)
    derive(source, "int8", "onnxruntime", made, calibration=calibration, reduce_range=["conv_*"])
    saturating = {name.partition("_")[0]: can_saturate(w) for name, w in int8_weights(made).items()}
    assert saturating == {"w1": False, "w2": False, "w3": True}
    with pytest.raises(ModelError, match="so it cannot have 7-bit weights; the nearest"):
        derive(source, "int8", "onnxruntime", made, calibration=calibration, reduce_range=["no"])


def test_the_rest_in_fp16_for_tensorrt(tmp_path: Path) -> None:
    source = classifier(tmp_path / "net.onnx")
    calibration = calibrated(source)
    files = {rest: tmp_path / f"{rest}.onnx" for rest in ("fp32", "fp16")}
    for rest, file in files.items():
        report = derive(
            source, "int8", "tensorrt", file, calibration=calibration, rest=rest, keep_fp32=["gemm"]
        )
        assert f" in {rest} (" in report.summary()
    graph = onnx.load(files["fp16"]).graph
    assert not [t.name for t in graph.initializer if t.data_type == TensorProto.FLOAT]
    assert [entry.type.tensor_type.elem_type for entry in graph.output] == [TensorProto.FLOAT]
    # ONNX Runtime's optimizer multiplies fp16 scales, which vanish; TensorRT does not.
    outputs = [_run_plainly(file) for file in files.values()]
    noise = np.square(outputs[1] - outputs[0]).mean() / np.square(outputs[0]).mean()
    assert 0 < noise < 1e-3


def test_a_node_of_the_rest_stays_in_fp32(tmp_path: Path) -> None:
    source = classifier(tmp_path / "net.onnx")
    made = tmp_path / "int8.onnx"
    calibration = calibrated(source)
    derive(
        source,
        "int8",
        "tensorrt",
        made,
        calibration=calibration,
        rest="fp16",
        rest_keep_fp32=["gemm"],
        keep_fp32=["gemm"],
    )
    constants = {entry.name: entry.data_type for entry in onnx.load(made).graph.initializer}
    (gemm,) = nodes_of(made, lambda node: node.op_type == "Gemm")
    assert constants[gemm.input[1]] == TensorProto.FLOAT


def test_what_changes_the_file_changes_its_key(tmp_path: Path) -> None:
    folder = write_classifier(tmp_path / "model")
    model = load_model(folder)
    changes = ({}, {"int8_reduce_range": ("conv",)}, {"int8_rest": "fp16"})
    keys = {
        (target, number): key_of(DerivedModel(_with(model, change), "int8", target).parts())
        for target in ("onnxruntime", "tensorrt")
        for number, change in enumerate(changes)
    }
    assert len({keys["tensorrt", number] for number in range(3)}) == 3
    assert keys["onnxruntime", 0] != keys["onnxruntime", 1]
    assert keys["onnxruntime", 0] == keys["onnxruntime", 2], "on a CPU the rest is always fp32"


def _with(model: ModelDescription, change: dict[str, object]) -> ModelDescription:
    return dataclasses.replace(model, derive=Derivation(**change))  # type: ignore[arg-type]


def _run_plainly(file: Path) -> NDArray[np.float32]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"x": each})[0] for each in make_images()])


def test_a_network_folded_once_gives_the_same_models(tmp_path: Path) -> None:
    source = classifier(tmp_path / "net.onnx")
    calibration = calibrated(source)

    def made(name: str) -> bytes:
        file = tmp_path / name
        derive(source, "int8", "onnxruntime", file, calibration=calibration)
        return file.read_bytes()

    alone = made("alone.onnx")
    with folded_once(source) as network:
        before = network.SerializeToString(deterministic=True)
        assert [made("one.onnx"), made("two.onnx")] == [alone, alone]
        assert network.SerializeToString(deterministic=True) == before
        assert fold(source) is not network
        other = classifier(tmp_path / "other.onnx", opset=13)
        assert fold(other).opset_import[0].version == 13
    assert made("after.onnx") == alone
