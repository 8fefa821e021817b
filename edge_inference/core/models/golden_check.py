"""The golden check: does a model on this engine find what it must find in the golden images?

A model folder has golden images with the expected results. The check runs them through
preprocessing, the given engine and decoding, and compares the results. It detects a wrong colour
order, a broken quantization or an engine that overflows before the first frame.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.images import image_file
from edge_inference.core.images.frame import Frame
from edge_inference.core.images.preprocess import Preprocessor
from edge_inference.core.models.fitting_decoders import advise_decoder
from edge_inference.core.models.golden import Golden
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.results import GoldenComparison, Result
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
    #: Whether every image had a result. Without one, no image will have any.
    has_results: bool = True

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
    reasons: list[str] = []
    ious: list[float] = []
    differences: list[float] = []
    has_results = True
    for golden in model.golden:
        name = golden.image.name
        try:
            result = _run_model(model, preprocess, infer, read_image(golden.image))
        except TensorError as error:
            reasons.append(f"{name}: {error}")
            has_results = False
        else:
            comparison = _compare(model, golden, result)
            reasons += [f"{name}: {reason}" for reason in comparison.reasons]
            ious += comparison.ious
            differences += comparison.score_differences
    if not model.golden:
        try:
            _run_model(model, preprocess, infer, make_ramp_image(model.input.channels))
        except TensorError as error:
            reasons.append(f"trial run: {error}")
            has_results = False
    return GoldenReport(
        images=len(model.golden),
        reasons=tuple(reasons),
        min_iou=min(ious, default=None),
        max_score_difference=max(differences, default=None),
        has_results=has_results,
    )


def read_image(file: Path) -> Frame:
    """Read an image file as bgr8, or as bgra8 where it has alpha. Raises ModelError."""
    try:
        return Frame.from_array(image_file.read_image(file, keeps_alpha=True))
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
    try:
        return model.decode(outputs, geometry)
    except TensorError as error:
        raise advise_decoder(error, model, outputs, geometry) from error


def make_ramp_image(channels: int = 3) -> Frame:
    """Return a generated image. It is not uniform: a normalization may divide by the deviation.

    A model with one channel gets it as gray.
    """
    side = 64
    values = np.arange(side * side * channels, dtype=np.uint32) % 256
    return Frame.from_array(values.astype(np.uint8).reshape(side, side, channels))


def _compare(model: ModelDescription, golden: Golden, result: Result) -> GoldenComparison:
    form = model.kind.golden
    if form is None:
        return GoldenComparison(
            [f"golden images cannot have a result of the kind {model.kind.name}; remove the image"]
        )
    fitting = [item for item in golden.expected if isinstance(item, form.expected_class)]
    comparison = form.compare(fitting, result, golden.tolerance)
    others = len(golden.expected) - len(fitting)
    if others:
        comparison.reasons.append(
            f"{others} expected entries do not fit a result of the kind {model.kind.name}; they "
            "are not checked"
        )
    return comparison
