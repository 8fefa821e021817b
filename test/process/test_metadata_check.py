"""``models check`` tells where the exporter's metadata contradicts model.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_inference.cli.command_line import run
from metadata_model import write_model


@pytest.mark.parametrize(
    ("metadata", "line"),
    [
        ({"names": "['red', 'green', 'blue']"}, "  metadata: agrees with model.yaml\n"),
        (
            {"names": "['red', 'blue', 'green']"},
            "  metadata: the metadata of small.onnx calls class 1 'blue', model.yaml calls it "
            "'green'; correct labels, unless you renamed the class\n",
        ),
        ({"imgsz": "[32, 16]"}, "  metadata: the metadata of small.onnx says that its input is 16"),
        ({"author": "Ultralytics", "task": "classify"}, "  metadata: agrees with model.yaml\n"),
        ({}, None),
    ],
)
def test_a_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    metadata: dict[str, str],
    line: str | None,
) -> None:
    monkeypatch.setenv("EDGE_INFERENCE_CACHE", str(tmp_path / "cache"))
    folder = write_model(tmp_path / "colors", metadata)
    # A contradiction does not fail the check: what the model finds is what counts.
    assert run(["models", "check", str(folder), "--backend", "ort", "--precision", "fp32"]) == 0
    text = capsys.readouterr().out
    assert (line or "golden check: passed") in text
    assert text.count("metadata:") == (line is not None)


@pytest.mark.parametrize(
    ("std", "metadata", "line"),
    [
        (
            "[1.0]",
            {"author": "Ultralytics", "task": "classify"},
            "  metadata: the metadata of small.onnx says that it is of Ultralytics, whose models "
            "take pixels from 0 to 1, model.yaml has pixels from 0 to 255; correct input.std to "
            "[255.0]\n",
        ),
        ("[0.5]", {}, "  warning: input.mean [0.0] and input.std [0.5] apply to pixels from 0 to"),
        ("[255.0]", {}, None),
        ("[1.0]", {}, None),
        ("[1.0]", {"author": "me", "task": "classify"}, "  metadata: agrees with model.yaml\n"),
    ],
)
def test_a_normalization_for_pixels_of_another_range(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    std: str,
    metadata: dict[str, str],
    line: str | None,
) -> None:
    monkeypatch.setenv("EDGE_INFERENCE_CACHE", str(tmp_path / "cache"))
    description = write_model(tmp_path / "colors", metadata) / "model.yaml"
    text = description.read_text()
    assert text.count("  std: [255.0]") == 1
    description.write_text(text.replace("  std: [255.0]", f"  std: {std}"))
    run(["models", "check", str(tmp_path / "colors"), "--backend", "ort"])
    captured = capsys.readouterr().out
    assert (line or "") in captured
    assert ("metadata:" in captured or "warning:" in captured) == (line is not None)
