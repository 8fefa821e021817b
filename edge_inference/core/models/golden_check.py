"""The golden check: does a model, as it runs here, still find what it should?

A model folder holds images and what the model finds in them. The check runs
them through preprocessing, the given engine and decoding, and compares. A
wrong colour order, a broken quantisation or an engine that overflows shows up
here, before the first frame.
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
    """What the check found.

    ``lowest_iou`` and ``largest_score_difference`` say how close it was, over
    all images; None where the task has no such figure or nothing matched.
    """

    images: int
    reasons: tuple[str, ...]
    lowest_iou: float | None
    largest_score_difference: float | None

    @property
    def passed(self) -> bool:
        """Tell whether every image gave what was expected."""
        return not self.reasons

    def summary(self) -> str:
        """Say the outcome in one sentence."""
        if self.passed and not self.images:
            return "golden check: no golden images; the model runs, what it finds is not checked"
        figures = ""
        if self.lowest_iou is not None:
            figures += f", lowest overlap {self.lowest_iou:.3f}"
        if self.largest_score_difference is not None:
            figures += f", largest score difference {self.largest_score_difference:.3f}"
        if self.passed:
            return f"golden check: passed on {self.images} image(s){figures}"
        return f"golden check: failed: {'; '.join(self.reasons)}{figures}"


def run_golden_check(model: ModelDescription, infer: InferFunction) -> GoldenReport:
    """Run a model's golden images through ``infer`` and compare.

    ``infer`` takes and gives arrays by tensor name, as ``Backend.infer`` does.
    An input that it refuses and outputs that cannot be decoded (not finite,
    wrong shape) are a failed check; a model without golden images is tried on
    an invented one for these. Other errors of ``infer`` pass through. Raises
    ModelError for an unreadable image.
    """
    preprocess = Preprocessor(model.input)
    comparison = _Comparison()
    for golden in model.golden:
        name = golden.image.name
        try:
            result = _result(model, preprocess, infer, read_image(golden.image))
        except TensorError as error:
            comparison.reasons.append(f"{name}: {error}")
        else:
            comparison.compare(name, golden, result)
    if not model.golden:
        try:
            _result(model, preprocess, infer, make_ramp_image())
        except TensorError as error:
            comparison.reasons.append(f"trial run: {error}")
    return GoldenReport(
        images=len(model.golden),
        reasons=tuple(comparison.reasons),
        lowest_iou=min(comparison.overlaps, default=None),
        largest_score_difference=max(comparison.differences, default=None),
    )


def read_image(file: Path) -> Frame:
    """Read an image file as bgr8. Raises ModelError."""
    try:
        return Frame.from_array(image_file.read_image(file))
    except OSError as error:
        raise ModelError(f"{file}: cannot be read ({error.strerror}); put it back") from error
    except ImageError as error:
        raise ModelError(f"{file}: {error}; put the original back") from error


def _result(
    model: ModelDescription, preprocess: Preprocessor, infer: InferFunction, image: Frame
) -> Result:
    tensor, geometry = preprocess(image)
    try:
        outputs = infer({model.input.name: tensor})
    except TensorError as error:
        raise TensorError(f"{error}; correct input in model.yaml") from error
    return model.decode(outputs, geometry)


def make_ramp_image() -> Frame:
    """Return an image of nothing; unlike an even one, it has a deviation to divide by."""
    side = 64
    values = np.arange(side * side * 3, dtype=np.uint32) % 256
    return Frame.from_array(values.astype(np.uint8).reshape(side, side, 3))


def box_ious(box: NDArray[np.floating], boxes: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the intersection over union of a box ``(4,)`` with each of ``(N, 4)``, x1 y1 x2 y2."""
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    shared = np.prod(np.maximum(sides, 0), axis=1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    union = np.prod(box[2:] - box[:2]) + areas - shared
    return np.asarray(shared / np.maximum(union, np.finfo(np.float32).tiny))


class _Comparison:
    """Gathers reasons and figures over all images."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.overlaps: list[float] = []
        self.differences: list[float] = []

    def compare(self, name: str, golden: Golden, result: Result) -> None:
        expected = golden.expected
        if isinstance(result, Detections):
            objects = [wanted for wanted in expected if isinstance(wanted, ExpectedObject)]
            compared = len(objects)
            self._detections(name, objects, result, golden.tolerance)
        elif isinstance(result, Classification):
            classes = [wanted for wanted in expected if isinstance(wanted, ExpectedClass)]
            compared = len(classes)
            self._classification(name, classes, result, golden.tolerance)
        elif isinstance(result, Segmentation):
            areas = [wanted for wanted in expected if isinstance(wanted, ExpectedArea)]
            compared = len(areas)
            self._segmentation(name, areas, result, golden.tolerance)
        elif isinstance(result, DepthMap):
            self.reasons.append(f"{name}: nothing to compare a depth map with; remove the image")
            return
        else:
            raise unhandled_error(result, name)
        if compared < len(expected):
            self.reasons.append(
                f"{name}: {len(expected) - compared} of what is expected are of another kind than "
                f"{type(result).__name__}; nobody has looked for them"
            )

    def _detections(
        self,
        name: str,
        expected: Sequence[ExpectedObject],
        found: Detections,
        tolerance: Tolerance,
    ) -> None:
        free = set(range(len(found)))
        for wanted in expected:
            x, y, width, height = wanted.box
            box = np.array([x, y, x + width, y + height])
            overlaps = box_ious(box, found.boxes.astype(np.float64))
            rivals = [index for index in free if found.label(index) == wanted.label]
            best = max(rivals, key=lambda index: float(overlaps[index]), default=None)
            overlap = 0.0 if best is None else float(overlaps[best])
            self.overlaps.append(overlap)
            if best is None or overlap < tolerance.iou:
                self.reasons.append(
                    f"{name}: expected {wanted.label} at {list(wanted.box)}, best overlap "
                    f"{overlap:.2f}, at least {tolerance.iou:g} is needed"
                )
                continue
            free.remove(best)
            self._score(name, wanted.label, wanted.score, float(found.scores[best]), tolerance)
        for index in sorted(free):
            if found.scores[index] >= tolerance.extra:
                self.reasons.append(
                    f"{name}: unexpected {found.label(index)} with score {found.scores[index]:.2f}"
                )

    def _classification(
        self,
        name: str,
        expected: Sequence[ExpectedClass],
        found: Classification,
        tolerance: Tolerance,
    ) -> None:
        scores = {found.label(index): float(found.scores[index]) for index in range(len(found))}
        best = found.label(0) if len(found) else "nothing"
        if expected and best != expected[0].label:
            self.reasons.append(f"{name}: expected {expected[0].label} first, got {best}")
        for wanted in expected:
            if wanted.label in scores:
                self._score(name, wanted.label, wanted.score, scores[wanted.label], tolerance)
            else:
                self.reasons.append(f"{name}: {wanted.label} is not among the first {len(found)}")

    def _segmentation(
        self,
        name: str,
        expected: Sequence[ExpectedArea],
        found: Segmentation,
        tolerance: Tolerance,
    ) -> None:
        for wanted in expected:
            share = float(np.mean(found.mask == found.labels.index(wanted.label)))
            self._score(name, wanted.label, wanted.share, share, tolerance)

    def _score(
        self, name: str, label: str, wanted: float, got: float, tolerance: Tolerance
    ) -> None:
        difference = abs(wanted - got)
        self.differences.append(difference)
        if difference > tolerance.score:
            self.reasons.append(
                f"{name}: {label} is {got:.2f}, expected {wanted:.2f} ± {tolerance.score:g}"
            )
