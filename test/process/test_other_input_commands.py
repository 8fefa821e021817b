"""``models check``, ``compare``, ``quantize`` and ``bisect`` on models of other inputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_inference.cli.command_line import run
from edge_inference.core.models.model import load_model
from input_kinds import CELLS, cells_image, write_classifier, write_detector

KINDS: dict[str, dict[str, Any]] = {
    "unbatched": {"layout": "CHW"},
    "last": {"layout": "HWC", "dtype": "uint8"},
    "filled": {"batch": 4, "input": {"batch": 4}},
    "alpha": {"channels": 4, "input": {"color": "RGBA"}},
    "stacked": {"channels": 4, "input": {"color": "MULTI", "channel_count": 4}},
    "sized": {
        "extra": {"im_shape": ("float32", ["n", 2]), "flag": ("bool", [1])},
        "extra_inputs": {"im_shape": [[0.5, 1.5]], "flag": [True]},
    },
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_INFERENCE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Images with alpha, each with a few bright cells."""
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(5)
    for number in range(10):
        places = rng.integers(0, CELLS, (3, 2)).tolist()
        image = cells_image({(x, y): rng.uniform(0.6, 1) for x, y in places})
        alpha = np.full(image.shape[:2], 40 + 20 * number, np.uint8)
        assert cv2.imwrite(str(folder / f"{number}.png"), np.dstack([image, alpha]))
    return folder


@pytest.fixture(params=[*KINDS, "detector"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = tmp_path / "models" / request.param
    if request.param == "detector":
        return write_detector(folder)
    return write_classifier(folder, **KINDS[request.param])


def summary(out: str) -> Any:
    return json.loads(out.splitlines()[-1])["summary"]


def test_compare_and_check(model: Path, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--backends", "ort", "--precisions", "fp32,fp16", "--runs", "1", "--json"]
    assert run(["compare", str(model), "--images", str(images), *words]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()][:-1]
    assert [row["passed"] for row in rows] == [True, True]
    assert run(["models", "check", str(model), "--precision", "fp16", "--backend", "ort"]) == 0
    assert "self-check: passed on 1 image(s), agreement 100.0%" in capsys.readouterr().out


def test_quantize(
    model: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--calibration", str(images), "--method", "minmax", "--force", "--json"]
    run(["quantize", str(model), "--output", str(tmp_path / "int8"), *words])
    made = load_model(tmp_path / "int8")
    assert made.extra_inputs.keys() == load_model(model).extra_inputs.keys()
    (held_out,) = (row for row in summary(capsys.readouterr().out)["checks"] if row["count"] == 2)
    assert held_out["agreement"] == 1.0


def test_fp16_is_searched_for_overflows(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--precision", "fp16", "--output", str(tmp_path / "fp16")]
    assert run(["quantize", str(model), *words]) == 0, capsys.readouterr().err


def test_a_missing_value_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_classifier(tmp_path / "two", extra={"sizes": ("int64", ["n", 2])})
    for words in (["models", "check", str(folder)], ["compare", str(folder)]):
        assert run(words) != 0
        errors = capsys.readouterr().err
        assert "extra_inputs: {sizes: [[0, 0]]}" in errors
        assert "Traceback" not in errors
