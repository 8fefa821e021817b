"""Command lines that open a model, or that are a process of their own."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from edge_inference.cli.command_line import run

ROOT = Path(__file__).parents[2]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give an empty cache."""
    monkeypatch.setenv("EDGE_INFERENCE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def refused(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line that a refusal is."""
    errors = capsys.readouterr().err
    assert errors.startswith("edge-inference: ")
    assert errors.count("\n") == 1
    return errors


def test_a_precision_that_there_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "check", "nanodet", "--precision", "fp1"]) == 1
    assert "fp1" in refused(capsys)


def test_a_check_runs_the_golden_images(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "check", "nanodet"]) == 0
    assert "golden check: passed" in capsys.readouterr().out


def test_the_engine_of_a_model_on_onnx_runtime(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["engine", "check", "nanodet", "--backend", "ort"]) == 0
    text = capsys.readouterr().out
    assert "golden check: passed" in text
    assert "self-check: left out" in text


def test_a_derived_model_that_is_not_made_yet_says_how_to(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["engine", "check", "nanodet", "--backend", "ort", "--precision", "fp16"]) == 1
    assert "models check nanodet --backend ort --precision fp16" in refused(capsys)


def test_a_file_that_is_no_model_leaves_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "ears"
    folder.mkdir()
    text = "task: recognition\nlicense: MIT\nfiles:\n"
    for role in ("encoder", "decoder", "tokenizer"):
        (folder / role).write_bytes(b"no model")
        text += f"  {role}: {{file: {role}, sha256: {hashlib.sha256(b'no model').hexdigest()}}}\n"
    (folder / "speech.yaml").write_text(text)
    assert run(["speech", "export", str(folder), "--output", str(tmp_path / "new")]) == 1
    assert "encoder: ONNX Runtime cannot read it" in refused(capsys)
    assert [entry.name for entry in tmp_path.iterdir()] == ["ears"]


def test_without_ros_one_sentence_says_so() -> None:
    code = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "rclpy":
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Absent())
from edge_inference.cli.command_line import run
sys.exit(run(sys.argv[1:]))
"""
    image = ROOT / "models" / "nanodet" / "golden" / "astronaut.jpg"
    command = [sys.executable, "-c", code, "run", "perception", "--source", str(image)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("edge-inference: `run perception` needs ROS 2")
    assert done.stderr.count("\n") == 1
