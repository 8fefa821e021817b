"""Agreement of a candidate with a reference: of raw outputs, and of decoded results.

The same model in another precision or engine never computes the same bits. A few images with
known results do not reveal a bad quantization, since the best class survives large errors. These
figures reveal it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.models.golden_check import box_ious
from edge_inference.core.results import (
    Classification,
    DepthMap,
    Detections,
    Result,
    Segmentation,
)
from edge_inference.errors import TensorError

#: Minimum intersection over union of two boxes that match.
MATCH_IOU = 0.5
#: Maximum relative difference of two depths that agree.
DEPTH_TOLERANCE = 0.05


@dataclass(frozen=True)
class TensorAgreement:
    """Agreement of one output tensor, as sums that can be added over images.

    The sums include the elements that are finite on both sides: ``signal`` is the sum of the
    reference's squares, ``candidate`` that of the candidate's squares, ``product`` that of
    reference times candidate, ``noise`` that of the squared differences. ``nan_count`` and
    ``inf_count`` count the candidate's values where the reference is finite. ``is_continuous``
    is false for a reference of integers or booleans: classes and counts, which have no scale.
    """

    name: str
    is_continuous: bool
    signal: float
    candidate: float
    product: float
    noise: float
    max_difference: float
    nan_count: int
    inf_count: int

    @property
    def cosine(self) -> float:
        """Return the cosine similarity, -1..1: 1 for equal tensors, 0 if one tensor is zero."""
        if not self.noise:
            return 1.0
        if not (self.signal and self.candidate):
            return 0.0
        cosine = self.product / math.sqrt(self.signal) / math.sqrt(self.candidate)
        return min(max(cosine, -1.0), 1.0)

    @property
    def sqnr_db(self) -> float:
        """Return the SQNR, 10 log10(signal / noise), in dB; infinite for equal tensors."""
        if not self.noise:
            return math.inf
        if not self.signal:
            return -math.inf
        return 10 * (math.log10(self.signal) - math.log10(self.noise))

    def __add__(self, other: TensorAgreement) -> TensorAgreement:
        return TensorAgreement(
            self.name,
            self.is_continuous and other.is_continuous,
            self.signal + other.signal,
            self.candidate + other.candidate,
            self.product + other.product,
            self.noise + other.noise,
            max(self.max_difference, other.max_difference),
            self.nan_count + other.nan_count,
            self.inf_count + other.inf_count,
        )


@dataclass(frozen=True)
class OutputAgreement:
    """Agreement of all output tensors; each figure is that of the worst tensor."""

    tensors: tuple[TensorAgreement, ...]

    @property
    def cosine(self) -> float:
        """Return the lowest cosine similarity of a continuous tensor; 1 without such a tensor."""
        return min((tensor.cosine for tensor in self.tensors if tensor.is_continuous), default=1.0)

    @property
    def sqnr_db(self) -> float:
        """Return the lowest SQNR of a continuous tensor, in dB; infinite without such a tensor."""
        values = (tensor.sqnr_db for tensor in self.tensors if tensor.is_continuous)
        return min(values, default=math.inf)

    @property
    def max_difference(self) -> float:
        """Return the largest absolute difference of two values."""
        return max((tensor.max_difference for tensor in self.tensors), default=0.0)

    @property
    def nan_count(self) -> int:
        """Return the number of NaN in the candidate where the reference is finite."""
        return sum(tensor.nan_count for tensor in self.tensors)

    @property
    def inf_count(self) -> int:
        """Return the number of infinities in the candidate where the reference is finite."""
        return sum(tensor.inf_count for tensor in self.tensors)

    def __add__(self, other: OutputAgreement) -> OutputAgreement:
        pairs = zip(self.tensors, other.tensors, strict=True)
        return OutputAgreement(tuple(ours + theirs for ours, theirs in pairs))


def compare_outputs(
    reference: Mapping[str, NDArray[Any]], candidate: Mapping[str, NDArray[Any]]
) -> OutputAgreement:
    """Compare output tensors by name, in the reference's order; dtypes may differ.

    The agreements of several images can be added. Raises TensorError if names or shapes differ.
    """
    if set(reference) != set(candidate):
        raise TensorError(
            f"outputs: expected {', '.join(sorted(reference)) or 'none'} as in the reference, got "
            f"{', '.join(sorted(candidate)) or 'none'}; was the candidate derived from this model?"
        )
    return OutputAgreement(
        tuple(_compare_tensor(name, array, candidate[name]) for name, array in reference.items())
    )


@dataclass(frozen=True)
class ResultAgreement:
    """How many of the ``compared`` images, boxes or pixels agree, by the kind of result."""

    agreeing: int
    compared: int

    @property
    def share(self) -> float:
        """Return the share that agrees, 0..1; 1 if nothing was compared."""
        return self.agreeing / self.compared if self.compared else 1.0

    def __add__(self, other: ResultAgreement) -> ResultAgreement:
        return ResultAgreement(self.agreeing + other.agreeing, self.compared + other.compared)


def compare_results(
    reference: Result,
    candidate: Result,
    *,
    margin: float = 0.0,
    lenient_reference: Result | None = None,
    lenient_candidate: Result | None = None,
) -> ResultAgreement:
    """Count how much of two results of one image agrees.

    - Classification counts one image: both name the same class first, or none. With a
      ``margin``, the candidate may also name a class whose score in the reference is at most
      ``margin`` below the first: a tie, which any rounding error can decide.
    - Detections count the boxes of both sides: a box agrees if the other side has a box of the
      same label with an intersection over union of at least 0.5. Each box matches once; boxes
      with higher scores are matched first. Matches are taken from the other side's lenient
      detections, if given. Those are decoded with a lower confidence, so that a box whose score
      is just above the threshold on one side and just below it on the other still agrees.
    - Segmentation counts the pixels that are not unknown on both sides; equal classes agree.
    - Depth counts the pixels with a depth on at least one side; they agree within 5 %.

    The agreements of several images can be added. Raises TensorError for results of different
    kinds or of images of different sizes.
    """
    if isinstance(reference, Classification) and isinstance(candidate, Classification):
        return ResultAgreement(int(_is_same_class(reference, candidate, margin)), 1)
    if isinstance(reference, Detections) and isinstance(candidate, Detections):
        matches = _count_matches(reference, _lenient_or(lenient_candidate, candidate))
        matches += _count_matches(candidate, _lenient_or(lenient_reference, reference))
        return ResultAgreement(matches, len(reference) + len(candidate))
    if isinstance(reference, Segmentation) and isinstance(candidate, Segmentation):
        return _compare_pixels(reference, candidate)
    if isinstance(reference, DepthMap) and isinstance(candidate, DepthMap):
        return _compare_depths(reference, candidate)
    raise TensorError(
        f"results of one model: expected {type(reference).__name__} on both sides, got "
        f"{type(candidate).__name__}; compare results of the same model"
    )


def _compare_tensor(name: str, reference: NDArray[Any], candidate: NDArray[Any]) -> TensorAgreement:
    _check_shape(f"output {name!r}", reference, candidate)
    expected = np.asarray(reference, np.float64).ravel()
    actual = np.asarray(candidate, np.float64).ravel()
    is_finite = np.isfinite(expected)
    nan_count = int(np.count_nonzero(is_finite & np.isnan(actual)))
    inf_count = int(np.count_nonzero(is_finite & np.isinf(actual)))
    both_finite = is_finite & np.isfinite(actual)
    if not both_finite.all():
        expected, actual = expected[both_finite], actual[both_finite]
    difference = actual - expected
    return TensorAgreement(
        name,
        is_continuous=bool(np.issubdtype(reference.dtype, np.floating)),
        signal=float(expected @ expected),
        candidate=float(actual @ actual),
        product=float(expected @ actual),
        noise=float(difference @ difference),
        max_difference=float(np.abs(difference).max(initial=0.0)),
        nan_count=nan_count,
        inf_count=inf_count,
    )


def _check_shape(name: str, reference: NDArray[Any], candidate: NDArray[Any]) -> None:
    if reference.shape != candidate.shape:
        raise TensorError(
            f"{name}: expected shape {list(reference.shape)} as in the reference, "
            f"got {list(candidate.shape)}; was the candidate derived from this model?"
        )


def _is_same_class(reference: Classification, candidate: Classification, margin: float) -> bool:
    if not (len(reference) and len(candidate)):
        return len(reference) == len(candidate)
    ranks = np.flatnonzero(reference.class_ids == candidate.class_ids[0])
    return bool(ranks.size) and bool(
        ranks[0] == 0 or reference.scores[0] - reference.scores[ranks[0]] <= margin
    )


def _lenient_or(lenient: Result | None, strict: Detections) -> Detections:
    return lenient if isinstance(lenient, Detections) else strict


def _count_matches(detections: Detections, others: Detections) -> int:
    """Count the detections that match one of the others."""
    is_free = np.ones(len(others), dtype=np.bool_)
    labels = np.array([others.label(index) for index in range(len(others))], dtype=np.str_)
    boxes = others.boxes.astype(np.float64)
    for index in range(len(detections)):
        same_label = np.flatnonzero(is_free & (labels == detections.label(index)))
        ious = box_ious(detections.boxes[index].astype(np.float64), boxes[same_label])
        if ious.max(initial=0.0) >= MATCH_IOU:
            is_free[same_label[ious.argmax()]] = False
    return int(np.count_nonzero(~is_free))


def _compare_pixels(reference: Segmentation, candidate: Segmentation) -> ResultAgreement:
    _check_shape("masks", reference.mask, candidate.mask)
    is_known = (reference.mask != reference.unknown_id) | (candidate.mask != candidate.unknown_id)
    return _count_agreeing(reference.mask == candidate.mask, is_known)


def _compare_depths(reference: DepthMap, candidate: DepthMap) -> ResultAgreement:
    _check_shape("depth maps", reference.depth, candidate.depth)
    is_known = ~(np.isnan(reference.depth) & np.isnan(candidate.depth))
    expected, actual = reference.depth.astype(np.float64), candidate.depth.astype(np.float64)
    with np.errstate(invalid="ignore"):  # infinite on both sides
        is_near = np.abs(actual - expected) <= DEPTH_TOLERANCE * np.abs(expected)
    return _count_agreeing((actual == expected) | (is_near & np.isfinite(actual)), is_known)


def _count_agreeing(agrees: NDArray[np.bool_], is_known: NDArray[np.bool_]) -> ResultAgreement:
    return ResultAgreement(
        int(np.count_nonzero(agrees & is_known)), int(np.count_nonzero(is_known))
    )
