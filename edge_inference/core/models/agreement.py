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

from edge_inference.core.results import Leniency, Result, ResultAgreement, kind_of
from edge_inference.core.results.result_agreement import expect_same_shape
from edge_inference.errors import TensorError


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
    def has_signal(self) -> bool:
        """Tell whether a continuous tensor has a finite value other than 0 on either side."""
        return any(each.is_continuous and (each.signal or each.candidate) for each in self.tensors)

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


def compare_results(
    reference: Result,
    candidate: Result,
    *,
    margin: float = 0.0,
    lenient_reference: Result | None = None,
    lenient_candidate: Result | None = None,
) -> ResultAgreement:
    """Count how much of two results of one image agrees, as their kind defines it.

    ``margin`` and the lenient results keep rounding errors at thresholds from counting
    (:class:`Leniency`); without lenient results, the given ones are used. The agreements of
    several images can be added. Raises TensorError for results of different kinds, of a kind
    without an agreement, or of images of different sizes.
    """
    kind = kind_of(reference)
    for other in (candidate, lenient_reference, lenient_candidate):
        if other is not None and type(other) is not kind.result_type:
            raise TensorError(
                f"results of one model: expected {kind.result_type.__name__} on both sides, got "
                f"{type(other).__name__}; compare results of the same model"
            )
    if kind.agree is None:
        raise TensorError(
            f"results of the kind {kind.name} cannot be compared: its ResultKind has no agreement"
        )
    leniency = Leniency(
        margin,
        reference if lenient_reference is None else lenient_reference,
        candidate if lenient_candidate is None else lenient_candidate,
    )
    return kind.agree(reference, candidate, leniency)


def _compare_tensor(name: str, reference: NDArray[Any], candidate: NDArray[Any]) -> TensorAgreement:
    expect_same_shape(f"output {name!r}", reference, candidate)
    expected = np.asarray(reference, np.float64).ravel()
    actual = np.asarray(candidate, np.float64).ravel()
    is_finite = np.isfinite(expected)
    nan_count = int(np.count_nonzero(is_finite & np.isnan(actual)))
    inf_count = int(np.count_nonzero(is_finite & np.isinf(actual)))
    both_finite = is_finite & np.isfinite(actual)
    if not both_finite.all():
        expected, actual = expected[both_finite], actual[both_finite]
    with np.errstate(over="ignore", invalid="ignore"):  # of float64 outputs: the figures are NaN
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
