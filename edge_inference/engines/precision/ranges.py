"""Estimates the range of a tensor's 8-bit numbers from its values.

A narrow range clips the largest values; a wide one wastes steps on values that hardly occur.
``minmax`` clips nothing. ``percentile`` clips one ten-thousandth of the values on each side.
``mse`` minimizes the mean squared error. ``entropy`` minimizes the loss of information
(Migacz, 8-bit Inference with TensorRT, GTC 2017) and clips at most one thousandth.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from edge_inference.errors import TensorError

Range = tuple[float, float]

_BINS = 8192
_HALF = _BINS // 2
_STEPS = 255
#: Smaller values are zero to any network, and a division by them would overflow.
_SMALLEST_LIMIT = 2.0**-40
_PERCENTILE = 99.99
_MSE_CANDIDATES = 64
_ENTROPY_LEVELS = 128
_ENTROPY_STRIDE = 16
#: The divergence ignores the distance of a clipped value from the range: without this limit
#: it would clip a long tail of large values, which the next layer needs.
_ENTROPY_MAX_CLIPPED = 0.001
_MIN_SHARE = 1e-30


class Histogram:
    """Counts values in bins; its memory does not grow.

    The bins span ``-limit`` to ``limit``, a power of two. For larger values the limit doubles
    and bins merge in pairs, so that the order of the values does not matter.
    """

    def __init__(self) -> None:
        self.low = 0.0
        self.high = 0.0
        self.limit = 0.0
        self.has_infinity = False
        self.counts = np.zeros(_BINS, dtype=np.int64)
        self._zeros = 0

    def add(self, values: NDArray[np.float32]) -> None:
        """Count the finite values; raises TensorError for NaN."""
        if not values.size:
            return
        low, high = float(values.min()), float(values.max())
        if math.isnan(low):
            raise TensorError("NaN among the values; use another image or repair it")
        if math.isinf(low) or math.isinf(high):
            self.has_infinity = True
            self.add(values[np.isfinite(values)])
            return
        self.low, self.high = min(self.low, low), max(self.high, high)
        largest = max(-low, high)
        if largest > self.limit:
            self._widen(max(2.0 ** math.ceil(math.log2(largest)), _SMALLEST_LIMIT))
        if not self.limit:
            self._zeros += values.size
            return
        # In 32 bits the smallest negative values would become 0, beyond a bin edge.
        places = values.ravel().astype(np.float64) * (_HALF / self.limit)
        places = np.clip(np.floor(places) + _HALF, 0, _BINS - 1)
        self.counts += np.bincount(places.astype(np.int64), minlength=_BINS)

    def _widen(self, limit: float) -> None:
        if self.limit:
            merged = int(min(limit / self.limit, _HALF))
            counts = self.counts.reshape(-1, merged).sum(axis=1)
            self.counts = np.zeros(_BINS, dtype=np.int64)
            start = _HALF - len(counts) // 2
            self.counts[start : start + len(counts)] = counts
        self.limit = limit
        self.counts[_HALF] += self._zeros
        self._zeros = 0

    def is_masked(self, ratio: float) -> bool:
        """Tell whether some values only mark places, as before a softmax.

        Such values are infinite, or negative and ``ratio`` times as large as all others, with
        none between. One range for both would leave no steps for the others.
        """
        if self.has_infinity:
            return True
        places = np.flatnonzero(self.counts)
        below = _HALF - places[places < _HALF][::-1]  # the larger magnitude of each bin, in bins
        above = places[places >= _HALF] - _HALF + 1
        if not below.size:
            return False
        sizes = np.append(above[-1:] if above.size else below[:1], below)
        others = np.maximum(sizes[:-1], sizes[0])
        return bool(np.any(sizes[1:] - 1 >= ratio * others))

    def edges(self) -> NDArray[np.float64]:
        """Return the ``_BINS + 1`` edges of the bins."""
        return np.linspace(-self.limit, self.limit, _BINS + 1, dtype=np.float64)

    def within(self, low: float, high: float) -> Range:
        """Return a range clipped to the values that occurred; it always includes 0."""
        return max(min(low, 0.0), self.low), min(max(high, 0.0), self.high)


def _minmax(histogram: Histogram) -> Range:
    return histogram.low, histogram.high


def _percentile(histogram: Histogram) -> Range:
    share = np.cumsum(histogram.counts) / histogram.counts.sum()
    edges = histogram.edges()
    low = int(np.searchsorted(share, 1 - _PERCENTILE / 100))
    high = int(np.searchsorted(share, _PERCENTILE / 100))
    return histogram.within(float(edges[low]), float(edges[min(high + 1, _BINS)]))


def _mse(histogram: Histogram) -> Range:
    """Minimize the squared error by one end, then by the other, and repeat once."""
    edges = histogram.edges()
    used = np.flatnonzero(histogram.counts)
    counts = histogram.counts[used].astype(np.float64)
    centers = (edges[used] + edges[used + 1]) / 2
    # The number, sum and sum of squares of the values before each bin give the error of any
    # range.
    before = np.zeros((3, len(used) + 1))
    before[:, 1:] = np.cumsum([counts, counts * centers, counts * centers**2], axis=1)

    def errors(low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
        step = (high - low) / _STEPS
        first, last = np.searchsorted(centers, low), np.searchsorted(centers, high, "right")
        below, above = before[:, first], before[:, -1:] - before[:, last]
        inside = before[0, last] - before[0, first]
        error: NDArray[np.float64] = inside * step**2 / 12
        return error + _squares(below, low) + _squares(above, high)

    parts = np.arange(1, _MSE_CANDIDATES + 1) / _MSE_CANDIDATES
    lows, highs = parts * histogram.low, parts * histogram.high
    low, high = lows[-1:], highs[-1:]
    for _ in range(2):
        low = lows[[np.argmin(errors(lows, high))]]
        high = highs[[np.argmin(errors(low, highs))]]
    return float(low[0]), float(high[0])


def _squares(sums: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum of (value - end)^2 from the values' number, sum and sum of squares."""
    number, total, squares = sums
    clipped: NDArray[np.float64] = np.maximum(squares - 2 * end * total + end**2 * number, 0.0)
    return clipped


