from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from edge_inference.cli.command_line import run

SHA256 = hashlib.sha256(b"no model").hexdigest()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return a recognizer with invalid files."""
    folder = tmp_path / "ears"
    folder.mkdir()
    text = "task: recognition\nlicense: MIT\nfiles:\n"
    for role in ("encoder", "decoder", "tokenizer"):
        (folder / role).write_bytes(b"no model")
        text += f"  {role}: {{file: {role}, sha256: {SHA256}}}\n"
    (folder / "speech.yaml").write_text(text)
    return folder


def test_an_existing_folder_is_refused(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["speech", "export", str(model), "--output", str(model)]) == 2
    assert "expected a new folder, it exists already" in capsys.readouterr().err


def test_a_model_other_than_a_recognizer_is_refused(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = f"task: activity\nlicense: MIT\nfiles:\n  model: {{file: encoder, sha256: {SHA256}}}\n"
    (model / "speech.yaml").write_text(text)
    assert run(["speech", "export", str(model), "--output", str(tmp_path / "new")]) == 2
    assert (
        "model 'ears': expected a recognizer, got a model for activity" in capsys.readouterr().err
    )
