"""The numerical self-check: does a candidate still compute what the model computes in fp32?

The model's golden images and crops of them run on a reference and on the
candidate, which is another engine, another precision, or both. What they give is
compared as numbers and as results (``agreement.py``). A quantisation that
lost too much, an overflow in half precision or a wrongly built engine shows
here although every golden image may still have its right answer.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from edge_inference.core.images.frame import Frame
from edge_inference.core.images.geometry import Geometry
from edge_inference.core.images.preprocess import Preprocessor
from edge_inference.core.models.agreement import (
    OutputAgreement,
    ResultAgreement,
    compare_outputs,
    compare_results,
)
from edge_inference.core.models.golden import SelfCheckThresholds
from edge_inference.core.models.golden_check import InferFunction, make_ramp_image, read_image
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.settings import change
from edge_inference.errors import TensorError

#: How much lower the confidence is for the partner of a box, and how much apart two
#: classes' scores may be to count as a tie.
SCORE_MARGIN = 0.1
#: Sides of the crops as parts of an image's sides: four corners and the centre of each.
CROPS = (0.75, 0.5)

_MEND = (
    "keep more layers in fp32, calibrate with other images, or change the thresholds in "
    "self_check of model.yaml"
)


@dataclass(frozen=True)
class SelfCheckReport:
    """What the check found.

    ``results`` and ``outputs`` are summed over the images, None where no
    image got that far.
    """

    images: int
    reasons: tuple[str, ...]
    results: ResultAgreement | None
    outputs: OutputAgreement | None

    @property
    def passed(self) -> bool:
        """Tell whether the candidate reaches every threshold."""
        return not self.reasons

    def figures(self) -> dict[str, float]:
        """Return what was measured, by name; empty where nothing was.

        ``sqnr_db`` is left out where it is infinite, as it is for equal outputs.
        """
        found: dict[str, float] = {}
        if self.results is not None:
            found["agreement"] = self.results.share
        if self.outputs is not None:
            found["cosine"] = self.outputs.cosine
            if math.isfinite(self.outputs.sqnr_db):
                found["sqnr_db"] = self.outputs.sqnr_db
            found["largest_difference"] = self.outputs.largest_difference
            found["nan"] = self.outputs.nan_count
            found["inf"] = self.outputs.inf_count
        return found

    def summary(self) -> str:
        """Say the outcome in one sentence."""
        if not self.passed:
            return f"self-check: failed: {'; '.join(self.reasons)}; {_MEND}"
        if self.results is None or self.outputs is None:
            return "self-check: no image to compare on; nothing was checked"
        closeness = "outputs equal"
        if self.outputs.largest_difference:
            closeness = f"cosine {self.outputs.cosine:.4f}, SQNR {self.outputs.sqnr_db:.1f} dB"
        return (
            f"self-check: passed on {self.images} image(s), agreement "
            f"{self.results.share:.1%}, {closeness}"
        )


def run_self_check(
    model: ModelDescription,
    reference: InferFunction,
    candidate: InferFunction,
    images: Sequence[Frame],
    wanted: SelfCheckThresholds | None = None,
) -> SelfCheckReport:
    """Run images through both and hold the candidate against what the model wants, or ``wanted``.

    ``reference`` and ``candidate`` take and give arrays by tensor name, as
    ``Backend.infer`` does. Values that are not finite where the reference's
    are always fail. So does a candidate that raises TensorError, gives other
    tensors than the reference, or gives what cannot be decoded. Every other
    error passes through, and every error of the reference.
    """
    comparison = _Comparison(model, reference, candidate)
    for image in images:
        comparison.add(image)
    return SelfCheckReport(
        images=len(images),
        reasons=tuple(
            comparison.refusals() + _shortcomings(comparison, wanted or model.self_check)
        ),
        results=comparison.results,
        outputs=comparison.outputs,
    )


def self_check_images(model: ModelDescription, count: int = 24) -> list[Frame]:
    """Return at most ``count`` images for the check, always the same ones.

    They are the golden images, then crops of each in turn, so that the check
    sees more than a handful of scenes; for a model without golden images one
    invented image, which shows little but gross faults. Raises ModelError
    for an unreadable image.
    """
    whole = [read_image(golden.image) for golden in model.golden]
    if not whole:
        return [make_ramp_image()]
    crops = zip(*(_crops(image) for image in whole), strict=True)
    return [*whole, *(crop for turn in crops for crop in turn)][:count]


class _Comparison:
    """Adds up what the images give."""

    def __init__(
        self, model: ModelDescription, reference: InferFunction, candidate: InferFunction
    ) -> None:
        self.results: ResultAgreement | None = None
        self.outputs: OutputAgreement | None = None
        self._model = model
        self._reference = reference
        self._candidate = candidate
        self._preprocess = Preprocessor(model.input)
        self._lenient = _lenient_settings(model)
        self._images = 0
        self._refused: dict[str, int] = {}

    def add(self, image: Frame) -> None:
        """Run and compare one image."""
        self._images += 1
        tensor, geometry = self._preprocess(image)
        inputs = {self._model.input.name: tensor}
        expected = self._reference(inputs)
        truth = self._decoded(expected, geometry)
        try:
            found = self._candidate(inputs)
            outputs = compare_outputs(expected, found)
            self.outputs = outputs if self.outputs is None else self.outputs + outputs
            if outputs.nan_count or outputs.inf_count:
                return  # said by the counts; decoding would only repeat it
            strict, lenient = self._decoded(found, geometry)
            results = compare_results(
                truth[0],
                strict,
                margin=SCORE_MARGIN,
                lenient_reference=truth[1],
                lenient_candidate=lenient,
            )
            self.results = results if self.results is None else self.results + results
        except TensorError as error:
            self._refused[str(error)] = self._refused.get(str(error), 0) + 1

    def refusals(self) -> list[str]:
        """Say what made images fail outright, each sentence once."""
        return [
            f"{sentence} (on {count} of {self._images} images)"
            for sentence, count in self._refused.items()
        ]

    def _decoded(self, outputs: Mapping[str, NDArray[Any]], geometry: Geometry) -> tuple[Any, Any]:
        strict = self._model.decode(outputs, geometry)
        if self._lenient is None:
            return strict, strict
        return strict, self._model.decode(outputs, geometry, self._lenient)


def _lenient_settings(model: ModelDescription) -> Any:
    """Return a detector's settings with a lower confidence, or None where it has none."""
    names = {field.name for field in dataclasses.fields(model.decoder_settings)}
    if model.task != "detection" or "confidence" not in names:
        return None
    confidence = max(model.decoder_settings.confidence - SCORE_MARGIN, 0.0)
    return change(model.decoder_settings, {"confidence": confidence})


