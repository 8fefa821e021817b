"""Whether two measurements differ, or only scatter.

Samples of one run follow each other: a slow moment slows several of them. An interval from single
samples would be too narrow, so blocks of consecutive samples are drawn instead (the circular block
bootstrap: Politis and Romano 1992, after Künsch 1989), of a length that grows with the cube root of
the number of samples. The 95 % interval is that of the percentiles of the ratio. As a second
opinion on the whole distribution there is a rank test: Wilcoxon's signed ranks (1945) for paired
samples, else Mann and Whitney's U (1947), both in the normal approximation with ties.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_inference.observe.statistics.latency_figures import MINIMUM_SAMPLES, percentile_of

_RESAMPLES = 1000
_SEED = 20100917
_CONFIDENCE = 95.0
_CHUNK_SAMPLES = 2_000_000
_TINY = 1e-12
#: Fewer samples give no interval that means anything; a tail needs three times the samples that
#: its value needs, because its interval reaches beyond it.
_MIN_SAMPLES = 20
_INTERVAL_FACTOR = 3

PAIRED_METHOD = (
    "paired circular block bootstrap of the ratio (Politis and Romano 1992), and Wilcoxon's "
    "signed-rank test"
)
UNPAIRED_METHOD = (
    "circular block bootstrap of the ratio (Politis and Romano 1992), and the Mann-Whitney U test"
)


@dataclass(frozen=True)
class QuantileDifference:
    """How a percentile changed from ``base`` to ``other``, in milliseconds.

    ``change`` is relative: 0.1 is 10 % more. ``low`` and ``high`` are its 95 % interval.
    """

    name: str
    base: float
    other: float
    low: float
    high: float

    @property
    def change(self) -> float:
        """The relative change."""
        return self.other / self.base - 1.0

    @property
    def is_shown(self) -> bool:
        """Whether the interval excludes that nothing changed."""
        return self.low > 0.0 or self.high < 0.0


def compared_samples(name: str) -> int:
    """Return how many samples on each side a percentile needs to be compared."""
    return max(_MIN_SAMPLES, _INTERVAL_FACTOR * MINIMUM_SAMPLES[name])


def compare_quantiles(
    base: Sequence[float], other: Sequence[float], *, paired: bool
) -> list[QuantileDifference]:
    """Return the change of each percentile for which both sides have enough samples.

    ``paired`` states that sample i of both was measured in the same round; both then have the same
    length. Raises ValueError for other lengths. Percentiles of 0 are left out: they have no ratio.
    """
    one, two = np.asarray(base, dtype=np.float64), np.asarray(other, dtype=np.float64)
    if paired and len(one) != len(two):
        raise ValueError(f"expected pairs of samples, got {len(one)} and {len(two)}")
    count = min(len(one), len(two))
    names = [
        name
        for name in MINIMUM_SAMPLES
        if count >= compared_samples(name) and percentile_of(one, name) > 0
    ]
    if not names:
        return []
    random = np.random.default_rng(_SEED)
    percents = [float(name.removeprefix("p")) for name in names]
    ratios = np.concatenate(
        [
            _draw_ratios(random, one, two, percents, rows, paired)
            for rows in _chunks(max(len(one), len(two)))
        ]
    )
    tail = (100.0 - _CONFIDENCE) / 2
    low, high = np.percentile(ratios, (tail, 100.0 - tail), axis=0) - 1.0
    return [
        QuantileDifference(
            name,
            percentile_of(one, name),
            percentile_of(two, name),
            float(low[index]),
            float(high[index]),
        )
        for index, name in enumerate(names)
    ]


def rank_test(base: Sequence[float], other: Sequence[float], *, paired: bool) -> float:
    """Return the two-sided p value for equal distributions; 1 without samples."""
    one, two = np.asarray(base, dtype=np.float64), np.asarray(other, dtype=np.float64)
    return _signed_ranks(two - one) if paired else _rank_sum(one, two)


def _chunks(count: int) -> list[int]:
    """Divide the resamples, so that one chunk does not need much memory."""
    rows = min(max(_CHUNK_SAMPLES // count, 1), _RESAMPLES)
    return [min(rows, _RESAMPLES - done) for done in range(0, _RESAMPLES, rows)]


def _draw_ratios(
    random: np.random.Generator,
    one: NDArray[np.float64],
    two: NDArray[np.float64],
    percents: Sequence[float],
    rows: int,
    paired: bool,
) -> NDArray[np.float64]:
    """Return the ratios of the percentiles of ``rows`` resamples, one row each."""
    drawn = _draw(random, len(one), rows)
    drawn_other = drawn if paired else _draw(random, len(two), rows)
    below = np.percentile(one[drawn], percents, axis=1)
    above = np.percentile(two[drawn_other], percents, axis=1)
    return np.asarray(above / np.maximum(below, _TINY)).T


def _draw(random: np.random.Generator, count: int, rows: int) -> NDArray[np.int64]:
    """Return the indices of resamples: blocks of consecutive samples, around the end."""
    length = max(1, round(count ** (1 / 3)))
    starts = random.integers(0, count, size=(rows, -(-count // length), 1))
    indices: NDArray[np.int64] = (starts + np.arange(length)) % count
    return indices.reshape(rows, -1)[:, :count]


def _signed_ranks(differences: NDArray[np.float64]) -> float:
    nonzero = differences[differences != 0]
    count = len(nonzero)
    if count == 0:
        return 1.0
    ranks, ties = _ranks(np.abs(nonzero))
    mean = count * (count + 1) / 4
    variance = count * (count + 1) * (2 * count + 1) / 24 - float((ties**3 - ties).sum()) / 48
    return _two_sided(float(ranks[nonzero > 0].sum()) - mean, variance)


def _rank_sum(one: NDArray[np.float64], two: NDArray[np.float64]) -> float:
    n, m = len(one), len(two)
    if n == 0 or m == 0:
        return 1.0
    ranks, ties = _ranks(np.concatenate([one, two]))
    statistic = float(ranks[:n].sum()) - n * (n + 1) / 2
    total = n + m
    tied = float((ties**3 - ties).sum()) / (total * max(total - 1, 1))
    return _two_sided(statistic - n * m / 2, n * m / 12 * (total + 1 - tied))


def _ranks(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the rank of each value, the mean one of equal values, and the sizes of the ties."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    means = ends - (counts - 1) / 2
    return means[inverse], counts.astype(np.float64)


def _two_sided(deviation: float, variance: float) -> float:
    if variance <= 0:
        return 1.0
    corrected = max(abs(deviation) - 0.5, 0.0)
    return math.erfc(corrected / math.sqrt(2 * variance))
