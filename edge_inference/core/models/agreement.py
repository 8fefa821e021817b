"""How close a candidate comes to a reference: raw outputs as numbers, results as what they mean.

The same model in another precision or engine never gives the same bits. Few
images with a known answer cannot see a bad quantisation, for the best class
survives much; the figures here can.
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

#: Least intersection over union of two boxes that are the same object.
MATCH_IOU = 0.5
#: Largest relative difference of two depths that are the same.
DEPTH_TOLERANCE = 0.05


@dataclass(frozen=True)
class TensorAgreement:
    """How close one output tensor comes; the sums that make it up can be added over images.

    The sums are over the places where both sides are finite: ``signal`` of the
    squares of the reference, ``candidate`` of its squares, ``product`` of
    reference times candidate, ``noise`` of the squared differences.
    ``nan_count`` and ``inf_count`` are of the candidate's values where the
    reference is finite. ``is_continuous`` is false where the reference holds whole
    numbers or truth values: classes and counts, which have no scale.
    """

    name: str
    is_continuous: bool
    signal: float
    candidate: float
    product: float
    noise: float
    largest_difference: float
    nan_count: int
    inf_count: int

    @property
    def cosine(self) -> float:
        """Cosine of the angle between both as vectors, -1..1: 1 if equal, 0 if one is zero."""
        if not self.noise:
            return 1.0
        if not (self.signal and self.candidate):
            return 0.0
        cosine = self.product / math.sqrt(self.signal) / math.sqrt(self.candidate)
        return min(max(cosine, -1.0), 1.0)

    @property
    def sqnr_db(self) -> float:
        """Signal to quantisation noise: 10 log10(signal / noise), in dB; infinite if equal."""
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
            max(self.largest_difference, other.largest_difference),
            self.nan_count + other.nan_count,
            self.inf_count + other.inf_count,
        )


@dataclass(frozen=True)
class OutputAgreement:
    """How close all output tensors come; each figure is that of the worst tensor."""

    tensors: tuple[TensorAgreement, ...]

    @property
    def cosine(self) -> float:
        """Lowest cosine of a continuous tensor; 1 where there is none."""
        return min((tensor.cosine for tensor in self.tensors if tensor.is_continuous), default=1.0)

    @property
    def sqnr_db(self) -> float:
        """Lowest SQNR of a continuous tensor, in dB; infinite where there is none."""
        found = (tensor.sqnr_db for tensor in self.tensors if tensor.is_continuous)
        return min(found, default=math.inf)

    @property
    def largest_difference(self) -> float:
        """Largest absolute difference of two values."""
        return max((tensor.largest_difference for tensor in self.tensors), default=0.0)

    @property
    def nan_count(self) -> int:
        """Count the candidate's NaN where the reference is finite."""
        return sum(tensor.nan_count for tensor in self.tensors)

    @property
    def inf_count(self) -> int:
        """Count the candidate's infinite values where the reference is finite."""
        return sum(tensor.inf_count for tensor in self.tensors)

    def __add__(self, other: OutputAgreement) -> OutputAgreement:
        pairs = zip(self.tensors, other.tensors, strict=True)
        return OutputAgreement(tuple(ours + theirs for ours, theirs in pairs))


def compare_outputs(
    reference: Mapping[str, NDArray[Any]], candidate: Mapping[str, NDArray[Any]]
) -> OutputAgreement:
    """Compare output tensors by name, in the reference's order; types may differ.

    Raises TensorError where names or shapes differ. The result of several
    images is the sum of theirs.
    """
    if set(reference) != set(candidate):
        raise TensorError(
            f"outputs: expected {', '.join(sorted(reference)) or 'none'} as the reference gives, "
            f"got {', '.join(sorted(candidate)) or 'none'}; was the candidate made of this model?"
        )
    return OutputAgreement(
        tuple(_compare(name, array, candidate[name]) for name, array in reference.items())
    )


@dataclass(frozen=True)
class ResultAgreement:
    """How many of ``counted`` things agree: images, boxes or pixels, by the kind of result."""

    agreeing: int
    counted: int

    @property
    def share(self) -> float:
        """Share that agrees, 0..1; 1 where there was nothing to disagree about."""
        return self.agreeing / self.counted if self.counted else 1.0

    def __add__(self, other: ResultAgreement) -> ResultAgreement:
        return ResultAgreement(self.agreeing + other.agreeing, self.counted + other.counted)


def results_agree(reference: Result, candidate: Result, **lenience: Any) -> float:
    """Return how much of two results of one image agrees, 0..1: see ``compare_results``."""
    return compare_results(reference, candidate, **lenience).share


