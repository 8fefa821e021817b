"""The regularized incomplete beta function and the quantiles that follow from it.

With it come the exact binomial and Student's t distribution (Abramowitz and Stegun, Handbook of
Mathematical Functions, 26.5.24 and 26.5.27); SciPy is no dependency of a robot.
"""

from __future__ import annotations

import math
from collections.abc import Callable

_MAX_TERMS = 10_000
_PRECISION = 1e-14
_TINY = 1e-300


def incomplete_beta(a: float, b: float, x: float) -> float:
    """Return I_x(a, b) for positive ``a`` and ``b``, and ``x`` from 0 to 1."""
    if x <= 0.0 or x >= 1.0:
        return 0.0 if x <= 0.0 else 1.0
    if x > (a + 1.0) / (a + b + 2.0):  # the fraction converges fast only below
        return 1.0 - incomplete_beta(b, a, 1.0 - x)
    log_factor = (
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    return math.exp(log_factor) * _continued_fraction(a, b, x) / a


def _continued_fraction(a: float, b: float, x: float) -> float:
    """Evaluate the fraction of 26.5.8 with Lentz's method."""
    upper, lower = 1.0, _nonzero(1.0 - (a + b) * x / (a + 1.0))
    lower = 1.0 / lower
    result = lower
    for m in range(1, _MAX_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            lower = 1.0 / _nonzero(1.0 + term * lower)
            upper = _nonzero(1.0 + term / upper)
            result *= upper * lower
        if abs(upper * lower - 1.0) < _PRECISION:
            break
    return result


def _nonzero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def student_quantile(probability: float, freedom: float) -> float:
    """Return the t that is not exceeded with ``probability`` (0.5 to 1) at degrees of freedom."""

    def cdf(t: float) -> float:
        tail: float = incomplete_beta(freedom / 2.0, 0.5, freedom / (freedom + t * t))
        return 1.0 - tail / 2.0

    high = 1.0
    while cdf(high) < probability:
        high *= 2.0
    return _find(cdf, probability, 0.0, high)


def beta_quantile(probability: float, a: float, b: float) -> float:
    """Return the x for which I_x(a, b) is ``probability``."""
    return _find(lambda x: incomplete_beta(a, b, x), probability, 0.0, 1.0)


def _find(rising: Callable[[float], float], wanted: float, low: float, high: float) -> float:
    """Bisect a rising function."""
    for _ in range(60):  # the precision of a float
        middle = (low + high) / 2.0
        if rising(middle) < wanted:
            low = middle
        else:
            high = middle
    return (low + high) / 2.0
