"""``models new`` describes the exports of twelve families so that they run without an edit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from exports import others, yolo
from exports.graph import BLUE, BLUE_SCORE, COCO, RED, RED_SCORE, SHARPNESS
from exports.squares import Square, paint, to_source

ROOT = Path(__file__).parents[2]
CONSOLE = "import sys; from edge_inference.cli.main import console; sys.exit(console())"
_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Export:
    """An export, the rule by which it resizes, the side of its input and of a cell."""

    write: Callable[[Path], Path]
    rule: str
    side: int
    cell: int
    decoder: str
    has_labels: bool = True

    def squares(self) -> tuple[Square, Square]:
        """Return where the red and the blue square are in the source."""
        cells = ((1, 2), (2, 1)) if self.side // self.cell < 8 else ((3, 7), (6, 5))
        red, blue = (to_source(self.rule, self.side, cell, self.cell) for cell in cells)
        return red, blue

    def label(self, number: int) -> str:
        """Return what the result calls a class."""
        return COCO[number] if self.has_labels else str(number)


DETECTORS = {
    "YOLOv5": Export(yolo.write_yolov5, "letterbox", 640, 32, "yolov5"),
    "YOLOv8": Export(yolo.write_yolov8, "letterbox", 640, 32, "yolov8"),
    "YOLO11": Export(yolo.write_yolo11, "letterbox", 640, 32, "yolo11"),
    "YOLO26": Export(yolo.write_yolo26, "letterbox", 640, 32, "yolov8"),
    "RT-DETR of Ultralytics": Export(yolo.write_ultralytics_rtdetr, "stretch", 640, 32, "yolov8"),
    "RT-DETR of Transformers": Export(others.write_transformers_rtdetr, "stretch", 640, 32, "detr"),
    "RT-DETR and D-FINE": Export(
        others.write_deployed_detr, "stretch", 640, 32, "detection_lists", has_labels=False
    ),
    "YOLOX": Export(yolo.write_yolox, "top_left", 640, 32, "yolox", has_labels=False),
    "SSD of TensorFlow": Export(
        others.write_tensorflow_ssd, "stretch", 300, 30, "detection_lists", has_labels=False
    ),
    "SSD of PyTorch": Export(others.write_pytorch_ssd, "stretch", 300, 30, "ssd", has_labels=False),
    "EfficientDet": Export(
        others.write_efficientdet, "top_left", 512, 32, "efficientdet", has_labels=False
    ),
}
YOLOV8_CLS = Export(yolo.write_yolov8_cls, "center_crop", 224, 64, "classification")
DEEPLAB = Export(others.write_deeplab, "stretch", 520, 40, "segmentation")
DEPTH = Export(others.write_depth, "stretch", 518, 37, "depth")


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a folder."""
    return subprocess.run(
        [sys.executable, "-c", CONSOLE, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "EDGE_INFERENCE_CACHE": str(folder / "cache")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )


def succeed(folder: Path, *arguments: str) -> str:
    """Run the command line and return its output."""
    ended = run(folder, *arguments)
    assert ended.returncode == 0, ended.stderr + ended.stdout
    return ended.stdout


def describe(folder: Path, export: Export) -> dict[str, object]:
    """Write an export and an image, describe the export, and return the report."""
    export.write(folder / "exported" / "model.onnx")
    assert cv2.imwrite(str(folder / "squares.png"), paint(export.side, *export.squares()))
    made = succeed(
        folder, "models", "new", "exported/model.onnx", "mine", "--image", "squares.png", "--json"
    )
    report = json.loads(made)
    assert report["decoder"]["name"] == export.decoder
    checked = succeed(folder, "models", "check", "./mine")
    assert "golden check: no golden images; the model runs" in checked
    return report


def results_of_run(folder: Path) -> list[dict[str, object]]:
    """Run the perception pipeline on the image."""
    lines = succeed(
        folder, "run", "perception", "--source", "squares.png", "--model", "./mine", "--json"
    ).splitlines()
    return json.loads(lines[0])["results"]


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector(tmp_path: Path, name: str) -> None:
    export = DETECTORS[name]
    report = describe(tmp_path, export)
    for results in (report["results"], results_of_run(tmp_path)):
        assert [each["label"] for each in results] == [export.label(RED), export.label(BLUE)]
        assert [each["score"] for each in results] == pytest.approx(
            [RED_SCORE, BLUE_SCORE], abs=0.01
        )
        for found, square in zip(results, export.squares(), strict=True):
            assert found["box"] == pytest.approx(square, abs=0.51)


def test_a_classifier_of_ultralytics(tmp_path: Path) -> None:
    report = describe(tmp_path, YOLOV8_CLS)
    assert report["decoder"] == {"name": "classification", "activation": "none"}
    # The crop is the square in the middle of the source; each square is 64 of its 224 pixels wide.
    logits = np.zeros(1000)
    logits[RED], logits[BLUE] = np.array([RED_SCORE, BLUE_SCORE]) * (64 / 224) ** 2 * SHARPNESS
    scores = np.exp(logits) / np.exp(logits).sum()
    for results in (report["results"], results_of_run(tmp_path)):
        assert [each["label"] for each in results[:2]] == [f"class {RED}", f"class {BLUE}"]
        assert [each["score"] for each in results[:2]] == pytest.approx(
            scores[[RED, BLUE]], rel=0.1
        )


def test_deeplab(tmp_path: Path) -> None:
    report = describe(tmp_path, DEEPLAB)
    share = (40 / 520) ** 2
    for results in (report["results"], results_of_run(tmp_path)):
        assert {each["label"] for each in results} == {"0", str(RED), str(BLUE)}
        shares = {each["label"]: each["share"] for each in results}
        assert shares[str(RED)] == pytest.approx(share, rel=0.1)
        assert shares[str(BLUE)] == pytest.approx(share, rel=0.1)


def test_a_depth_model(tmp_path: Path) -> None:
    report = describe(tmp_path, DEPTH)
    assert report["decoder"] == {"name": "depth", "unit": "inverse"}
    for results in (report["results"], results_of_run(tmp_path)):
        (found,) = results
        assert found["max"] == pytest.approx(RED_SCORE, abs=0.02)
        assert found["unit"] == "inverse"
