"""Confidence intervals of percentiles, means and shares.

Each end holds by itself with the given confidence, so a bound that lies outside the interval is met
or missed with that confidence. Consecutive measurements of a pipeline resemble each other: they
count as fewer independent ones (:func:`effective_samples`). An end that the samples cannot give is
None: the upper end of a p99 exists from 299 independent samples on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_inference.observe.targets.incomplete_beta import (
    beta_quantile,
    binomial_cdf,
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

    The number of samples below the true percentile is binomial (David and Nagaraja, Order
    Statistics, 7.1). What counts for dependent samples is whether each one exceeds the percentile.
    """
    array = np.asarray(values, dtype=np.float64)
    count = len(array)
    value = float(np.quantile(array, quantile))
    effective = effective_samples(array > value)
    trials = math.floor(effective)
    if count < MIN_SAMPLES:
        return Interval(value, None, None, count, effective)
    ordered = np.sort(array)
    low_rank = _lower_rank(trials, quantile, confidence)
    high_rank = _upper_rank(trials, quantile, confidence)
    low = high = None
    if low_rank is not None and (rank := math.floor(low_rank * count / trials)) >= 1:
        low = min(value, float(ordered[rank - 1]))
    if high_rank is not None:
        high = max(value, float(ordered[math.ceil(high_rank * count / trials) - 1]))
    return Interval(value, low, high, count, effective)


def _upper_rank(trials: int, quantile: float, confidence: float) -> int | None:
    """Return the lowest rank whose sample is not below the percentile; None if there is none."""
    if binomial_cdf(trials - 1, trials, quantile) < confidence:
        return None
    low, high = 1, trials
    while low < high:
        middle = (low + high) // 2
        if binomial_cdf(middle - 1, trials, quantile) >= confidence:
            high = middle
        else:
            low = middle + 1
    return low


def _lower_rank(trials: int, quantile: float, confidence: float) -> int | None:
    """Return the highest rank whose sample is not above the percentile; None if there is none."""
    # The same with the order reversed.
    mirrored = _upper_rank(trials, 1.0 - quantile, confidence)
    return None if mirrored is None else trials + 1 - mirrored


def mean_interval(values: Sequence[float] | Values, confidence: float) -> Interval:
    """Return a mean with the ends of Student's t at the effective number of samples."""
    array = np.asarray(values, dtype=np.float64)
    count = len(array)
    value = float(array.mean())
    effective = effective_samples(array)
    if count < MIN_SAMPLES or effective < 2.0:
        return Interval(value, None, None, count, effective)
    error = float(array.std(ddof=1)) / math.sqrt(effective)
    half = error * student_quantile(confidence, effective - 1.0)
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