def _entropy(histogram: Histogram) -> Range:
    sizes = histogram.counts[_HALF:] + histogram.counts[:_HALF][::-1]
    # Exact zeros, frequent behind a clipped activation, have no error with any step.
    sizes[0] = sizes[1]
    last = int(np.flatnonzero(sizes)[-1]) + 1 if sizes.any() else 0
    if last <= _ENTROPY_LEVELS:
        return _minmax(histogram)
    share_within = np.cumsum(sizes) / sizes.sum()
    min_end = int(np.searchsorted(share_within, 1 - _ENTROPY_MAX_CLIPPED)) + 1
    ends = range(_ENTROPY_LEVELS, last + _ENTROPY_STRIDE, _ENTROPY_STRIDE)
    allowed = [end for end in ends if end >= min_end]
    best = min(allowed, key=lambda end: _divergence(sizes[: max(last, end)], end))
    limit = best * histogram.limit / _HALF
    return histogram.within(-limit, limit)


def _divergence(sizes: NDArray[np.int64], end: int) -> float:
    """Return the information lost when the first ``end`` bins share 128 levels (KL divergence)."""
    reference = sizes[:end].astype(np.float64)
    starts = np.linspace(0, end, _ENTROPY_LEVELS, endpoint=False).astype(np.int64)
    occupied = reference > 0
    totals = np.add.reduceat(reference, starts)
    bins = np.maximum(np.add.reduceat(occupied.astype(np.float64), starts), 1)
    widths = np.diff(np.append(starts, end))
    coarse = np.repeat(totals / bins, widths) * occupied
    reference[-1] += sizes[end:].sum()
    reference, coarse = reference / reference.sum(), coarse / max(coarse.sum(), 1.0)
    compared = reference > 0
    reference, coarse = reference[compared], np.maximum(coarse[compared], _MIN_SHARE)
    return float((reference * np.log(reference / coarse)).sum())


_ESTIMATORS: Mapping[str, Callable[[Histogram], Range]] = {
    "minmax": _minmax,
    "percentile": _percentile,
    "mse": _mse,
    "entropy": _entropy,
}
METHODS = tuple(_ESTIMATORS)


def estimate(histogram: Histogram, method: str) -> Range:
    """Return the range by one of METHODS; it includes 0, which padding and ReLU need."""
    if not histogram.limit:
        return 0.0, 0.0
    return _ESTIMATORS[method](histogram)
