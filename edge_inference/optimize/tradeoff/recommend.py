"""Recommends the operating point that meets an accuracy and a latency.

A bound is met with what the measurement leaves open: the accuracy of a few images is uncertain,
and a time is not always the same. The lower limit of the accuracy is Wilson's for a share (E. B.
Wilson, "Probable inference, the law of succession, and statistical inference", 1927). Of the time,
the 95th percentile counts, or the median where it is CPU time: the tail of that shows what else
ran on the machine, such as processes that emptied the caches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from edge_inference.core.measured_costs import FASTER
from edge_inference.errors import ConfigError
from edge_inference.optimize.comparison import MeasuredAccuracy
from edge_inference.optimize.tradeoff.tradeoff_point import (
    AGREEMENT,
    Tradeoff,
    TradeoffPoint,
    point_as_json,
)

DEFAULT_CONFIDENCE = 0.9
DEFAULT_MARGIN = 1.1


@dataclass(frozen=True)
class BestReachable:
    """What comes nearest where both bounds cannot be met; None where there is no such point.

    ``fastest`` is the fastest with enough accuracy, ``most_accurate`` the most accurate that is
    fast enough. ``accuracy`` and ``latency`` are the best of each, whatever the other is.
    """

    fastest: TradeoffPoint | None
    most_accurate: TradeoffPoint | None
    accuracy: TradeoffPoint | None
    latency: TradeoffPoint | None


@dataclass(frozen=True)
class TradeoffRecommendation:
    """The point that meets both bounds, or None with the best that can be reached.

    ``reasons`` are sentences that say why.
    """

    min_accuracy: float
    max_latency_ms: float
    point: TradeoffPoint | None
    reasons: tuple[str, ...]
    best_reachable: BestReachable | None = None

    def summary(self) -> str:
        """Return the outcome as text."""
        head = "impossible" if self.point is None else self.point.name
        return f"{head}: {'; '.join(self.reasons)}"

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        best = self.best_reachable
        return {
            "min_accuracy": self.min_accuracy,
            "max_latency_ms": self.max_latency_ms,
            "point": _as_json(self.point),
            "reasons": list(self.reasons),
            "best_reachable": None
            if best is None
            else {
                "fastest": _as_json(best.fastest),
                "most_accurate": _as_json(best.most_accurate),
                "accuracy": _as_json(best.accuracy),
                "latency": _as_json(best.latency),
            },
        }


def recommend(
    tradeoff: Tradeoff,
    min_accuracy: float,
    max_latency_ms: float,
    *,
    confidence: float = DEFAULT_CONFIDENCE,
    margin: float = DEFAULT_MARGIN,
) -> TradeoffRecommendation:
    """Return the fastest point that meets both bounds, or why there is none.

    ``min_accuracy`` is a share, 0 to 1. A point is accurate enough if its lower limit with this
    one-sided ``confidence`` is; with 0.5 that is the measured share itself. It is fast enough if
    the time of an inference, :func:`bounded_s` times ``margin``, is at most ``max_latency_ms``. Of
    points whose times for an image hardly differ (5 %) the most accurate is chosen, then the
    smallest.
    Raises ConfigError for an impossible bound.
    """
    _check(min_accuracy, max_latency_ms, confidence, margin)
    usable = tradeoff.usable()

    def lower(point: TradeoffPoint) -> float:
        return lower_accuracy(point, tradeoff.accuracy_kind, confidence)

    def upper_ms(point: TradeoffPoint) -> float:
        return 1e3 * bounded_s(point) * margin

    accurate = [point for point in usable if lower(point) >= min_accuracy]
    fast = [point for point in usable if upper_ms(point) <= max_latency_ms]
    both = [point for point in accurate if point in fast]
    if both:
        chosen = _fastest(both)
        figures = _figures(chosen, tradeoff.accuracy_kind, lower(chosen), confidence)
        return TradeoffRecommendation(
            min_accuracy,
            max_latency_ms,
            chosen,
            (f"the fastest of {len(both)} points that meet both bounds", *figures),
        )
    best = BestReachable(
        fastest=min(accurate, key=upper_ms, default=None),
        most_accurate=max(fast, key=lambda point: (lower(point), -upper_ms(point)), default=None),
        accuracy=max(usable, key=lambda point: (lower(point), -upper_ms(point)), default=None),
        latency=min(usable, key=upper_ms, default=None),
    )
    reasons = [f"no point keeps {min_accuracy:.1%} within {max_latency_ms:g} ms"]
    if not usable:
        reasons = [tradeoff.summary()]
    for found, text in (
        (best.fastest, "the fastest with enough accuracy is"),
        (best.most_accurate, "the most accurate that is fast enough is"),
        (best.accuracy if best.fastest is None else None, "none is accurate enough, at most"),
        (best.latency if best.most_accurate is None else None, "none is fast enough, at best"),
    ):
        if found is not None:
            reasons.append(
                f"{text} {found.name}: at least {lower(found):.1%} with {confidence:.0%} "
                f"confidence, {upper_ms(found):.3g} ms with the margin"
            )
    return TradeoffRecommendation(min_accuracy, max_latency_ms, None, tuple(reasons), best)


def bounded_s(point: TradeoffPoint) -> float:
    """Return the seconds that a bound applies to: p95, or the median of CPU time."""
    assert point.latency is not None
    return point.latency.median_s if point.is_cpu_time else point.latency.p95_s


def lower_accuracy(point: TradeoffPoint, kind: str, confidence: float) -> float:
    """Return the lower limit of a point's accuracy with a one-sided confidence.

    The reference agrees with itself on any images, so its limit is 1.
    """
    assert point.accuracy is not None
    if kind == AGREEMENT and point.is_reference:
        return 1.0
    return _wilson_lower(point.accuracy, NormalDist().inv_cdf(confidence))


def _wilson_lower(accuracy: MeasuredAccuracy, z: float) -> float:
    n, share = accuracy.total, accuracy.share
    if z == 0:
        return share
    center = share + z * z / (2 * n)
    spread = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return (center - spread) / (1 + z * z / n)


def _fastest(points: list[TradeoffPoint]) -> TradeoffPoint:
    def seconds(point: TradeoffPoint) -> float:
        assert point.image_s is not None
        return point.image_s

    limit = min(map(seconds, points)) / FASTER
    return min(
        (point for point in points if seconds(point) <= limit),
        key=lambda point: (
            -(point.accuracy.share if point.accuracy else 0.0),
            math.inf if point.file_bytes is None else point.file_bytes,
            seconds(point),
            point.name,
        ),
    )


def _figures(point: TradeoffPoint, kind: str, lower: float, confidence: float) -> list[str]:
    assert point.accuracy is not None and point.latency is not None
    count = point.accuracy.total
    clock = " of CPU time" if point.is_cpu_time else ""
    of_what = "images" if kind != AGREEMENT else "results"
    texts = [
        f"{kind} {point.accuracy.share:.1%} of {count} {of_what}, at least {lower:.1%} with "
        f"{confidence:.0%} confidence",
        f"{1e3 * point.latency.median_s:.3g} ms{clock} in the median, "
        f"{1e3 * point.latency.p95_s:.3g} ms at the 95th percentile",
    ]
    if kind == AGREEMENT:
        texts.append(
            "agreement compares a model with itself: between models it says nothing; give labeled "
            "images for that"
        )
    return texts


def _check(min_accuracy: float, max_latency_ms: float, confidence: float, margin: float) -> None:
    for name, value, low, high, hint in (
        ("min_accuracy", min_accuracy, 0.0, 1.0, "; it is a share: 0.92 for 92 %"),
        ("max_latency_ms", max_latency_ms, 1e-6, 1e9, ""),
        ("confidence", confidence, 0.5, 0.9999, ""),
        ("margin", margin, 1.0, 10.0, "; it multiplies the latency"),
    ):
        if not low <= value <= high:  # so is NaN
            raise ConfigError(
                f"{name}: expected a number from {low:g} to {high:g}, got {value!r}{hint}"
            )


def _as_json(point: TradeoffPoint | None) -> dict[str, Any] | None:
    return None if point is None else {"name": point.name, **point_as_json(point)}
