"""Confidence intervals of scores whose frames resemble their neighbours.

Frames of a video are no independent samples: blocks of consecutive frames are drawn instead
(block bootstrap, Künsch 1989; here without overlap, Carlstein 1986). A few blocks make percentile
intervals too narrow; their levels are expanded as Hesterberg 2015 describes ("What Teachers Should
Know About the Bootstrap", section 3.3): to the normal probability of sqrt(n / (n - 1)) times
Student's quantile.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from edge_inference.observe.statistics.incomplete_beta import student_quantile

#: The extremes of fewer blocks contain the median with less than 95 %: 1 - 2 ** (1 - n).
MIN_BLOCKS = 6
_RESAMPLES = 4000
_SEED = 20200817


def bootstrap_interval(
    blocks: NDArray[np.float64],
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    level: float = 0.95,
) -> tuple[float, float] | None:
    """Return the confidence interval of a statistic of summed counts.

    ``blocks`` are the counts ``(N, K)`` of each block; ``statistic`` maps sums ``(R, K)`` to values
    ``(R,)``, NaN where undefined. None if there are too few blocks, or if it is undefined in some
    resamples. Equal blocks give equal results.
    """
    count = len(blocks)
    if count < MIN_BLOCKS:
        return None
    random = np.random.default_rng(_SEED)
    weights = random.multinomial(count, np.full(count, 1 / count), size=_RESAMPLES)
    values = statistic(weights.astype(np.float64) @ blocks)
    if np.isnan(values).any():
        return None
    tail = _expanded_tail(count, level)
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def _expanded_tail(count: int, level: float) -> float:
    quantile = student_quantile((1 + level) / 2, count - 1)
    return NormalDist().cdf(-math.sqrt(count / (count - 1)) * quantile)
