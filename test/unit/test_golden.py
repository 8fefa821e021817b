"""The golden check passes correct results, and says what is wrong with others."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_inference.core.decoders import DECODERS, DecoderEntry
from edge_inference.core.images.input_spec import InputSpec
from edge_inference.core.models.golden import Golden
from edge_inference.core.models.golden_check import read_image, run_golden_check
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.results import (
    Classification,
    DepthMap,
    Detections,
    ExpectedArea,
    ExpectedClass,
    ExpectedObject,
    Result,
    Segmentation,
    Tolerance,
)
from edge_inference.core.results.boxes import box_ious
from edge_inference.errors import BackendError, ModelError, TensorError

LABELS = ("cat", "dog", "cow")
PERFECT = [("cat", 0.9, (10, 10, 30, 50)), ("dog", 0.5, (0, 0, 8, 8))]


def detections(found: list[tuple[str, float, tuple[float, ...]]]) -> Detections:
    return Detections(
        boxes=np.array([box for _, _, box in found], np.float32).reshape(-1, 4),
        scores=np.array([score for _, score, _ in found], np.float32),
        class_ids=np.array([LABELS.index(label) for label, _, _ in found], np.int32),
        labels=LABELS,
        source_width=64,
        source_height=64,
    )


def classification(found: list[tuple[str, float]]) -> Classification:
    return Classification(
        class_ids=np.array([LABELS.index(label) for label, _ in found], np.int32),
        scores=np.array([score for _, score in found], np.float32),
        labels=LABELS,
    )


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Result | Exception]]:
    """A list; the model's decoder returns or raises its only entry."""
    answers: list[Result | Exception] = []

    def decode(outputs: Mapping[str, Any], context: Any, settings: Any) -> Result:
        (given_answer,) = answers
        if isinstance(given_answer, Exception):
            raise given_answer
        return given_answer

    entry = DecoderEntry("stub", object, decode)
    monkeypatch.setattr(DECODERS, "own", {"stub": entry})
    DECODERS.forget()
    yield answers
    DECODERS.forget()


TASKS = {
    ExpectedObject: "detection",
    ExpectedClass: "classification",
    ExpectedArea: "segmentation",
}


def make_model(folder: Path, *expected: Any, **tolerance: float) -> ModelDescription:
    image = folder / "image.png"
    cv2.imwrite(str(image), np.full((64, 64, 3), 90, np.uint8))
    return ModelDescription(
        name="stub",
        folder=folder,
        task=TASKS[type(expected[0])] if expected else "detection",
        description="",
        license="",
        source="",
        input=InputSpec("data", 16, 16),
        decoder="stub",
        decoder_settings=None,
        labels=LABELS,
        variants={},
        golden=(Golden(image, expected, Tolerance(**tolerance)),),
    )


def infer(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    assert inputs["data"].shape == (1, 3, 16, 16)
    return {}


CAT = ExpectedObject("cat", 0.9, (10, 10, 20, 40))
DOG = ExpectedObject("dog", 0.5, (0, 0, 8, 8))


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (PERFECT, None),
        (list(reversed(PERFECT)), None),
        ([*PERFECT, ("cow", 0.59, (40, 40, 50, 50))], None),
        ([*PERFECT, ("cow", 0.61, (40, 40, 50, 50))], "unexpected cow with score 0.61"),
        ([*PERFECT, ("cat", 0.7, (10, 10, 30, 50))], "unexpected cat with score 0.70"),
        ([], "expected cat at"),
        (PERFECT[:1], "expected dog at"),
        ([("cow", 0.9, (10, 10, 30, 50)), PERFECT[1]], "expected cat at"),
        ([("cat", 0.9, (20, 10, 40, 50)), PERFECT[1]], "best overlap 0.33, at least 0.8"),
        ([("cat", 0.9, (10, 10, 31, 50)), PERFECT[1]], None),
        ([("cat", 0.79, (10, 10, 30, 50)), PERFECT[1]], "cat is 0.79, expected 0.90 ± 0.1"),
        ([("cat", 0.99, (10, 10, 30, 50)), PERFECT[1]], None),
    ],
)
def test_detections(
    tmp_path: Path,
    answer: list[Result | Exception],
    found: list[tuple[str, float, tuple[float, ...]]],
    reason: str | None,
) -> None:
    answer.append(detections(found))
    report = run_golden_check(make_model(tmp_path, CAT, DOG), infer)
    assert report.passed is (reason is None), report.summary()
    if reason:
        assert reason in report.summary()
        assert "image.png" in report.summary()


def test_two_equal_objects_need_two_boxes(tmp_path: Path, answer: list[Result | Exception]) -> None:
    answer.append(detections(PERFECT[:1]))
    assert not run_golden_check(make_model(tmp_path, CAT, CAT), infer).passed


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ([("cat", 0.8), ("dog", 0.2)], None),
        ([("cat", 0.71), ("dog", 0.2)], None),
        ([("cat", 0.69), ("dog", 0.2)], "cat is 0.69, expected 0.80 ± 0.1"),
        ([("dog", 0.5), ("cat", 0.45)], "expected cat first, got dog"),
        ([("cat", 0.8), ("cow", 0.2)], "dog is not among the first 2"),
        ([], "expected cat first, got nothing"),
    ],
)
def test_classification(
    tmp_path: Path,
    answer: list[Result | Exception],
    found: list[tuple[str, float]],
    reason: str | None,
) -> None:
    answer.append(classification(found))
    expected = ExpectedClass("cat", 0.8), ExpectedClass("dog", 0.2)
    report = run_golden_check(make_model(tmp_path, *expected), infer)
    assert report.passed is (reason is None), report.summary()
    assert reason is None or reason in report.summary()


