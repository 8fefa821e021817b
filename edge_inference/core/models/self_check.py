"""The self-check: does a candidate compute the same as the model in fp32, closely enough?

The model's golden images and crops of them run on a reference and on the candidate, which is
another engine, another precision, or both. Outputs and decoded results are compared
(``agreement.py``). This detects a quantization with too much loss, an overflow in fp16 or a
wrongly built engine, even if the results of all golden images are still correct.
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
    compare_outputs,
    compare_results,
)
from edge_inference.core.models.golden import SelfCheckThresholds
from edge_inference.core.models.golden_check import InferFunction, make_ramp_image, read_image
from edge_inference.core.models.graph.data_dependence import DataDependence, find_data_dependence
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.results import ResultAgreement
from edge_inference.core.settings import change
from edge_inference.errors import TensorError

#: A matching box may have a score this much below the confidence threshold, and two classes whose
#: scores differ by at most this much are a tie.
SCORE_MARGIN = 0.1
#: Sizes of the crops relative to the image; each size is cut from the centre and the corners.
CROPS = (0.75, 0.5)

_HINT = (
    "keep more layers in fp32, calibrate with other images, or change the thresholds in "
    "self_check of model.yaml"
)


@dataclass(frozen=True)
class SelfCheckReport:
    """The outcome of the check.

    ``results`` and ``outputs`` are summed over the images, None if no image could be compared.
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
        """Return the measured figures by name.

        ``sqnr_db`` is left out if it is infinite, as for equal outputs.
        """
        figures: dict[str, float] = {}
        if self.results is not None:
            figures["agreement"] = self.results.share
        if self.outputs is not None and self.outputs.tensors:
            figures["cosine"] = self.outputs.cosine
            if math.isfinite(self.outputs.sqnr_db):
                figures["sqnr_db"] = self.outputs.sqnr_db
            figures["max_difference"] = self.outputs.max_difference
            figures["nan"] = self.outputs.nan_count
            figures["inf"] = self.outputs.inf_count
        return figures

    def summary(self) -> str:
        """Return the outcome in one sentence."""
        if not self.passed:
            return f"self-check: failed: {'; '.join(self.reasons)}; {_HINT}"
        if self.results is None or self.outputs is None:
            return "self-check: no image could be compared; nothing was checked"
        closeness = "outputs equal"
        if not self.outputs.tensors:
            closeness = "raw outputs not compared: their rows depend on the data"
        elif self.outputs.max_difference:
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
    thresholds: SelfCheckThresholds | None = None,
) -> SelfCheckReport:
    """Run images through both, and check the candidate against thresholds, by default the model's.

    ``reference`` and ``candidate`` map arrays by tensor name, like ``Backend.infer``. The
    candidate fails if a value is not finite where the reference is, if it raises TensorError, if
    its tensors have other names or shapes than the reference's, or if they cannot be decoded.
    Outputs whose rows the graph chooses by value (NMS, TopK) are compared after decoding only.
    All other errors of the candidate and all errors of the reference pass through.
    """
    comparison = _ImageComparison(model, reference, candidate)
    for image in images:
        comparison.add(image)
    return SelfCheckReport(
        images=len(images),
        reasons=tuple(
            comparison.errors() + _check_thresholds(comparison, thresholds or model.self_check)
        ),
        results=comparison.results,
        outputs=comparison.outputs,
    )


def self_check_images(model: ModelDescription, count: int = 24) -> list[Frame]:
    """Return at most ``count`` images for the check, always the same ones.

    First come the golden images, then crops of each in turn, so that the check covers more than
    a few scenes. A model without golden images has one generated image, which reveals only gross
    faults. Raises ModelError for an image that cannot be read.
    """
    images = [read_image(golden.image) for golden in model.golden]
    if not images:
        return [make_ramp_image(model.input.channels)]
    crops = zip(*(_crop(image) for image in images), strict=True)
    return [*images, *(crop for same_place in crops for crop in same_place)][:count]


