"""What the error says where the name of a model is that of a file or folder here."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_inference.core.models.model_search import find_model
from edge_inference.errors import ModelError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("net.onnx", "my net.onnx", "mine/net.onnx", "mine/model.yaml", "plain/net.onnx"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("net.onnx", "write one for it with: edge-inference models new net.onnx"),
        ("./net.onnx", "write one for it with: edge-inference models new net.onnx"),
        ("my net.onnx", "write one for it with: edge-inference models new 'my net.onnx'"),
        ("plain/net.onnx", "write one for it with: edge-inference models new plain/net.onnx"),
        ("mine/net.onnx", "give its folder, ./mine"),
        ("../{here}/mine/net.onnx", "give its folder, ../{here}/mine"),
        ("mine/model.yaml", "give its folder, ./mine"),
    ],
)
def test_a_file(folder: Path, name: str, advice: str) -> None:
    name, advice = (text.replace("{here}", folder.name) for text in (name, advice))
    with pytest.raises(ModelError, match="expected a model folder, got a file") as caught:
        find_model(name, ())
    assert str(caught.value).endswith(f"; {advice}")


def test_a_folder_here() -> None:
    with pytest.raises(ModelError, match="unknown model 'mine'") as caught:
        find_model("mine", ())
    assert str(caught.value).endswith("; the folder of that name here is ./mine: give this path")


@pytest.mark.parametrize("name", ["plain", "x" * 5000, "a\0b"])
def test_another_name(name: str) -> None:
    with pytest.raises(ModelError, match="unknown model") as caught:
        find_model(name, ())
    assert str(caught.value).endswith("; add folders with EDGE_INFERENCE_MODELS, or give a path")
