"""Percentiles and tests of significance, against formulas that count instead of ranking."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from edge_inference.observe.statistics.latency_figures import MINIMUM_SAMPLES, LatencyFigures
from edge_inference.observe.statistics.significance import (
    compare_quantiles,
    compared_samples,
    rank_test,
)


def interpolated(values: list[float], share: float) -> float:
    """Return a quantile by linear interpolation between order statistics."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def test_percentiles() -> None:
    values = list(np.random.default_rng(3).gamma(2.0, 5.0, 1234))
    figures = LatencyFigures.of(values)
    shares = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
    assert figures.percentiles == pytest.approx(
        {name: interpolated(values, share) for name, share in shares.items()}
    )
    assert (figures.count, figures.min, figures.max) == (1234, min(values), max(values))
    assert figures.mean == pytest.approx(sum(values) / 1234)


@pytest.mark.parametrize(
    ("name", "needed"), [("p90", 10), ("p95", 20), ("p99", 100), ("p99.9", 1000)]
)
def test_a_percentile_needs_enough_samples(name: str, needed: int) -> None:
    assert LatencyFigures.of([1.0] * needed).percentiles[name] == 1.0
    too_few = LatencyFigures.of([1.0] * (needed - 1))
    assert too_few.percentiles[name] is None
    assert too_few.missing()[name] == f"{needed - 1} samples, needs {needed}"


def test_no_samples() -> None:
    figures = LatencyFigures.of([])
    assert (figures.count, figures.mean, figures.max) == (0, None, None)
    assert set(figures.percentiles.values()) == {None}


def normal_two_sided(z: float) -> float:
    return math.erfc(abs(z) / math.sqrt(2))


def mann_whitney(one: list[float], two: list[float]) -> float:
    """Count the pairs, as Mann and Whitney define U; the variance as Lehmann writes it for ties."""
    u = sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in product(one, two))
    n, m = len(one), len(two)
    total = n + m
    together = one + two
    ties = sum(together.count(value) ** 3 - together.count(value) for value in set(together))
    variance = n * m * (total**3 - total - ties) / (12 * total * (total - 1))
    return normal_two_sided(max(abs(u - n * m / 2) - 0.5, 0) / math.sqrt(variance))


def wilcoxon(one: list[float], two: list[float]) -> float:
    """Add the signed ranks one by one; the variance is that of independent signs."""
    differences = [b - a for a, b in zip(one, two, strict=True) if a != b]
    sizes = sorted(abs(each) for each in differences)
    ranks = [
        sum(index + 1 for index, size in enumerate(sizes) if size == abs(each))
        / sizes.count(abs(each))
        for each in differences
    ]
    signed = sum(math.copysign(rank, each) for rank, each in zip(ranks, differences, strict=True))
    # The sum of positive ranks deviates by half as much as the signed sum.
    deviation = max(abs(signed) / 2 - 0.5, 0)
    return normal_two_sided(deviation / math.sqrt(sum(rank**2 for rank in ranks) / 4))


@pytest.mark.parametrize("seed", range(4))
def test_rank_tests(seed: int) -> None:
    random = np.random.default_rng(seed)
    one = [float(each) for each in random.integers(0, 12, 25)]
    two = [float(each) for each in random.integers(1, 14, 25)]
    assert rank_test(one, two, paired=False) == pytest.approx(mann_whitney(one, two))
    assert rank_test(one, two, paired=True) == pytest.approx(wilcoxon(one, two))


def test_rank_tests_of_equal_and_of_no_samples() -> None:
    assert rank_test([2.0] * 9, [2.0] * 9, paired=True) == 1.0
    assert rank_test([2.0] * 9, [2.0] * 9, paired=False) == 1.0
    assert rank_test([], [1.0], paired=False) == 1.0


def slow_drift(random: np.random.Generator, count: int) -> np.ndarray:
    """Return samples of which each resembles the one before (AR(1), 0.6)."""
    noise = random.normal(0, 1, count + 50)
    values = np.zeros(count + 50)
    for index in range(1, count + 50):
        values[index] = 0.6 * values[index - 1] + noise[index]
    return 20.0 + values[50:]


@pytest.mark.parametrize("is_drifting", [False, True])
def test_equal_distributions_seldom_differ(is_drifting: bool) -> None:
    random = np.random.default_rng(7)
    shown = 0
    for _ in range(25):
        if is_drifting:
            one, two = slow_drift(random, 300), slow_drift(random, 300)
        else:
            one, two = random.gamma(9, 2, 300), random.gamma(9, 2, 300)
        found = {each.name: each for each in compare_quantiles(one, two, paired=False)}
        shown += found["p50"].is_shown
    # At 5 % the count exceeds 5 of 25 in less than 0.1 % of such series; drift costs some more.
    assert shown <= 5


def test_a_real_difference_is_shown_with_its_size() -> None:
    random = np.random.default_rng(8)
    one = random.gamma(9, 2, 600)
    two = 1.2 * random.gamma(9, 2, 600)
    found = {each.name: each for each in compare_quantiles(one, two, paired=False)}
    for name in ("p50", "p90", "p95", "p99"):
        assert found[name].low < 0.2 < found[name].high, name
    assert found["p50"].is_shown
    assert found["p50"].change == pytest.approx(np.median(two) / np.median(one) - 1)


def test_pairs_show_what_load_hides() -> None:
    """Both sides are slowed alike from round to round; only pairs cancel that."""
    random = np.random.default_rng(9)
    load = random.gamma(2, 20, 400)
    one, two = load + random.normal(10, 0.1, 400), load * 1.03 + random.normal(10, 0.1, 400)
    (paired, *_), (unpaired, *_) = (
        compare_quantiles(one, two, paired=is_paired) for is_paired in (True, False)
    )
    assert paired.is_shown
    assert not unpaired.is_shown
    with pytest.raises(ValueError, match="pairs"):
        compare_quantiles(one, two[:-1], paired=True)


def test_a_tail_is_compared_from_enough_samples_only() -> None:
    assert [compared_samples(name) for name in MINIMUM_SAMPLES] == [20, 30, 60, 300, 3000]
    samples = list(np.random.default_rng(1).normal(50, 1, 299))
    assert "p99" not in {each.name for each in compare_quantiles(samples, samples, paired=False)}
    for one, other in ((samples, samples * 2), (samples * 2, samples)):
        names = {each.name for each in compare_quantiles(one, other, paired=False)}
        assert names == {"p50", "p90", "p95"}
    assert compare_quantiles([1.0] * 19, [2.0] * 19, paired=True) == []


def test_samples_without_scatter() -> None:
    (found, *_) = compare_quantiles([10.0] * 50, [11.0] * 50, paired=True)
    assert (found.low, found.high) == pytest.approx((0.1, 0.1))
    assert found.is_shown
    assert compare_quantiles([0.0] * 50, [0.0] * 50, paired=True) == []