@pytest.mark.parametrize(("rows", "passed"), [(16, True), (20, True), (32, False), (0, False)])
def test_segmentation(
    tmp_path: Path, answer: list[Result | Exception], rows: int, passed: bool
) -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[:rows] = 1
    answer.append(Segmentation(mask, LABELS, 1.0))
    report = run_golden_check(make_model(tmp_path, ExpectedArea("dog", 0.25)), infer)
    assert report.passed is passed


def test_a_result_of_another_kind_fails(tmp_path: Path, answer: list[Result | Exception]) -> None:
    model = make_model(tmp_path, CAT)
    for result in (classification([("cat", 0.9)]), DepthMap(np.zeros((64, 64), np.float32), "m")):
        answer[:] = [result]
        with pytest.raises(
            ModelError, match=r"set task to (classification|depth), or correct decoder"
        ):
            run_golden_check(model, infer)


def test_a_result_that_cannot_be_compared_fails(
    tmp_path: Path, answer: list[Result | Exception]
) -> None:
    depth = DepthMap(np.zeros((64, 64), np.float32), "m")
    answer.append(depth)
    model = dataclasses.replace(make_model(tmp_path), task="depth")
    report = run_golden_check(model, infer)
    assert not report.passed
    assert "golden images cannot have a result of the kind depth" in report.summary()


def test_expected_entries_of_another_kind_fail(
    tmp_path: Path, answer: list[Result | Exception]
) -> None:
    answer.append(classification([("cat", 0.8)]))
    report = run_golden_check(make_model(tmp_path, ExpectedClass("cat", 0.8), CAT), infer)
    assert not report.passed
    assert "1 expected entries do not fit a result of the kind classification" in report.summary()


def test_the_report_says_how_close_it_was(tmp_path: Path, answer: list[Result | Exception]) -> None:
    answer.append(detections([("cat", 0.85, (10, 10, 30, 48)), PERFECT[1]]))
    report = run_golden_check(make_model(tmp_path, CAT, DOG), infer)
    assert report.images == 1
    assert report.min_iou == pytest.approx(0.95)
    assert report.max_score_difference == pytest.approx(0.05, abs=1e-6)
    assert "passed on 1 image" in report.summary()


def test_outputs_that_cannot_be_decoded_fail(
    tmp_path: Path, answer: list[Result | Exception]
) -> None:
    answer.append(TensorError("tensor 'scores' is not finite"))
    report = run_golden_check(make_model(tmp_path, CAT), infer)
    assert report.reasons == ("image.png: tensor 'scores' is not finite",)
    assert report.min_iou is None


def test_what_the_engine_raises_passes_through(tmp_path: Path) -> None:
    def fails(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        raise BackendError("out of memory")

    with pytest.raises(BackendError, match="out of memory"):
        run_golden_check(make_model(tmp_path, CAT), fails)


def test_a_report_without_golden_images_says_so(
    tmp_path: Path, answer: list[Result | Exception]
) -> None:
    answer.append(detections(PERFECT))
    report = run_golden_check(dataclasses.replace(make_model(tmp_path), golden=()), infer)
    assert report.passed and "not checked" in report.summary()


def test_a_model_without_golden_images_runs_on_a_generated_image(
    tmp_path: Path, answer: list[Result | Exception]
) -> None:
    answer.append(TensorError("output 'scores' is missing"))
    report = run_golden_check(dataclasses.replace(make_model(tmp_path), golden=()), infer)
    assert report.reasons == ("trial run: output 'scores' is missing",)
    assert "failed: trial run" in report.summary()


def test_an_input_that_the_engine_refuses_names_the_file_to_fix(tmp_path: Path) -> None:
    def refuses(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        raise TensorError("the model takes x: float32 [1, 3, 32, 32]")

    report = run_golden_check(make_model(tmp_path, CAT), refuses)
    assert report.reasons[0].endswith("[1, 3, 32, 32]; correct the section input of model.yaml")


@pytest.mark.parametrize("content", [None, b"", b"not an image"])
def test_an_unreadable_image_is_a_model_error(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "x.jpg"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ModelError, match=r"x\.jpg"):
        read_image(file)


def test_overlaps() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 5, 10], [20, 20, 30, 30], [3, 3, 3, 3]], float)
    np.testing.assert_allclose(box_ious(boxes[0], boxes), [1.0, 0.5, 0.0, 0.0])
    assert box_ious(boxes[0], np.empty((0, 4))).shape == (0,)


sides = st.tuples(*[st.floats(0, 100) for _ in range(4)])


@given(sides, sides)
def test_overlap_is_symmetric_and_bounded(one: tuple[float, ...], two: tuple[float, ...]) -> None:
    a, b = (np.array([x, y, x + w, y + h]) for x, y, w, h in (one, two))
    forth = box_ious(a, b[None])[0]
    assert 0 <= forth <= 1 + 1e-9
    assert forth == pytest.approx(box_ious(b, a[None])[0])
