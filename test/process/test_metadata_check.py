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
