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

import numpy as np
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
from edge_inference.core.results import ResultAgreement, kind_of
from edge_inference.core.settings import change
from edge_inference.errors import TensorError

#: A matching box may have a score this much below the confidence threshold, and two classes whose
#: scores differ by at most this much are a tie.
SCORE_MARGIN = 0.1
#: The lowest confidence of the comparison below the model's own: rows that only fill up a tensor
#: have a score of 0.
LOWEST_CONFIDENCE = float(np.finfo(np.float32).tiny)
#: Sizes of the crops relative to the image; each size is cut from the centre and the corners.
CROPS = (0.75, 0.5)

_HINT = (
    "keep more layers in fp32, calibrate with other images, or change the thresholds in "
    "self_check of model.yaml"
)
_FAINT = " with the lowest confidence, since nothing is found with the model's"
_MORE_IMAGES = "add golden images in which the model finds something"


@dataclass(frozen=True)
class SelfCheckReport:
    """The outcome of the check.

    ``results`` and ``outputs`` are summed over the images, None if no image could be compared.
    ``is_faint`` tells that nothing was found with the model's confidence, and that ``results``
    are those with a lower one. ``has_unordered`` tells that outputs were left out of ``outputs``.
    """

    images: int
    reasons: tuple[str, ...]
    results: ResultAgreement | None
    outputs: OutputAgreement | None
    is_faint: bool = False
    has_unordered: bool = False

    @property
    def has_results(self) -> bool:
        """Tell whether results were compared, and not only raw outputs."""
        return self.results is not None and self.results.compared > 0

    @property
    def is_checked(self) -> bool:
        """Tell whether anything was compared: results, or outputs with at least one value.

        Outputs count only if none was left out: the others may not be what is decoded.
        """
        if self.has_results:
            return True
        return self.outputs is not None and self.outputs.has_signal and not self.has_unordered

    @property
    def passed(self) -> bool:
        """Tell whether the candidate was compared and reaches every threshold."""
        return self.is_checked and not self.reasons

    def figures(self) -> dict[str, float]:
        """Return the measured figures by name.

        What was not measured is left out, and ``sqnr_db`` if it is infinite, as for equal outputs.
        """
        figures: dict[str, float] = {}
        if self.results is not None and self.results.compared:
            figures["agreement"] = self.results.share
        if self.outputs is not None and self.outputs.tensors:
            if self.outputs.has_signal:
                figures["cosine"] = self.outputs.cosine
            if math.isfinite(self.outputs.sqnr_db):
                figures["sqnr_db"] = self.outputs.sqnr_db
            figures["max_difference"] = self.outputs.max_difference
            figures["nan"] = self.outputs.nan_count
            figures["inf"] = self.outputs.inf_count
        return figures

    def summary(self) -> str:
        """Return the outcome in one sentence."""
        if self.reasons:
            hint = f"{_HINT}, or {_MORE_IMAGES}" if self.is_faint else _HINT
            return f"self-check: failed: {'; '.join(self.reasons)}; {hint}"
        if self.results is None or self.outputs is None or not self.is_checked:
            return f"self-check: not checked: {self._why_not_checked()}; {_MORE_IMAGES}"
        closeness = "outputs equal"
        if not self.outputs.tensors:
            closeness = "raw outputs not compared: their rows depend on the data"
        elif self.outputs.max_difference:
            closeness = f"cosine {self.outputs.cosine:.4f}, SQNR {self.outputs.sqnr_db:.1f} dB"
        passed = f"self-check: passed on {self.images} image(s)"
        if not self.has_results:
            return f"{passed}, nothing found to compare, {closeness}; {_MORE_IMAGES}"
        faint = _FAINT if self.is_faint else ""
        return f"{passed}, agreement {self.results.share:.1%}{faint}, {closeness}"

    def _why_not_checked(self) -> str:
        if not self.images:
            return "there is no image to compare"
        outputs = (
            "raw outputs are not compared: their rows depend on the data"
            if self.has_unordered
            else "no output has a value other than 0"
        )
        return f"neither side finds anything in {self.images} image(s), and {outputs}"


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
    Outputs whose rows the graph chooses by value (NMS, TopK) are compared after decoding only,
    with the lowest confidence if neither side finds anything. What could not be compared at all
    has not passed.
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
        is_faint=comparison.is_faint,
        has_unordered=comparison.has_unordered,
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
        self.outputs: OutputAgreement | None = None
        self._found: ResultAgreement | None = None
        self._faint = ResultAgreement(0, 0)
        self._model = model
        self._reference = reference
        self._candidate = candidate
        self._preprocess = Preprocessor(model.input)
        self._dependence = _data_dependence(model)
        self._unordered = set(self._dependence.unordered)
        self._strict, self._lenient = _settings(model, self._dependence)
        self._images = 0
        self._errors: dict[str, int] = {}

    @property
    def results(self) -> ResultAgreement | None:
        """Return the agreement of what is found, or else of what is found with less confidence."""
        return self._faint if self.is_faint else self._found

    @property
    def is_faint(self) -> bool:
        """Tell whether only the lowest confidence finds anything."""
        return bool(self._found is not None and not self._found.compared and self._faint.compared)

    @property
    def has_unordered(self) -> bool:
        """Tell whether raw outputs are left out of the comparison."""
        return bool(self._unordered)

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
            self._found = results if self._found is None else self._found + results
            if self._unordered and not self._found.compared:
                self._faint += self._compare_faint(expected, actual, geometry)
        except TensorError as error:
            self._errors[str(error)] = self._errors.get(str(error), 0) + 1

    def _compare_faint(
        self,
        expected: Mapping[str, NDArray[Any]],
        actual: Mapping[str, NDArray[Any]],
        geometry: Geometry,
    ) -> ResultAgreement:
        """Compare what has at least half of the best score with all that has a score.

        What the graph itself may have dropped on one side by its score is left out.
        """
        model = self._model
        if self._lenient is None:
            return ResultAgreement(0, 0)
        everything = change(model.decoder_settings, {"confidence": LOWEST_CONFIDENCE})
        try:
            reference = model.decode(expected, geometry, everything)
        except TensorError:  # only what the model's confidence leaves out is wrong
            return ResultAgreement(0, 0)
        candidate = model.decode(actual, geometry, everything)
        top_score = kind_of(reference).top_score
        least = LOWEST_CONFIDENCE
        if top_score is not None:
            scores = (top_score(each) for each in (reference, candidate))
            halves = (score / 2 for score in scores if score > 0)  # NaN without a result
            least = max(halves, default=least)
        if self._dependence.is_cut:
            least = max(least, min(self._dependence.score_threshold + SCORE_MARGIN, 1.0))
        strongest = change(everything, {"confidence": least})
        return compare_results(
            model.decode(expected, geometry, strongest),
            model.decode(actual, geometry, strongest),
            margin=SCORE_MARGIN,
            lenient_reference=reference,
            lenient_candidate=candidate,
        )

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
            self._dependence = dataclasses.replace(self._dependence, is_cut=True)
            self._strict, self._lenient = _settings(self._model, self._dependence)
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
            f"{comparison.results.share:.1%} of the results agree"
            f"{_FAINT if comparison.is_faint else ''}, "
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
