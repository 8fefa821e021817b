"""The self-check passes rounding errors, and says what is wrong with larger ones."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from detector_outputs import BOXES, IDS, LABELS, SCORES, SIZE, to_tensor, yolov8
from edge_inference.core import decoders
from edge_inference.core.images.frame import Frame
from edge_inference.core.images.input_spec import InputSpec
from edge_inference.core.models.agreement import compare_outputs
from edge_inference.core.models.golden import Golden, SelfCheckThresholds
from edge_inference.core.models.golden_check import InferFunction
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.self_check import (
    SelfCheckReport,
    run_self_check,
    self_check_images,
)
from edge_inference.core.results import Tolerance
from edge_inference.core.settings import build
from edge_inference.errors import BackendError, ModelError, TensorError

Tensors = Mapping[str, NDArray[Any]]
CLASSES = 40
DEFAULT = SelfCheckThresholds()
LOOSE = SelfCheckThresholds(agreement=0.0, cosine=-1.0, sqnr_db=-100.0)


def a_model(
    task: str, decoder: str, labels: tuple[str, ...], side: int, **settings: Any
) -> ModelDescription:
    return ModelDescription(
        name="made-up",
        folder=Path("made-up"),
        task=task,
        description="",
        license="",
        source="",
        input=InputSpec("image", side, side, std=(255.0,)),
        decoder=decoder,
        decoder_settings=build(decoders.find(decoder).settings_class, settings),
        labels=labels,
        variants={},
        golden=(),
    )


CLASSIFIER = a_model(
    "classification", "classification", tuple(f"class {n}" for n in range(CLASSES)), 8
)
DETECTOR = a_model("detection", "yolov8", LABELS, SIZE, confidence=0.4)
WEIGHTS = np.random.default_rng(3).normal(size=(3 * 8 * 8, CLASSES)).astype(np.float32)


def make_images(count: int = 10) -> list[Frame]:
    random = np.random.default_rng(5)
    return [
        Frame.from_array(random.integers(0, 256, (20, 30, 3), dtype=np.uint8)) for _ in range(count)
    ]


def classify(inputs: Tensors) -> dict[str, NDArray[Any]]:
    return {"logits": inputs["image"].reshape(1, -1) @ WEIGHTS}


def then(
    change: Callable[[NDArray[Any]], NDArray[Any]], infer: InferFunction = classify
) -> InferFunction:
    """Return an engine that returns a changed output of ``infer``."""
    return lambda inputs: {name: change(array) for name, array in infer(inputs).items()}


def noisy(sqnr_db: float) -> InferFunction:
    """Return an engine that adds noise of an exactly known level."""
    random = np.random.default_rng(7)

    def add(array: NDArray[Any]) -> NDArray[Any]:
        noise = random.normal(size=array.shape)
        level = np.linalg.norm(array) * 10 ** (-sqnr_db / 20)
        return array + noise / np.linalg.norm(noise) * level

    return then(add)


def check(
    candidate: InferFunction, thresholds: SelfCheckThresholds = DEFAULT, count: int = 10
) -> SelfCheckReport:
    return run_self_check(CLASSIFIER, classify, candidate, make_images(count), thresholds)


def test_no_images_check_nothing() -> None:
    report = check(classify, count=0)
    assert (report.passed, report.reasons) == (False, ())
    assert report.figures() == {}
    assert report.summary().startswith("self-check: not checked: there is no image to compare; add")


def rows_of(scores: NDArray[Any], dtype: Any = np.float32) -> InferFunction:
    return lambda inputs: {"output0": scores.astype(dtype)}


@pytest.mark.parametrize(
    "outputs", [np.zeros((1, 4 + len(LABELS), 9)), np.zeros((1, 4 + len(LABELS), 0))]
)
def test_outputs_without_a_value_are_no_evidence(outputs: NDArray[Any]) -> None:
    report = run_self_check(DETECTOR, rows_of(outputs), rows_of(outputs), make_images(2))
    assert (report.passed, report.reasons) == (False, ())
    assert "cosine" not in report.figures()
    assert "no output has a value other than 0; add golden images" in report.summary()


def test_outputs_without_results_are_evidence() -> None:
    faint = detect(0.1, 0.1, 0.1)
    report = run_self_check(DETECTOR, faint, faint, make_images(2))
    assert report.passed
    assert report.summary() == (
        "self-check: passed on 2 image(s), nothing found to compare, outputs equal; add golden "
        "images in which the model finds something"
    )
    assert "agreement" not in report.figures()


@pytest.mark.parametrize(
    ("reference", "candidate", "has_signal"),
    [
        ([0.0, 0.0], [0.0, 0.0], False),
        ([np.nan, np.inf], [np.nan, 1.0], False),
        ([], [], False),
        ([1, 2], [1, 2], False),  # integers have no scale
        ([0.0, 1e-9], [0.0, 0.0], True),
        ([0.0, 0.0], [0.0, 1.0], True),
    ],
)
def test_what_outputs_can_tell(
    reference: list[float], candidate: list[float], has_signal: bool
) -> None:
    expected, actual = (
        np.array(values, int if values == [1, 2] else float) for values in (reference, candidate)
    )
    assert compare_outputs({"x": expected}, {"x": actual}).has_signal is has_signal


def test_the_same_engine_passes() -> None:
    report = check(classify)
    assert report.passed
    assert report.summary() == (
        "self-check: passed on 10 image(s), agreement 100.0%, outputs equal"
    )
    assert report.figures() == {
        "agreement": 1.0,
        "cosine": 1.0,
        "max_difference": 0.0,
        "nan": 0,
        "inf": 0,
    }


def test_fp16_passes_and_is_measured() -> None:
    report = check(then(lambda array: array.astype(np.float16)))
    assert report.passed
    assert 50 < report.figures()["sqnr_db"] < 90
    assert "cosine 1.0000, SQNR" in report.summary()
    json.dumps(report.figures(), allow_nan=False)


@pytest.mark.parametrize(("sqnr_db", "passed"), [(18.4, True), (9, True), (7, False), (0, False)])
def test_the_default_thresholds(sqnr_db: float, passed: bool) -> None:
    """The measured SQNR of a good int8 quantization is above the threshold, of a bad one below."""
    report = check(noisy(sqnr_db), SelfCheckThresholds(agreement=0.0))
    assert report.figures()["sqnr_db"] == pytest.approx(sqnr_db, abs=0.01)
    assert report.passed is passed


@given(st.floats(-20, 60), st.floats(-20, 60))
def test_the_sqnr_threshold_is_where_it_is_set(level: float, threshold: float) -> None:
    report = check(noisy(level), dataclasses.replace(LOOSE, sqnr_db=threshold), count=3)
    if abs(level - threshold) > 0.01:
        assert report.passed is (level > threshold)


@pytest.mark.parametrize(
    ("candidate", "thresholds", "reason"),
    [
        (
            noisy(3),
            dataclasses.replace(LOOSE, sqnr_db=10.0),
            "output logits: SQNR 3.0 dB, at least 10 dB is needed",
        ),
        (
            then(np.negative),
            dataclasses.replace(LOOSE, cosine=0.5),
            "output logits: cosine similarity -1.000, at least 0.5 is needed",
        ),
        (
            then(np.negative),
            dataclasses.replace(LOOSE, agreement=0.5),
            "0.0% of the results agree, at least 50.0% is needed",
        ),
        (
            then(lambda array: array * np.nan),
            LOOSE,
            "output logits: 400 NaN values, none in the reference",
        ),
        (
            then(lambda array: np.where(array > 0, np.inf, array)),
            LOOSE,
            "infinite values, none in the reference",
        ),
        (
            then(lambda array: array[:, 1:]),
            LOOSE,
            "output 'logits': expected shape [1, 40] as in the reference, got [1, 39]",
        ),
        (
            lambda inputs: {"other": classify(inputs)["logits"]},
            LOOSE,
            "outputs: expected logits as in the reference, got other",
        ),
    ],
)
def test_a_failure_says_what_is_wrong(
    candidate: InferFunction, thresholds: SelfCheckThresholds, reason: str
) -> None:
    report = check(candidate, thresholds)
    assert not report.passed
    (found,) = report.reasons
    assert reason in found
    assert reason in report.summary()
    assert "\n" not in report.summary()
    assert "self_check of model.yaml" in report.summary()


def test_one_nan_in_one_image_is_enough() -> None:
    calls = []

    def seldom(array: NDArray[Any]) -> NDArray[Any]:
        calls.append(array)
        if len(calls) == 4:
            array[0, 0] = np.nan
        return array

    report = check(then(seldom), LOOSE)
    assert report.reasons == ("output logits: 1 NaN values, none in the reference",)


def test_a_tensor_error_of_the_candidate_is_reported_once() -> None:
    def refuse(inputs: Tensors) -> Tensors:
        raise TensorError("tensor 'image': expected float16, got float32")

    report = check(refuse)
    assert report.reasons == ("tensor 'image': expected float16, got float32 (on 10 of 10 images)",)
    assert report.figures() == {}


def test_other_errors_pass_through() -> None:
    def fail(inputs: Tensors) -> Tensors:
        raise BackendError("out of memory")

    with pytest.raises(BackendError, match="out of memory"):
        check(fail)


def test_errors_of_the_reference_pass_through() -> None:
    def refuse(inputs: Tensors) -> Tensors:
        raise TensorError("no such input")

    with pytest.raises(TensorError, match="no such input"):
        run_self_check(CLASSIFIER, refuse, classify, make_images(1))


def test_a_tie_agrees() -> None:
    def gives(*logits: float) -> InferFunction:
        return lambda inputs: {"logits": np.array([logits + (-20.0,) * 38], np.float32)}

    tie, reversed_tie = gives(1.0, 1.05), gives(1.05, 1.0)
    assert run_self_check(CLASSIFIER, tie, reversed_tie, make_images(3)).passed
    clear, reversed_clear = gives(1.0, 3.0), gives(3.0, 1.0)
    report = run_self_check(CLASSIFIER, clear, reversed_clear, make_images(3), LOOSE)
    assert report.figures()["agreement"] == 0.0


def detect(*scores: float) -> InferFunction:
    return lambda inputs: yolov8(to_tensor(BOXES), IDS, np.array(scores, np.float32))


@pytest.mark.parametrize(
    ("scores", "agreement"),
    [
        (tuple(SCORES), 1.0),
        ((0.9, 0.75, 0.42), 1.0),
        ((0.9, 0.75, 0.35), 1.0),  # below the confidence of 0.4 by less than the margin
        ((0.9, 0.75, 0.25), 0.8),
        ((0.1, 0.1, 0.1), 0.0),
    ],
)
def test_boxes_near_the_threshold(scores: tuple[float, ...], agreement: float) -> None:
    report = run_self_check(DETECTOR, detect(*SCORES), detect(*scores), make_images(2), LOOSE)
    assert report.figures()["agreement"] == pytest.approx(agreement)


def test_a_detector_that_reports_everything_is_checked_too() -> None:
    settings = dataclasses.replace(DETECTOR.decoder_settings, confidence=0.0)
    model = dataclasses.replace(DETECTOR, decoder_settings=settings)
    assert run_self_check(model, detect(*SCORES), detect(*SCORES), make_images(1)).passed


@dataclasses.dataclass(frozen=True)
class NoConfidence:
    """Settings of a custom detector."""


def test_a_detector_without_confidence(monkeypatch: pytest.MonkeyPatch) -> None:
    yolo = decoders.find("yolov8")

    def decode(outputs: Tensors, context: Any, settings: NoConfidence) -> Any:
        return yolo.function(outputs, context, yolo.settings_class())

    entry = decoders.DecoderEntry("own", NoConfidence, decode)
    monkeypatch.setattr(decoders, "find", lambda name: entry)
    model = dataclasses.replace(DETECTOR, decoder="own", decoder_settings=NoConfidence())
    assert run_self_check(model, detect(*SCORES), detect(*SCORES), make_images(1)).passed


def golden_model(folder: Path, *sizes: tuple[int, int]) -> ModelDescription:
    """Return a model with golden images of these widths and heights, each of random pixels."""
    random = np.random.default_rng(9)
    golden = []
    for number, (width, height) in enumerate(sizes):
        file = folder / f"{number}.png"
        pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        cv2.imwrite(str(file), pixels)
        golden.append(Golden(file, (), Tolerance()))
    return dataclasses.replace(CLASSIFIER, golden=tuple(golden))


def sizes_of(frames: list[Frame]) -> list[tuple[int, int]]:
    return [(frame.width, frame.height) for frame in frames]


def test_images_are_the_golden_ones_and_their_crops(tmp_path: Path) -> None:
    found = self_check_images(golden_model(tmp_path, (40, 20)))
    assert sizes_of(found) == [(40, 20)] + [(30, 15)] * 5 + [(20, 10)] * 5
    image = found[0].data.reshape(20, 40, 3)
    corner = found[2].data.reshape(15, 30, 3)
    assert np.array_equal(corner, image[:15, :30])
    assert len({frame.data.tobytes() for frame in found}) == 11


def test_images_are_limited_and_spread_over_the_golden_images(tmp_path: Path) -> None:
    model = golden_model(tmp_path, (40, 20), (8, 8), (4, 4))
    found = self_check_images(model)
    assert len(found) == 24
    assert sizes_of(found[:6]) == [(40, 20), (8, 8), (4, 4), (30, 15), (6, 6), (3, 3)]
    assert len(self_check_images(model, count=2)) == 2


def test_images_are_the_same_every_time(tmp_path: Path) -> None:
    model = golden_model(tmp_path, (7, 5))
    first, second = self_check_images(model), self_check_images(model)
    assert all(
        np.array_equal(one.data, other.data) for one, other in zip(first, second, strict=True)
    )


def test_the_smallest_image_has_crops(tmp_path: Path) -> None:
    found = self_check_images(golden_model(tmp_path, (1, 1)))
    assert sizes_of(found) == [(1, 1)] * 11
    assert run_self_check(CLASSIFIER, classify, classify, found).passed


def test_a_model_without_golden_images_gets_a_generated_one() -> None:
    (found,) = self_check_images(CLASSIFIER)
    assert math.isfinite(float(found.data.std()))
    assert found.data.std() > 0


def test_a_missing_golden_image(tmp_path: Path) -> None:
    model = golden_model(tmp_path, (4, 4))
    (tmp_path / "0.png").unlink()
    with pytest.raises(ModelError, match=r"0\.png: cannot be read"):
        self_check_images(model)
