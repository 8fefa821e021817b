"""A stranger's files on the command line end in one line, and soon."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hostile_files import UNREADABLE_FILES, YAML_TEXTS, assert_one_sentence, write_content
from small_model import write_images, write_model
from wrong_files import write_wrong_file

ROOT = Path(__file__).parents[2]
NANODET = ROOT / "models" / "nanodet"
CONSOLE = "import sys; from edge_inference.cli.main import console; sys.exit(console())"
_TIMEOUT_S = 120.0


def hostile(file: Path, kind: str) -> None:
    """Put what is meant by ``kind`` where a file is expected."""
    if kind in UNREADABLE_FILES:
        UNREADABLE_FILES[kind](file)
    else:
        write_content(file, YAML_TEXTS[kind])


def refusal(folder: Path, *arguments: str) -> str:
    """Run the command line and return the one line that it says."""
    ended = subprocess.run(
        [sys.executable, "-c", CONSOLE, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "EDGE_INFERENCE_CACHE": str(folder / "cache")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    assert ended.returncode in (1, 2), ended
    assert ended.stderr.startswith("edge-inference: "), ended.stderr
    return ended.stderr


@pytest.mark.parametrize("kind", ["pipe", "device", "sparse", "brackets", "digits"])
@pytest.mark.parametrize("part", ["model.yaml", "labels.txt", "nanodet.onnx", "calibration.json"])
def test_a_strangers_model(tmp_path: Path, part: str, kind: str) -> None:
    model = shutil.copytree(NANODET, tmp_path / "mine" / "nanodet")
    (model / part).unlink()
    hostile(model / part, kind)
    arguments = ["--precision", "int8"] if part == "calibration.json" else []
    text = refusal(tmp_path, "models", "check", str(model), "--backend", "ort", *arguments)
    assert_one_sentence(text, "nanodet")


@pytest.mark.parametrize(
    "arguments",
    [
        ["models", "check", "./mine"],
        ["compare", "./mine", "--images", "images"],
        ["bisect", "./mine", "--precision", "fp16"],
        ["quantize", "./mine", "--precision", "fp16", "--output", "derived"],
        ["run", "perception", "--model", "./mine", "--source", "images/000.png"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_every_command_says_what_the_weights_are(tmp_path: Path, arguments: list[str]) -> None:
    write_model(tmp_path / "mine")
    write_images(tmp_path / "images", 3)
    write_wrong_file(tmp_path / "mine" / "small.onnx", "Git LFS pointer")
    text = refusal(tmp_path, *arguments)
    assert_one_sentence(text, "small.onnx")
    assert "got a Git LFS pointer of a file of 12345 bytes; run git lfs pull" in text


@pytest.mark.parametrize("kind", ["pipe", "device", "sparse", "brackets"])
def test_a_strangers_golden_image(tmp_path: Path, kind: str) -> None:
    model = shutil.copytree(NANODET, tmp_path / "nanodet")
    image = min((model / "golden").iterdir())
    image.unlink()
    hostile(image, kind)
    text = refusal(tmp_path, "models", "check", str(model), "--backend", "ort")
    assert_one_sentence(text, image.name)


@pytest.mark.parametrize("kind", ["pipe", "device", "sparse", "brackets"])
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("some.jsonl", ["platform", "show", "--recording"]),
        ("some.csv", ["compare", "efficientnet_lite0", "--labels"]),
        ("some.png", ["compare", "nanodet", "--images"]),
        ("some.plan", ["engine", "inspect"]),
    ],
)
def test_a_strangers_file(tmp_path: Path, name: str, arguments: list[str], kind: str) -> None:
    hostile(tmp_path / name, kind)
    assert_one_sentence(refusal(tmp_path, *arguments, name), name)
