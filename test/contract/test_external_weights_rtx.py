"""Engines of models with external weights, with the real TensorRT-RTX."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import gpu_kit
from edge_inference.backends.trt.metadata import read_sidecar
from edge_inference.cli.command_line import run
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.onnx_format.onnx_files import onnx_digest
from edge_inference.engines.cache.artifacts import default_cache
from edge_inference.engines.precision import external_weights, onnx_file
from external_weights import DATA, retrain, split_model
from small_model import write_model


@pytest.fixture(scope="module", autouse=True)
def tensorrt() -> None:
    gpu_kit.tensorrt_rtx()


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelDescription:
    monkeypatch.setenv("EDGE_INFERENCE_CACHE", str(tmp_path / "cache"))
    return split_model(write_model(tmp_path / "small"))


def build(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> dict[str, Any]:
    code = run(["engine", "build", *map(str, arguments), "--json"])
    shown = capsys.readouterr()
    assert code == 0, shown.err
    return dict(json.loads(shown.out.splitlines()[-1])["summary"])


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_retrained_weights_get_another_engine(
    precision: str, model: ModelDescription, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (model.folder, "--precision", precision)
    first = build(capsys, *arguments)
    assert build(capsys, *arguments)["from_cache"] is True
    before = Path(first["plan"]).read_bytes()
    second = build(capsys, *([retrain(model).folder, *arguments[1:]]))
    assert second["from_cache"] is False
    assert second["plan"] != first["plan"]
    assert Path(second["plan"]).read_bytes() != before


@pytest.mark.parametrize("is_link", [False, True])
def test_the_engine_of_a_file_names_all_of_its_weights(
    is_link: bool, model: ModelDescription, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, weights = model.variants["fp32"].file, model.folder / DATA
    if is_link:
        for place in (file, weights):
            blob = tmp_path / f"blob_{place.name}"
            place.rename(blob)
            place.symlink_to(blob)
    plan = Path(build(capsys, "--onnx", file, "--output", tmp_path / "a.plan")["plan"])
    assert read_sidecar(plan).onnx_sha256 == onnx_digest(file)


@pytest.mark.parametrize(
    ("content", "words"), [(None, "no such file"), (b"short", "expected at least")]
)
def test_an_engine_is_not_built_from_incomplete_weights(
    content: bytes | None,
    words: str,
    model: ModelDescription,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    weights = model.folder / DATA
    weights.unlink() if content is None else weights.write_bytes(content)
    plan = tmp_path / "a.plan"
    file = model.variants["fp32"].file
    assert run(["engine", "build", "--onnx", str(file), "--output", str(plan)]) == 1
    sentence = capsys.readouterr().err
    assert f"{weights}: {words}" in sentence
    assert sentence.count("\n") == 1
    assert not plan.exists()


def test_a_derived_model_in_two_files_is_built(
    model: ModelDescription, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "MAX_EMBEDDED_BYTES", 100)
    monkeypatch.setattr(external_weights, "MIN_LARGE_BYTES", 100)
    built = build(capsys, model.folder, "--precision", "fp16")
    assert built["layers"]["fp16"] > 1
    files = [set(entry.files) for entry in default_cache().entries()]
    assert {"model.onnx", "model.onnx.data"} in files
