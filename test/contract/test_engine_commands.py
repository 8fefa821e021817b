"""``edge-inference engine`` with the real TensorRT-RTX, which builds on machines without a GPU."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

import gpu_kit
from edge_inference.backends.trt.metadata import read_sidecar, write_sidecar
from edge_inference.cli.command_line import run
from edge_inference.core.models.model_search import find_model
from edge_inference.engines.cache.artifacts import default_cache, engine_plan

MODELS = Path(__file__).parents[2] / "models"
MakeOnnx = Callable[..., Path]


@pytest.fixture(scope="module", autouse=True)
def tensorrt() -> None:
    gpu_kit.tensorrt_rtx()


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Share one cache between the tests, so that each engine is built once."""
    folder = tmp_path_factory.getbasetemp() / "engine_commands"
    monkeypatch.setenv("EDGE_INFERENCE_CACHE", str(folder))


def build(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> dict[str, Any]:
    """Build and return the summary."""
    code = run(["engine", "build", *map(str, arguments), "--json"])
    shown = capsys.readouterr()
    assert code == 0, shown.err
    return dict(json.loads(shown.out.splitlines()[-1])["summary"])


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """Expect one sentence."""
    assert run(["engine", *map(str, arguments)]) == 1
    sentence = capsys.readouterr().err
    assert sentence.startswith("edge-inference: ")
    assert sentence.count("\n") == 1
    return sentence


@pytest.mark.parametrize("name", ["nanodet", "efficientnet_lite0"])
def test_the_node_finds_the_engine(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    model = find_model(name, [MODELS])
    first = build(capsys, name, "--model-path", MODELS)
    assert first["precision"] == "fp16"
    assert first["layers"]["fp16"] > 50
    found = engine_plan(model, "fp16").find(default_cache())
    assert str(found) == first["plan"]
    again = build(capsys, name, "--model-path", MODELS)
    assert (again["from_cache"], again["plan"]) == (True, first["plan"])

    assert run(["engine", "inspect", name, "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert described["model"] == name
    assert described["layer_precisions"] == first["layers"]
    assert run(["engine", "check", name]) == 0
    assert "files: verified" in capsys.readouterr().out


def test_a_damaged_engine_is_built_again(capsys: pytest.CaptureFixture[str]) -> None:
    first = build(capsys, "nanodet", "--precision", "fp32")
    plan = Path(first["plan"])
    plan.write_bytes(plan.read_bytes()[:1000])
    assert "1000" in refused(capsys, "check", "nanodet", "--precision", "fp32")
    assert run(["engine", "list"]) == 1
    assert str(plan) in capsys.readouterr().err
    again = build(capsys, "nanodet", "--precision", "fp32")
    assert again["from_cache"] is False
    assert "built again" in again["notes"][0]
    assert run(["engine", "list"]) == 0


def test_a_plan_file_with_a_range_of_batches(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "lite.plan"
    arguments = ("--batch", "1:4:8", "--output", file, "--timing-cache", tmp_path / "timing")
    built = build(capsys, "efficientnet_lite0", "--precision", "fp32", *arguments)
    assert built["plan"] == str(file)
    metadata = read_sidecar(file)
    assert metadata.profiles["image"] == ((1, 3, 224, 224), (4, 3, 224, 224), (8, 3, 224, 224))
    assert metadata.plan_bytes == file.stat().st_size
    assert run(["engine", "inspect", str(file)]) == 0
    assert "1x3x224x224 to 8x3x224x224, best at 4x3x224x224" in capsys.readouterr().out
    assert run(["engine", "check", str(file)]) == 0


def test_options_other_than_the_nodes_give_a_note(capsys: pytest.CaptureFixture[str]) -> None:
    built = build(capsys, "nanodet", "--optimization-level", "0")
    assert "section engine of model.yaml" in built["notes"][-1]


def test_a_plan_of_another_version_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "old.plan"
    build(capsys, "nanodet", "--output", plan)
    metadata = read_sidecar(plan)
    environment = dataclasses.replace(metadata.environment, version="1.0.0")
    write_sidecar(plan, dataclasses.replace(metadata, environment=environment))
    sentence = refused(capsys, "check", plan)
    assert "built by tensorrt_rtx 1.0.0, this machine has" in sentence
    assert "edge-inference engine build" in sentence


def test_a_dynamic_axis_without_sizes_is_refused(
    doubling_onnx: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "x.plan"
    sentence = refused(capsys, "build", "--onnx", doubling_onnx, "--output", plan)
    assert "axis 0 (batch) is dynamic" in sentence
    assert "--batch 1:4:8" in sentence
    assert build(capsys, "--onnx", doubling_onnx, "--output", plan, "--batch", "2")["plan"]


def test_an_onnx_that_tensorrt_cannot_parse_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = [1, 4]
    graph = helper.make_graph(
        [helper.make_node("Wobble", ["x"], ["y"], "wobbly", domain="mine")],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, one)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, one)],
    )
    domains = [helper.make_opsetid("", 13), helper.make_opsetid("mine", 1)]
    file, plan = tmp_path / "odd.onnx", tmp_path / "odd.plan"
    onnx.save(helper.make_model(graph, opset_imports=domains, ir_version=8), file)
    sentence = refused(capsys, "build", "--onnx", file, "--output", plan)
    assert "wobbly" in sentence or "Wobble" in sentence
    file.write_bytes(file.read_bytes()[:-20])
    assert "odd.onnx" in refused(capsys, "build", "--onnx", file, "--output", plan)
    precision = ("--precision", "fp16")
    nanodet = MODELS / "nanodet" / "nanodet.onnx"
    sentence = refused(capsys, "build", "--onnx", nanodet, "--output", plan, *precision)
    assert "expected an fp16 ONNX" in sentence
    assert not plan.exists()


def test_int8_of_a_quantized_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = MODELS / "efficientnet_lite0" / "golden"
    folder = tmp_path / "lite_int8"
    arguments = ["--calibration", str(images), "--output", str(folder), "--force"]
    source = MODELS / "efficientnet_lite0"
    # On few images it may miss its thresholds; this test needs only the engine.
    run(["quantize", str(source), *arguments])
    capsys.readouterr()
    built = build(capsys, folder, "--precision", "int8")
    assert built["layers"]["int8"] > 50
    assert built["bytes"] > 1_000_000
