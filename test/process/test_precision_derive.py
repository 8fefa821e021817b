"""Deriving a model: invalid files, unknown names, missing packages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import helper

from edge_inference.engines.precision.derive import derive
from edge_inference.engines.precision.folding import fold
from edge_inference.errors import BackendError, ConfigError, EdgeInferenceError, ModelError
from precision_networks import calibrated, classifier, make_images, run, write


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return classifier(tmp_path / "net.onnx")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "got an empty file"),
        (b"hello, this is text", "got text, 'hello, this is text'"),
        (bytes(range(256)), "got a file of another format"),
        (b"version https://git-lfs.github.com/spec/v1\n", "got a Git LFS pointer; run git lfs"),
    ],
)
def test_a_file_that_is_not_onnx_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    source = tmp_path / "bad.onnx"
    source.write_bytes(content)
    with pytest.raises(ModelError, match=message) as caught:
        derive(source, "fp16", "tensorrt", tmp_path / "made.onnx")
    assert str(caught.value).startswith(f"{source}: ")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "made.onnx").exists()


def test_a_truncated_file_is_refused(network: Path, tmp_path: Path) -> None:
    whole = network.read_bytes()
    for part in range(1, 8):
        network.write_bytes(whole[: len(whole) * part // 8])
        with pytest.raises(EdgeInferenceError, match=r"net\.onnx: "):
            derive(network, "fp16", "tensorrt", tmp_path / "made.onnx")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.onnx: no such file"):
        derive(tmp_path / "none.onnx", "fp16", "tensorrt", tmp_path / "made.onnx")


def test_an_unknown_opset_is_refused(network: Path, tmp_path: Path) -> None:
    model = onnx.load(network)
    model.opset_import[0].version = 999
    onnx.save(model, network)
    with pytest.raises(ModelError, match=r"opset is 999, but the package onnx .* supports up to"):
        derive(network, "fp16", "tensorrt", tmp_path / "made.onnx")


def test_an_unknown_operator_is_refused(network: Path, tmp_path: Path) -> None:
    model = onnx.load(network)
    model.opset_import.append(helper.make_opsetid("made.up", 1))
    model.graph.node[1].op_type, model.graph.node[1].domain = "Frobnicate", "made.up"
    onnx.save(model, network)
    with pytest.raises(BackendError, match=r"\(Frobnicate\) is a custom operator"):
        derive(network, "fp16", "tensorrt", tmp_path / "made.onnx")


@pytest.mark.parametrize(
    ("precision", "target", "message"),
    [
        ("fp32", "tensorrt", "precision: expected one of fp16, int8, got 'fp32'"),
        ("int4", "tensorrt", "got 'int4'"),
        ("fp16", "openvino", "target: expected one of onnxruntime, tensorrt, got 'openvino'"),
    ],
)
def test_an_unknown_argument_is_refused(
    precision: str, target: str, message: str, network: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        derive(network, precision, target, tmp_path / "made.onnx")


def test_int8_needs_the_calibration_of_the_file(network: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"net\.onnx: int8 needs a calibration"):
        derive(network, "int8", "tensorrt", tmp_path / "made.onnx")
    ranges = calibrated(network)
    model = onnx.load(network)
    model.producer_name = "another"
    onnx.save(model, network)
    with pytest.raises(ModelError, match=r"another ONNX file.*calibrate again"):
        derive(network, "int8", "tensorrt", tmp_path / "made.onnx", calibration=ranges)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_an_unknown_node_is_refused_with_the_nearest_names(
    precision: str, network: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        ModelError, match=r"no node has the name 'conv2'.*nearest names are conv_2, conv_1"
    ):
        derive(
            network,
            precision,
            "onnxruntime",
            tmp_path / "made.onnx",
            keep_fp32=["conv_1", "conv2"],
            calibration=calibrated(network),
        )


def test_a_failure_keeps_the_existing_file(network: Path, tmp_path: Path) -> None:
    made = tmp_path / "made.onnx"
    made.write_text("the one before")
    with pytest.raises(ModelError):
        derive(network, "fp16", "tensorrt", made, keep_fp32=["unknown"])
    assert made.read_text() == "the one before"
    with pytest.raises(ModelError, match="cannot be written"):
        derive(network, "fp16", "tensorrt", tmp_path / "no" / "folder.onnx")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["made.onnx", "net.onnx"]


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_is_named(
    package: str, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(BackendError, match=f"pip install {package}"):
        derive(network, "fp16", "tensorrt", tmp_path / "made.onnx")


def test_the_report_describes_the_derived_model(network: Path, tmp_path: Path) -> None:
    made = tmp_path / "made.onnx"
    report = derive(network, "fp16", "tensorrt", made, keep_fp32=["gemm", "flatten"])
    assert report.summary().startswith(
        "fp16 for tensorrt: 5 nodes in fp16, 2 in fp32 (2 requested), opset 17, 0.0 -> 0.0 MB"
    )
    assert (report.bytes, report.source_bytes) == (made.stat().st_size, network.stat().st_size)


def test_unnamed_nodes_get_names(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"], name="Neg_2"),
        helper.make_node("Neg", ["b"], ["y"]),
    ]
    source = write(tmp_path / "net.onnx", nodes, {}, ["y"])
    names = [node.name for node in fold(source).graph.node]
    assert len(set(names)) == len(names)
    assert all(names)
    report = derive(source, "fp16", "tensorrt", tmp_path / "made.onnx", keep_fp32=[names[-1]])
    assert report.kept == {names[-1]: "requested"}


def test_folding_changes_no_result(network: Path, tmp_path: Path) -> None:
    folded = tmp_path / "folded.onnx"
    onnx.save(fold(network), folded)
    (batch,) = make_images(1)
    assert run(folded, batch)[0] == pytest.approx(run(network, batch)[0], abs=1e-5)


def test_another_process_writes_the_same_bytes(network: Path, tmp_path: Path) -> None:
    calibrated(network).save(tmp_path / "calibration.json")
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from edge_inference.engines.precision.calibration import Calibration\n"
        "from edge_inference.engines.precision.derive import derive\n"
        "source, ranges, made = map(Path, sys.argv[1:])\n"
        "derive(source, 'int8', 'onnxruntime', made, calibration=Calibration.load(ranges))\n"
    )
    found = set()
    for seed in ("1", "2"):
        made = tmp_path / f"{seed}.onnx"
        command: list[Any] = [sys.executable, "-c", script, network, tmp_path / "calibration.json"]
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])}
        subprocess.run([*command, made], check=True, env=environment)
        found.add(made.read_bytes())
    assert len(found) == 1