def _shortcomings(comparison: _Comparison, wanted: SelfCheckThresholds) -> list[str]:
    """Say which figures are not what is wanted. A figure that is no number is not enough."""
    found = []
    for tensor in comparison.outputs.tensors if comparison.outputs else ():
        for count, what in ((tensor.nan_count, "NaN"), (tensor.inf_count, "infinite")):
            if count:
                found.append(f"output {tensor.name}: {count} {what} values, none in the reference")
        if tensor.is_continuous and not tensor.cosine >= wanted.cosine:
            found.append(
                f"output {tensor.name}: cosine similarity {tensor.cosine:.3f}, "
                f"at least {wanted.cosine:g} is needed"
            )
        if tensor.is_continuous and not tensor.sqnr_db >= wanted.sqnr_db:
            found.append(
                f"output {tensor.name}: SQNR {tensor.sqnr_db:.1f} dB, "
                f"at least {wanted.sqnr_db:g} dB is needed"
            )
    if comparison.results is not None and not comparison.results.share >= wanted.agreement:
        found.append(
            f"{comparison.results.share:.1%} of the results agree, "
            f"at least {wanted.agreement:.1%} is needed"
        )
    return found


def _crops(image: Frame) -> list[Frame]:
    """Cut the centre and the corners out of a bgr8 image, the larger ones first."""
    pixels = image.data.reshape(image.height, image.width, 3)
    found = []
    for part in CROPS:
        height = max(round(image.height * part), 1)
        width = max(round(image.width * part), 1)
        down, right = image.height - height, image.width - width
        for y, x in ((down // 2, right // 2), (0, 0), (0, right), (down, 0), (down, right)):
            found.append(Frame.from_array(pixels[y : y + height, x : x + width]))
    return found
