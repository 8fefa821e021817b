"""A model without labels: its classes have numbers wherever a name would be."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_inference.core.decoders.detection import check_classes, class_numbers
from edge_inference.core.models.golden_check import run_golden_check
from edge_inference.core.models.model import load_model
from edge_inference.core.results import Detections, Segmentation, kind_of
from edge_inference.core.results.overlay import draw
from edge_inference.core.results.result import is_class_number
from edge_inference.errors import ConfigError

DESCRIPTION = """\
task: {task}
license: MIT
input: {{name: x, width: 8, height: 8}}
decoder: {{name: {decoder}}}
variants: {{fp32: {{file: m.onnx, sha256: {zeros}}}}}
golden:
  - image: image.png
    {golden}
"""


def make(folder: Path, task: str, decoder: str, golden: str) -> Path:
    assert cv2.imwrite(str(folder / "image.png"), np.zeros((8, 8, 3), np.uint8))
    (folder / "model.yaml").write_text(
        DESCRIPTION.format(task=task, decoder=decoder, golden=golden, zeros="a" * 64)
    )
    return folder


def rows() -> dict[str, np.ndarray]:
    """Return two objects of the classes 17 and 2."""
    found = [[0, 0, 4, 4, 0.9, 17], [4, 4, 8, 8, 0.8, 2]]
    return {"rows": np.array([found], np.float32)}


def test_the_parameter_classes_takes_numbers(tmp_path: Path) -> None:
    folder = make(
        tmp_path, "detection", "yolov8, layout: end_to_end, classes: ['2']", "objects: []"
    )
    model = load_model(folder)
    check_classes(model.decoder_settings, model.labels)
    assert class_numbers(["2", "17"], ()).tolist() == [2, 17]
    assert class_numbers(["dog", "cat"], ("cat", "bird", "dog")).tolist() == [0, 2]
    report = run_golden_check(model, lambda inputs: rows())
    assert report.reasons == ("image.png: unexpected 2 with score 0.80",)


@pytest.mark.parametrize(
    "name", ["cat", "-1", "017", "1.0", "", "\N{ARABIC-INDIC DIGIT ONE}", "9" * 50]
)
def test_what_is_no_number_of_a_class(name: str) -> None:
    assert not is_class_number(name)
    with pytest.raises(ConfigError, match="expected class numbers such as 17"):
        class_numbers([name], ())


def test_golden_objects_by_number(tmp_path: Path) -> None:
    objects = (
        "objects: [{label: '17', score: 0.9, box: [0, 0, 4, 4]}, "
        "{label: '2', score: 0.8, box: [4, 4, 4, 4]}]"
    )
    model = load_model(make(tmp_path, "detection", "yolov8, layout: end_to_end", objects))
    assert run_golden_check(model, lambda inputs: rows()).passed
    wrong = objects.replace("'17'", "'3'")
    model = load_model(make(tmp_path, "detection", "yolov8, layout: end_to_end", wrong))
    assert not run_golden_check(model, lambda inputs: rows()).passed


def test_golden_areas_by_number(tmp_path: Path) -> None:
    def infer(inputs: object) -> dict[str, np.ndarray]:
        mask = np.zeros((1, 8, 8), np.uint8)
        mask[0, :2] = 5  # a quarter
        return {"mask": mask}

    areas = "areas: [{label: '5', share: 0.25}, {label: '7', share: 0.0}]"
    model = load_model(make(tmp_path, "segmentation", "segmentation", areas))
    assert run_golden_check(model, infer).passed
    wrong = areas.replace("0.25", "0.75")
    model = load_model(make(tmp_path, "segmentation", "segmentation", wrong))
    assert not run_golden_check(model, infer).passed


def test_a_golden_label_that_is_no_number(tmp_path: Path) -> None:
    objects = "objects: [{label: cat, score: 0.9, box: [0, 0, 4, 4]}]"
    with pytest.raises(ConfigError, match=r"label: expected a class number in quotes.*got 'cat'"):
        load_model(make(tmp_path, "detection", "yolov8", objects))


@pytest.mark.parametrize("task", ["detection", "segmentation"])
def test_json_lines_and_overlay(task: str) -> None:
    result: Detections | Segmentation
    if task == "detection":
        result = Detections(
            boxes=np.float32([[0, 0, 32, 32]]),
            scores=np.float32([0.5]),
            class_ids=np.int32([17]),
            labels=(),
            source_width=64,
            source_height=64,
        )
    else:
        result = Segmentation(np.full((64, 64), 17, np.uint8), (), 0.5, unknown_id=255)
    kind = kind_of(result)
    assert kind.to_json(result)[0]["label"] == "17"
    assert kind.to_lines(result, 1)[0].startswith("17 ")
    assert draw(np.zeros((64, 64, 3), np.uint8), result).any()
