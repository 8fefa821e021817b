"""Confidence intervals of percentiles, means and shares.

Each end holds by itself with the given confidence, so a bound that lies outside the interval is met
or missed with that confidence. Consecutive measurements of a pipeline resemble each other: they
count as fewer independent ones (:func:`effective_samples`). An end that the samples cannot give is
None: the upper end of a p99 exists from 299 independent samples on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_inference.observe.statistics.incomplete_beta import (
    beta_quantile,
    incomplete_beta,
    student_quantile,
)

#: With fewer samples an interval has no ends: the start of a run is not typical of it.
MIN_SAMPLES = 8

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """An estimate; ``low`` and ``high`` are None where the samples give no such end.

    ``effective`` is the number of independent samples that ``samples`` are worth.
    """

    value: float
    low: float | None
    high: float | None
    samples: int
    effective: float

    def scaled(self, factor: float) -> Interval:
        """Return the interval in another unit; ``factor`` is positive."""
        low, high = (None if end is None else end * factor for end in (self.low, self.high))
        return Interval(self.value * factor, low, high, self.samples, self.effective)

    def inverted(self, numerator: float) -> Interval:
        """Return the interval of ``numerator`` divided by the quantity, for positive values."""
        low = None if self.high is None else numerator / self.high
        high = None if self.low is None or self.low <= 0 else numerator / self.low
        return Interval(numerator / self.value, low, high, self.samples, self.effective)


def effective_samples(values: Sequence[float] | Values | NDArray[np.bool_]) -> float:
    """Return how many independent samples a sequence in time is worth, at most its length.

    It is the length divided by the integrated autocorrelation time, summed over the initial
    positive sequence (Geyer, Practical Markov Chain Monte Carlo, 1992).
    """
    array = np.asarray(values, dtype=np.float64)
    count = len(array)
    centered = array - array.mean() if count else array
    # Rounding alone makes the variance of equal values positive.
    if count < 2 or np.ptp(array) <= 1e-12 * max(1.0, float(np.abs(array).max())):
        return float(count)
    length = 1 << (2 * count - 1).bit_length()
    spectrum = np.fft.rfft(centered, length)
    covariance = np.fft.irfft(spectrum * spectrum.conj(), length)[:count]
    correlation = covariance / covariance[0]
    pairs = correlation[: count // 2 * 2].reshape(-1, 2).sum(axis=1)
    ends = np.flatnonzero(pairs <= 0)
    time = 2.0 * pairs[: ends[0] if len(ends) else len(pairs)].sum() - 1.0
    return count / min(max(float(time), 1.0), float(count))


def percentile_interval(
    values: Sequence[float] | Values, quantile: float, confidence: float
) -> Interval:
    """Return a percentile with order statistics as ends, valid for every distribution.

    An end is the sample at which a binomial test of the share beyond it just decides (David and
    Nagaraja, Order Statistics, 7.1). What counts for dependent samples is how long they stay
    beyond it; the upper end takes the greater dependence of there and of the percentile, because
    a few samples beyond it show little of their dependence.
    """
    array = np.asarray(values, dtype=np.float64)
    count = len(array)
    value = float(np.quantile(array, quantile))
    effective = effective_samples(array > value)
    if count < MIN_SAMPLES:
        return Interval(value, None, None, count, effective)
    ordered = np.sort(array)
    beyond = 1.0 - quantile

    def is_below_percentile(rank: int) -> bool:
        hits = array >= ordered[rank]
        trials = effective_samples(hits)
        found = trials * float(hits.mean())
        return incomplete_beta(found, trials - found + 1.0, beyond) <= 1.0 - confidence

    def is_above_percentile(rank: int) -> bool:
        hits = array > ordered[rank]
        trials = min(effective, effective_samples(hits))
        found = trials * float(hits.mean())
        return incomplete_beta(trials - found, found + 1.0, quantile) <= 1.0 - confidence

    low = high = None
    if is_below_percentile(0):
        low = min(value, float(ordered[_last(is_below_percentile, 0, count - 1)]))
    if is_above_percentile(count - 1):
        mirrored = _last(lambda rank: is_above_percentile(count - 1 - rank), 0, count - 1)
        high = max(value, float(ordered[count - 1 - mirrored]))
    return Interval(value, low, high, count, effective)


def _last(holds: Callable[[int], bool], low: int, high: int) -> int:
    """Return the last number for which a condition holds that holds for ``low``."""
    while low < high:
        middle = (low + high + 1) // 2
        if holds(middle):
            low = middle
        else:
            high = middle - 1
    return low


def mean_interval(values: Sequence[float] | Values, confidence: float) -> Interval:
    """Return a mean with the ends of Student's t at the effective number of samples."""
    array = np.asarray(values, dtype=np.float64)
    count = len(array)
    value = float(array.mean())
    effective = effective_samples(array)
    if count < MIN_SAMPLES:
        return Interval(value, None, None, count, effective)
    independent = max(effective, 2.0)  # Student's t needs a degree of freedom
    error = float(array.std(ddof=1)) / math.sqrt(independent)
    half = error * student_quantile(confidence, independent - 1.0)
    return Interval(value, value - half, value + half, count, effective)


def share_interval(hits: Sequence[bool] | NDArray[np.bool_], confidence: float) -> Interval:
    """Return the share of hits, 0 to 1, with the ends of Clopper and Pearson (1934)."""
    array = np.asarray(hits, dtype=np.float64)
    count = len(array)
    value = float(array.mean())
    effective = effective_samples(array)
    if count < MIN_SAMPLES:
        return Interval(value, None, None, count, effective)
    found, missed = value * effective, (1.0 - value) * effective
    low = 0.0 if found == 0 else beta_quantile(1.0 - confidence, found, missed + 1.0)
    high = 1.0 if missed == 0 else beta_quantile(confidence, found + 1.0, missed)
    return Interval(value, low, high, count, effective)


def rate_interval(
    moments_s: Sequence[float] | Values, seconds: float, confidence: float
) -> Interval:
    """Return the rate of events per second; ``moments_s`` count from the start of the window.

    The mean of the counts in equal blocks (the method of batch means): of a second each, or a
    twentieth of a shorter window. Silence at either end counts too.
    """
    blocks = max(20, math.floor(seconds))
    counts, _ = np.histogram(np.asarray(moments_s), bins=blocks, range=(0.0, seconds))
    interval = mean_interval(counts, confidence).scaled(blocks / seconds)
    low = None if interval.low is None else max(0.0, interval.low)
    return Interval(interval.value, low, interval.high, int(counts.sum()), interval.effective)
