"""A kind of result of another package takes part in everything that results do."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_inference.cli.perception.frame_format import record_to_json
from edge_inference.cli.perception.frame_tracker import FrameRecord
from edge_inference.cli.perception.run_output import RunPlainLines
from edge_inference.cli.perception.run_summary import ResultCounts
from edge_inference.core.images.geometry import Geometry
from edge_inference.core.models.agreement import compare_results
from edge_inference.core.models.golden_check import run_golden_check
from edge_inference.core.models.model import ModelDescription, load_model
from edge_inference.core.models.self_check import run_self_check, self_check_images
from edge_inference.core.results import ResultAgreement, kind_of
from edge_inference.core.results.overlay import draw
from edge_inference.core.settings import change
from edge_inference.errors import ConfigError, ImageError, ModelError, TensorError
from keypoints_model import (
    IMAGE_SIZE,
    SCORE,
    SIDE,
    raw_output,
    source_points,
    write_keypoints_model,
)

WIDTH, HEIGHT = IMAGE_SIZE
STRETCHED = Geometry(WIDTH, HEIGHT, SIDE / WIDTH, SIDE / HEIGHT)


@pytest.fixture
def model(tmp_path: Path, extension_package: None) -> ModelDescription:
    return load_model(write_keypoints_model(tmp_path / "pose"))


def decode(model: ModelDescription, *scores: float, **settings: Any) -> Any:
    changed = change(model.decoder_settings, settings)
    return model.decode({"output0": raw_output(*scores)}, STRETCHED, changed)


def engine(output: NDArray[np.float32]) -> Any:
    def infer(inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        return {"output0": output}

    return infer


def test_without_the_package_the_task_is_unknown(tmp_path: Path) -> None:
    folder = write_keypoints_model(tmp_path / "pose")
    with pytest.raises(ConfigError, match="task: unknown result kind 'keypoints'; known: "):
        load_model(folder)


def test_another_task_with_this_decoder_is_refused(model: ModelDescription) -> None:
    wrong = dataclasses.replace(model, task="detection")
    with pytest.raises(ModelError, match="returns Keypoints, expected Detections for the task det"):
        decode(wrong, 0.9)


@pytest.mark.parametrize("scores", [(), (0.1,), (0.1, 0.2)])
def test_nobody(model: ModelDescription, scores: tuple[float, ...]) -> None:
    found = decode(model, *scores)
    assert (len(found), found.points.shape) == (0, (0, 17, 2))
    assert kind_of(found).to_lines(found, 3) == kind_of(found).to_json(found) == []
    assert compare_results(found, found) == ResultAgreement(0, 0)
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    assert not draw(image, found).any()


def test_the_keypoints_stay_with_their_box(model: ModelDescription) -> None:
    """Through the threshold, the suppression and the order by score."""
    output = raw_output(0.6, 0.1, SCORE, 0.9)
    output[0, 0, 2] += 100  # the third is another person, outside of the image
    output[0, 5::3, 3] += 1.0  # the fourth is the first again, in a better place
    found = model.decode({"output0": output}, STRETCHED)
    assert found.scores.tolist() == pytest.approx([0.9])
    moved = np.add(source_points(), [WIDTH / SIDE, 0])
    np.testing.assert_allclose(found.points[0], moved, rtol=1e-6)
    both = model.decode(
        {"output0": output}, STRETCHED, change(model.decoder_settings, {"iou": 1.0})
    )
    assert both.scores.tolist() == pytest.approx([0.9, 0.6])
    np.testing.assert_allclose(both.points[1], source_points(), rtol=1e-6)


def test_outputs_of_another_model_are_refused(model: ModelDescription) -> None:
    with pytest.raises(TensorError, match=r"expected shape \[1, 56, N\], got \[1, 55, 1\]"):
        model.decode({"output0": raw_output(0.9)[:, 1:]}, STRETCHED)


def test_its_json_text_and_counts(model: ModelDescription) -> None:
    found = decode(model, 0.9)
    record = FrameRecord(1, "a.png", 5, found, {}, None)
    (person,) = json.loads(json.dumps(record_to_json(record), allow_nan=False))["results"]
    assert (person["label"], person["score"], len(person["keypoints"])) == ("person", 0.9, 17)
    assert person["keypoints"][0] == {"name": "nose", "x": 24.0, "y": 12.0, "score": 0.9}
    counts = ResultCounts()
    counts.add(found)
    assert (counts.images, counts.best_score) == ({"person": 1}, {"person": pytest.approx(0.9)})


def test_a_line_of_its_text(model: ModelDescription, capsys: pytest.CaptureFixture[str]) -> None:
    RunPlainLines(sys.stdout).frame(FrameRecord(1, "a.png", 5, decode(model, 0.9), {}, None))
    assert "person 0.90, 17 of 17 keypoints" in capsys.readouterr().out


def test_its_drawing(model: ModelDescription) -> None:
    image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    drawn = draw(image, decode(model, 0.9))
    x, y = np.rint(source_points()[5]).astype(int)
    assert (drawn[y, x] == 255).all()
    assert (drawn[:8] == 90).all()
    with pytest.raises(ImageError, match="expected the 128x96 source image"):
        draw(np.zeros((10, 10, 3), np.uint8), decode(model, 0.9))


@pytest.mark.parametrize(
    ("scores", "shift", "reason"),
    [
        ((SCORE,), 0, None),
        ((SCORE - 0.09,), 0, None),
        ((SCORE - 0.11,), 0, "person is 0.64, expected 0.75 ± 0.1"),
        ((SCORE,), 30, "expected a person with the nose at [24.0, 12.0], at most 0%"),
        ((), 0, "expected a person"),
    ],
)
def test_its_golden_images(
    model: ModelDescription, scores: tuple[float, ...], shift: float, reason: str | None
) -> None:
    output = raw_output(*scores)
    output[:, 5::3] += shift
    report = run_golden_check(model, engine(output))
    assert report.passed is (reason is None), report.summary()
    assert (reason or "passed on 1 image") in report.summary()


def test_somebody_who_is_not_expected(model: ModelDescription) -> None:
    alone = dataclasses.replace(model.golden[0], expected=())
    report = run_golden_check(dataclasses.replace(model, golden=(alone,)), engine(raw_output(0.9)))
    assert report.reasons == ("golden.png: unexpected person with score 0.90",)


def test_a_golden_image_with_too_few_numbers(tmp_path: Path, extension_package: None) -> None:
    folder = write_keypoints_model(tmp_path / "pose")
    file = folder / "model.yaml"
    file.write_text(file.read_text().replace("points: [24.0, ", "points: ["))
    with pytest.raises(ConfigError, match=r"people\[0\]: points: expected 34 numbers, got 33"):
        load_model(folder)


@pytest.mark.parametrize(
    ("candidate", "passed"), [((SCORE,), True), ((0.45,), True), ((), False), ((SCORE, 0.2), True)]
)
def test_its_self_check(
    model: ModelDescription, candidate: tuple[float, ...], passed: bool
) -> None:
    """A score just below the threshold is no difference, as with detections."""
    padded = [*candidate, 0.0, 0.0][:2]
    thresholds = dataclasses.replace(model.self_check, cosine=-1.0, sqnr_db=-100.0)
    report = run_self_check(
        model,
        engine(raw_output(0.52, 0.0)),
        engine(raw_output(*padded)),
        self_check_images(model),
        thresholds,
    )
    assert report.passed is passed, report.summary()


def test_the_golden_image_is_of_the_size_that_the_tests_assume(model: ModelDescription) -> None:
    assert cv2.imread(str(model.golden[0].image)).shape == (HEIGHT, WIDTH, 3)