def compare_results(
    reference: Result,
    candidate: Result,
    *,
    margin: float = 0.0,
    lenient_reference: Result | None = None,
    lenient_candidate: Result | None = None,
) -> ResultAgreement:
    """Count what agrees in two results of one image.

    - Classification, one thing: both name the same class first, or none. With a
      ``margin``, the candidate may also name one whose score in the reference is
      at most that much below the first: a tie that any rounding decides anew.
    - Detections, the boxes of both sides: those that have a partner on the other
      side of the same label with an intersection over union of at least 0.5. A
      partner is used once; the best score chooses first. Partners are looked for among
      the other side's lenient detections where given: decoded with a lower
      confidence, these keep a box just above it here and just below it there
      from being a disagreement.
    - Segmentation, the pixels that either side looked at: those of the same class.
    - Depth, the pixels that either side looked at: those within 5 % of the reference.

    The result of several images is the sum of theirs. Raises TensorError for
    results of different kinds or of images of different sizes.
    """
    if isinstance(reference, Classification) and isinstance(candidate, Classification):
        return ResultAgreement(int(_same_class(reference, candidate, margin)), 1)
    if isinstance(reference, Detections) and isinstance(candidate, Detections):
        found = _partners(reference, _lenient(lenient_candidate, candidate))
        found += _partners(candidate, _lenient(lenient_reference, reference))
        return ResultAgreement(found, len(reference) + len(candidate))
    if isinstance(reference, Segmentation) and isinstance(candidate, Segmentation):
        return _same_pixels(reference, candidate)
    if isinstance(reference, DepthMap) and isinstance(candidate, DepthMap):
        return _same_depths(reference, candidate)
    raise TensorError(
        f"results of one model: expected {type(reference).__name__} on both sides, got "
        f"{type(candidate).__name__}; compare a model with itself"
    )


def _compare(name: str, reference: NDArray[Any], candidate: NDArray[Any]) -> TensorAgreement:
    _expect_shape(f"output {name!r}", reference, candidate)
    expected = np.asarray(reference, np.float64).ravel()
    found = np.asarray(candidate, np.float64).ravel()
    should = np.isfinite(expected)
    nan_count = int(np.count_nonzero(should & np.isnan(found)))
    inf_count = int(np.count_nonzero(should & np.isinf(found)))
    both = should & np.isfinite(found)
    if not both.all():
        expected, found = expected[both], found[both]
    difference = found - expected
    return TensorAgreement(
        name,
        is_continuous=bool(np.issubdtype(reference.dtype, np.floating)),
        signal=float(expected @ expected),
        candidate=float(found @ found),
        product=float(expected @ found),
        noise=float(difference @ difference),
        largest_difference=float(np.abs(difference).max(initial=0.0)),
        nan_count=nan_count,
        inf_count=inf_count,
    )


def _expect_shape(what: str, reference: NDArray[Any], candidate: NDArray[Any]) -> None:
    if reference.shape != candidate.shape:
        raise TensorError(
            f"{what}: expected shape {list(reference.shape)} as the reference gives, "
            f"got {list(candidate.shape)}; was the candidate made of this model?"
        )


def _same_class(reference: Classification, candidate: Classification, margin: float) -> bool:
    if not (len(reference) and len(candidate)):
        return len(reference) == len(candidate)
    named = np.flatnonzero(reference.class_ids == candidate.class_ids[0])
    return bool(named.size) and bool(
        named[0] == 0 or reference.scores[0] - reference.scores[named[0]] <= margin
    )


def _lenient(lenient: Result | None, strict: Detections) -> Detections:
    return lenient if isinstance(lenient, Detections) else strict


def _partners(wanted: Detections, offered: Detections) -> int:
    """Count the boxes that find a partner among the offered ones."""
    free = np.ones(len(offered), dtype=np.bool_)
    labels = np.array([offered.label(index) for index in range(len(offered))], dtype=np.str_)
    boxes = offered.boxes.astype(np.float64)
    for index in range(len(wanted)):
        rivals = np.flatnonzero(free & (labels == wanted.label(index)))
        overlaps = box_ious(wanted.boxes[index].astype(np.float64), boxes[rivals])
        if overlaps.max(initial=0.0) >= MATCH_IOU:
            free[rivals[overlaps.argmax()]] = False
    return int(np.count_nonzero(~free))


def _same_pixels(reference: Segmentation, candidate: Segmentation) -> ResultAgreement:
    _expect_shape("masks", reference.mask, candidate.mask)
    looked = (reference.mask != reference.unknown_id) | (candidate.mask != candidate.unknown_id)
    return _count(reference.mask == candidate.mask, looked)


def _same_depths(reference: DepthMap, candidate: DepthMap) -> ResultAgreement:
    _expect_shape("depth maps", reference.depth, candidate.depth)
    looked = ~(np.isnan(reference.depth) & np.isnan(candidate.depth))
    expected, found = reference.depth.astype(np.float64), candidate.depth.astype(np.float64)
    with np.errstate(invalid="ignore"):  # infinite on both sides
        near = np.abs(found - expected) <= DEPTH_TOLERANCE * np.abs(expected)
    return _count((found == expected) | (near & np.isfinite(found)), looked)


def _count(equal: NDArray[np.bool_], counted: NDArray[np.bool_]) -> ResultAgreement:
    return ResultAgreement(int(np.count_nonzero(equal & counted)), int(np.count_nonzero(counted)))