class _ImageComparison:
    """Adds up the agreement over the images."""

    def __init__(
        self, model: ModelDescription, reference: InferFunction, candidate: InferFunction
    ) -> None:
        self.results: ResultAgreement | None = None
        self.outputs: OutputAgreement | None = None
        self._model = model
        self._reference = reference
        self._candidate = candidate
        self._preprocess = Preprocessor(model.input)
        self._dependence = _data_dependence(model)
        self._unordered = set(self._dependence.unordered)
        self._strict, self._lenient = _settings(model, self._dependence)
        self._images = 0
        self._errors: dict[str, int] = {}

    def add(self, image: Frame) -> None:
        """Run and compare one image."""
        self._images += 1
        tensor, geometry = self._preprocess(image)
        inputs = {self._model.input.name: tensor}
        expected = self._reference(inputs)
        expected_results = self._decode(expected, geometry)
        try:
            actual = self._candidate(inputs)
            if self._find_unordered(expected, actual):
                expected_results = self._decode(expected, geometry)
            outputs = compare_outputs(self._ordered(expected), self._ordered(actual))
            self.outputs = outputs if self.outputs is None else self.outputs + outputs
            if outputs.nan_count or outputs.inf_count:
                return  # the counts report it; decoding would fail for the same reason
            strict, lenient = self._decode(actual, geometry)
            results = compare_results(
                expected_results[0],
                strict,
                margin=SCORE_MARGIN,
                lenient_reference=expected_results[1],
                lenient_candidate=lenient,
            )
            self.results = results if self.results is None else self.results + results
        except TensorError as error:
            self._errors[str(error)] = self._errors.get(str(error), 0) + 1

    def _find_unordered(
        self, expected: Mapping[str, NDArray[Any]], actual: Mapping[str, NDArray[Any]]
    ) -> bool:
        """Find outputs of unknown axes with other rows than the reference's; tell whether any."""
        found = {
            name
            for name in self._dependence.unknown - self._unordered
            if name in expected and name in actual and expected[name].shape != actual[name].shape
        }
        if found:
            self._unordered |= found
            dependence = dataclasses.replace(self._dependence, is_cut=True)
            self._strict, self._lenient = _settings(self._model, dependence)
            kept = self.outputs.tensors if self.outputs is not None else ()
            self.outputs = OutputAgreement(tuple(each for each in kept if each.name not in found))
        return bool(found)

    def _ordered(self, outputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return the outputs whose elements at the same position belong together."""
        return {name: array for name, array in outputs.items() if name not in self._unordered}

    def errors(self) -> list[str]:
        """Return the errors of images that could not be compared, each sentence once."""
        return [
            f"{sentence} (on {count} of {self._images} images)"
            for sentence, count in self._errors.items()
        ]

    def _decode(self, outputs: Mapping[str, NDArray[Any]], geometry: Geometry) -> tuple[Any, Any]:
        strict = self._model.decode(outputs, geometry, self._strict)
        if self._lenient is None:
            return strict, strict
        return strict, self._model.decode(outputs, geometry, self._lenient)


def _data_dependence(model: ModelDescription) -> DataDependence:
    """Return what of the outputs depends on the data, by the reference's graph."""
    variants = model.variants
    variant = variants.get("fp32") or next(iter(variants.values()), None)
    return DataDependence() if variant is None else find_data_dependence(variant.file)


def _settings(model: ModelDescription, dependence: DataDependence) -> tuple[Any, Any]:
    """Return the decoder's settings, and those with a confidence lower by the margin.

    The second is None if the decoder has no confidence. Where the graph itself drops objects
    below a confidence, nothing lower can be found: there the first confidence is higher instead.
    """
    settings = model.decoder_settings
    names = {field.name for field in dataclasses.fields(settings)}
    if "confidence" not in names:
        return settings, None
    lenient = max(settings.confidence - SCORE_MARGIN, 0.0)
    if not dependence.is_cut:
        return settings, change(settings, {"confidence": lenient})
    lenient = max(settings.confidence, min(dependence.score_threshold, 1.0))
    strict = min(lenient + SCORE_MARGIN, 1.0)
    return tuple(change(settings, {"confidence": value}) for value in (strict, lenient))


def _check_thresholds(comparison: _ImageComparison, thresholds: SelfCheckThresholds) -> list[str]:
    """Return which figures miss their thresholds. A NaN misses every threshold."""
    reasons = []
    for tensor in comparison.outputs.tensors if comparison.outputs else ():
        for count, kind in ((tensor.nan_count, "NaN"), (tensor.inf_count, "infinite")):
            if count:
                reasons.append(
                    f"output {tensor.name}: {count} {kind} values, none in the reference"
                )
        if tensor.is_continuous and not tensor.cosine >= thresholds.cosine:
            reasons.append(
                f"output {tensor.name}: cosine similarity {tensor.cosine:.3f}, "
                f"at least {thresholds.cosine:g} is needed"
            )
        if tensor.is_continuous and not tensor.sqnr_db >= thresholds.sqnr_db:
            reasons.append(
                f"output {tensor.name}: SQNR {tensor.sqnr_db:.1f} dB, "
                f"at least {thresholds.sqnr_db:g} dB is needed"
            )
    if comparison.results is not None and not comparison.results.share >= thresholds.agreement:
        reasons.append(
            f"{comparison.results.share:.1%} of the results agree, "
            f"at least {thresholds.agreement:.1%} is needed"
        )
    return reasons


def _crop(image: Frame) -> list[Frame]:
    """Return crops of the centre and the corners of an image file, larger ones first."""
    pixels = image.data.reshape(image.height, image.width, -1)
    crops = []
    for size in CROPS:
        height = max(round(image.height * size), 1)
        width = max(round(image.width * size), 1)
        bottom, right = image.height - height, image.width - width
        for y, x in ((bottom // 2, right // 2), (0, 0), (0, right), (bottom, 0), (bottom, right)):
            crops.append(Frame.from_array(pixels[y : y + height, x : x + width]))
    return crops
