"""The golden check: does a model on this engine find what it must find in the golden images?

A model folder has golden images with the expected results. The check runs them through
preprocessing, the given engine and decoding, and compares the results. It detects a wrong colour
order, a broken quantization or an engine that overflows before the first frame.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.exhaustive import unhandled_error
from edge_inference.core.images import image_file
from edge_inference.core.images.frame import Frame
from edge_inference.core.images.preprocess import Preprocessor
from edge_inference.core.models.golden import (
    ExpectedArea,
    ExpectedClass,
    ExpectedObject,
    Golden,
    Tolerance,
)
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.results import (
    Classification,
    DepthMap,
    Detections,
    Result,
    Segmentation,
)
from edge_inference.errors import ImageError, ModelError, TensorError

InferFunction = Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]


@dataclass(frozen=True)
class GoldenReport:
    """The outcome of the check.

    ``min_iou`` and ``max_score_difference`` are the worst figures over all images, None if the
    task has no such figure or nothing matched.
    """

    images: int
    reasons: tuple[str, ...]
    min_iou: float | None
    max_score_difference: float | None

    @property
    def passed(self) -> bool:
        """Tell whether every image led to the expected result."""
        return not self.reasons

    def summary(self) -> str:
        """Return the outcome in one sentence."""
        if self.passed and not self.images:
            return "golden check: no golden images; the model runs, but its results are not checked"
        figures = ""
        if self.min_iou is not None:
            figures += f", lowest overlap {self.min_iou:.3f}"
        if self.max_score_difference is not None:
            figures += f", largest score difference {self.max_score_difference:.3f}"
        if self.passed:
            return f"golden check: passed on {self.images} image(s){figures}"
        return f"golden check: failed: {'; '.join(self.reasons)}{figures}"


def run_golden_check(model: ModelDescription, infer: InferFunction) -> GoldenReport:
    """Run a model's golden images through ``infer`` and compare.

    ``infer`` maps arrays by tensor name, like ``Backend.infer``. The check fails if ``infer``
    refuses an input, or if its outputs cannot be decoded (not finite, wrong shape). A model
    without golden images runs on a generated image to check this. Other errors of ``infer`` pass
    through. Raises ModelError for an image that cannot be read.
    """
    preprocess = Preprocessor(model.input)
    comparison = _GoldenComparison()
    for golden in model.golden:
        name = golden.image.name
        try:
            result = _run_model(model, preprocess, infer, read_image(golden.image))
        except TensorError as error:
            comparison.reasons.append(f"{name}: {error}")
        else:
            comparison.compare(name, golden, result)
    if not model.golden:
        try:
            _run_model(model, preprocess, infer, make_ramp_image())
        except TensorError as error:
            comparison.reasons.append(f"trial run: {error}")
    return GoldenReport(
        images=len(model.golden),
        reasons=tuple(comparison.reasons),
        min_iou=min(comparison.ious, default=None),
        max_score_difference=max(comparison.differences, default=None),
    )


def read_image(file: Path) -> Frame:
    """Read an image file as bgr8. Raises ModelError."""
    try:
        return Frame.from_array(image_file.read_image(file))
    except OSError as error:
        raise ModelError(f"{file}: cannot be read ({error.strerror}); restore the file") from error
    except ImageError as error:
        raise ModelError(f"{file}: {error}; restore the original file") from error


def _run_model(
    model: ModelDescription, preprocess: Preprocessor, infer: InferFunction, image: Frame
) -> Result:
    tensor, geometry = preprocess(image)
    try:
        outputs = infer({model.input.name: tensor})
    except TensorError as error:
        raise TensorError(f"{error}; correct the section input of model.yaml") from error
    return model.decode(outputs, geometry)


def make_ramp_image() -> Frame:
    """Return a generated image. It is not uniform: a normalization may divide by the deviation."""
    side = 64
    values = np.arange(side * side * 3, dtype=np.uint32) % 256
    return Frame.from_array(values.astype(np.uint8).reshape(side, side, 3))


def box_ious(box: NDArray[np.floating], boxes: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the intersection over union of a box ``(4,)`` with each of ``(N, 4)``, x1 y1 x2 y2."""
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    intersections = np.prod(np.maximum(sides, 0), axis=1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    unions = np.prod(box[2:] - box[:2]) + areas - intersections
    return np.asarray(intersections / np.maximum(unions, np.finfo(np.float32).tiny))


class _GoldenComparison:
    """Collects reasons and figures over all images."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.ious: list[float] = []
        self.differences: list[float] = []

    def compare(self, name: str, golden: Golden, result: Result) -> None:
        expected = golden.expected
        if isinstance(result, Detections):
            objects = [item for item in expected if isinstance(item, ExpectedObject)]
            compared = len(objects)
            self._detections(name, objects, result, golden.tolerance)
        elif isinstance(result, Classification):
            classes = [item for item in expected if isinstance(item, ExpectedClass)]
            compared = len(classes)
            self._classification(name, classes, result, golden.tolerance)
        elif isinstance(result, Segmentation):
            areas = [item for item in expected if isinstance(item, ExpectedArea)]
            compared = len(areas)
            self._segmentation(name, areas, result, golden.tolerance)
        elif isinstance(result, DepthMap):
            self.reasons.append(f"{name}: golden images cannot have a depth map; remove the image")
            return
        else:
            raise unhandled_error(result, name)
        if compared < len(expected):
            self.reasons.append(
                f"{name}: {len(expected) - compared} expected entries do not fit a result of the "
                f"kind {type(result).__name__}; they are not checked"
            )

    def _detections(
        self,
        name: str,
        expected: Sequence[ExpectedObject],
        detections: Detections,
        tolerance: Tolerance,
    ) -> None:
        unmatched = set(range(len(detections)))
        for item in expected:
            x, y, width, height = item.box
            box = np.array([x, y, x + width, y + height])
            ious = box_ious(box, detections.boxes.astype(np.float64))
            same_label = [index for index in unmatched if detections.label(index) == item.label]
            best = max(same_label, key=lambda index: float(ious[index]), default=None)
            iou = 0.0 if best is None else float(ious[best])
            self.ious.append(iou)
            if best is None or iou < tolerance.iou:
                self.reasons.append(
                    f"{name}: expected {item.label} at {list(item.box)}, best overlap "
                    f"{iou:.2f}, at least {tolerance.iou:g} is needed"
                )
                continue
            unmatched.remove(best)
            self._score(name, item.label, item.score, float(detections.scores[best]), tolerance)
        for index in sorted(unmatched):
            score = detections.scores[index]
            if score >= tolerance.extra:
                self.reasons.append(
                    f"{name}: unexpected {detections.label(index)} with score {score:.2f}"
                )

    def _classification(
        self,
        name: str,
        expected: Sequence[ExpectedClass],
        result: Classification,
        tolerance: Tolerance,
    ) -> None:
        scores = {result.label(index): float(result.scores[index]) for index in range(len(result))}
        best = result.label(0) if len(result) else "nothing"
        if expected and best != expected[0].label:
            self.reasons.append(f"{name}: expected {expected[0].label} first, got {best}")
        for item in expected:
            if item.label in scores:
                self._score(name, item.label, item.score, scores[item.label], tolerance)
            else:
                self.reasons.append(f"{name}: {item.label} is not among the first {len(result)}")

    def _segmentation(
        self,
        name: str,
        expected: Sequence[ExpectedArea],
        result: Segmentation,
        tolerance: Tolerance,
    ) -> None:
        for item in expected:
            share = float(np.mean(result.mask == result.labels.index(item.label)))
            self._score(name, item.label, item.share, share, tolerance)

    def _score(
        self, name: str, label: str, expected: float, actual: float, tolerance: Tolerance
    ) -> None:
        difference = abs(expected - actual)
        self.differences.append(difference)
        if difference > tolerance.score:
            self.reasons.append(
                f"{name}: {label} is {actual:.2f}, expected {expected:.2f} ± {tolerance.score:g}"
            )
