"""Intervals against exact sums of binomials, published tables, and simulated coverage."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_inference.observe.statistics.incomplete_beta import (
    beta_quantile,
    incomplete_beta,
    student_quantile,
)
from edge_inference.observe.statistics.intervals import (
    MIN_SAMPLES,
    effective_samples,
    mean_interval,
    percentile_interval,
    rate_interval,
    share_interval,
)


def binomial(n: int, k: int, p: float) -> float:
    """The exact probability of at most k successes."""
    return math.fsum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1))


def spread(n: int) -> NDArray[np.float64]:
    """The numbers 1 to n, those above any threshold evenly spread (the sequence of van der Corput).

    Neighbours differ more than by chance, so that no dependence is found at any threshold.
    """
    reversed_bits = [int(f"{i:016b}"[::-1], 2) for i in range(n)]
    return np.argsort(np.argsort(reversed_bits)) + 1.0


@pytest.mark.parametrize("p", [0.01, 0.3, 0.95])
@pytest.mark.parametrize(("n", "k"), [(1, 0), (10, 3), (59, 58), (300, 12), (300, 299)])
def test_incomplete_beta_is_the_binomial_sum(n: int, k: int, p: float) -> None:
    assert incomplete_beta(n - k, k + 1, 1 - p) == pytest.approx(binomial(n, k, p), rel=1e-10)


@pytest.mark.parametrize(
    ("probability", "freedom", "t"),
    [(0.95, 1, 6.3138), (0.95, 10, 1.8125), (0.975, 7, 2.3646), (0.99, 30, 2.4573), (0.5, 4, 0.0)],
)
def test_student_quantiles_of_the_printed_table(probability: float, freedom: int, t: float) -> None:
    assert student_quantile(probability, freedom) == pytest.approx(t, abs=1e-4)


@pytest.mark.parametrize(("n", "q"), [(299, 0.99), (500, 0.99), (59, 0.95), (200, 0.5), (9, 0.5)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_ends_are_the_exact_order_statistics(n: int, q: float, confidence: float) -> None:
    interval = percentile_interval(spread(n), q, confidence)
    # Of 1 … n the sample of rank r is r.
    highs = [r for r in range(1, n + 1) if binomial(n, r - 1, q) >= confidence]
    lows = [r for r in range(1, n + 1) if 1 - binomial(n, r - 1, q) >= confidence]
    assert interval.effective == n
    assert (interval.low, interval.high) == (max(lows), min(highs, default=None))
    assert interval.value == pytest.approx(1 + q * (n - 1))


@pytest.mark.parametrize(
    ("q", "enough"), [(0.5, 8), (0.9, 29), (0.95, 59), (0.99, 299), (0.999, 2995)]
)
def test_the_fewest_samples_that_bound_a_percentile(q: float, enough: int) -> None:
    assert enough == max(MIN_SAMPLES, math.ceil(math.log(0.05) / math.log(q)))
    constant = np.full(enough, 7.0)
    assert percentile_interval(constant, q, 0.95).high == 7.0
    assert percentile_interval(constant[1:], q, 0.95).high is None


def test_few_samples_have_no_ends() -> None:
    for interval in (
        percentile_interval([1.0] * (MIN_SAMPLES - 1), 0.5, 0.95),
        mean_interval([1.0] * (MIN_SAMPLES - 1), 0.95),
        share_interval([True] * (MIN_SAMPLES - 1), 0.95),
    ):
        assert (interval.value, interval.low, interval.high) == (1.0, None, None)


def test_mean_by_hand() -> None:
    values = [1.0, 2.0] * 8  # alternating: no dependence that narrows the interval is used
    interval = mean_interval(values, 0.95)
    half = 1.7531 * np.std(values, ddof=1) / 4
    assert interval.effective == 16
    assert (interval.low, interval.high) == pytest.approx((1.5 - half, 1.5 + half), abs=1e-4)


@pytest.mark.parametrize(("hits", "n"), [(0, 60), (3, 60), (30, 60), (60, 60)])
def test_shares_of_clopper_and_pearson(hits: int, n: int) -> None:
    found = np.zeros(n, bool)
    found[:: n // hits if hits else n] = hits > 0
    assert found.sum() == hits
    interval = share_interval(found, 0.95)
    assert interval.effective == n
    low, high = interval.low, interval.high
    assert low is not None and high is not None
    if hits:
        assert 1 - binomial(n, hits - 1, low) == pytest.approx(0.05)
    if hits < n:
        assert binomial(n, hits, high) == pytest.approx(0.05)
    assert (low == 0.0) == (hits == 0)
    assert (high == 1.0) == (hits == n)


def test_beta_quantile_inverts() -> None:
    assert incomplete_beta(3.5, 8.0, beta_quantile(0.3, 3.5, 8.0)) == pytest.approx(0.3)


def autoregressive(n: int, rho: float, runs: int) -> NDArray[np.float64]:
    """Gaussian series with variance 1 whose autocorrelation time is (1 + rho) / (1 - rho)."""
    values = np.random.default_rng(11).normal(size=(n, runs))
    for i in range(1, n):
        values[i] = rho * values[i - 1] + math.sqrt(1 - rho * rho) * values[i]
    return values.T


def test_dependent_samples_count_less() -> None:
    rng = np.random.default_rng(0)
    found = [effective_samples(series) for series in autoregressive(5000, 0.8, 20)]
    assert float(np.mean(found)) == pytest.approx(5000 / 9, rel=0.1)
    assert effective_samples(rng.normal(size=1000)) > 800
    assert effective_samples(np.full(100, 0.1)) == 100
    assert effective_samples([]) == 0
    blocks = np.repeat(rng.normal(size=50), 20)
    assert effective_samples(blocks) < 150


def coverage(series: NDArray[np.float64], q: float, truth: float) -> tuple[float, float]:
    """Return how often the true value lies above the low end, and below the high end."""
    found = [percentile_interval(each, q, 0.95) for each in series]
    low = [each.low is None or each.low <= truth for each in found]
    high = [each.high is None or each.high >= truth for each in found]
    return float(np.mean(low)), float(np.mean(high))


@pytest.mark.parametrize(
    ("n", "q", "rho"), [(300, 0.99, 0.0), (60, 0.5, 0.0), (1000, 0.95, 0.8), (1500, 0.99, 0.5)]
)
def test_both_ends_cover_the_truth(n: int, q: float, rho: float) -> None:
    truth = NormalDist().inv_cdf(q)
    low, high = coverage(autoregressive(n, rho, 200), q, truth)
    assert min(low, high) > 0.90  # 0.95 by design; 200 runs, and an estimated dependence


def test_coverage_of_a_bimodal_percentile() -> None:
    # 3 % are 50 higher, so p98.5 is their median.
    rng = np.random.default_rng(11)
    series = rng.normal(size=(200, 600)) + 50.0 * (rng.random((200, 600)) < 0.03)
    low, high = coverage(series, 0.985, 50.0)
    assert min(low, high) > 0.90


def test_a_rate_counts_silence_at_the_end() -> None:
    moments = np.arange(0.05, 20.0, 0.1)
    steady = rate_interval(moments, 20.0, 0.95)
    assert steady.value == pytest.approx(10.0)
    assert (steady.low, steady.high) == pytest.approx((10.0, 10.0))
    brief = rate_interval(moments[:20], 2.0, 0.95)  # 20 blocks
    assert brief.low == pytest.approx(10.0)
    stalled = rate_interval(moments[:100], 20.0, 0.95)
    assert stalled.value == pytest.approx(5.0)
    assert stalled.low is not None and stalled.low < 2.0
    silent = rate_interval([], 20.0, 0.95)
    assert (silent.value, silent.low, silent.high) == (0.0, 0.0, 0.0)


def test_scales_and_inverse() -> None:
    interval = mean_interval([1.0, 2.0] * 8, 0.95)
    assert interval.low is not None and interval.high is not None
    inverse = interval.inverted(1000.0)
    assert inverse.value == pytest.approx(1000 / 1.5)
    assert inverse.low == pytest.approx(1000 / interval.high)
    assert inverse.high == pytest.approx(1000 / interval.low)
    wide = mean_interval([0.0] * 7 + [9.0], 0.95)
    assert wide.low is not None and wide.low < 0
    assert wide.inverted(1000.0).high is None
    assert interval.scaled(100.0).high == pytest.approx(100 * interval.high)
