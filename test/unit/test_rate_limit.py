"""Rate limiters: never above the limit in the long run, and never far below."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_inference.core.runtime.rate_limit import DownstreamRateLimiter, RateLimiter

SECOND = 1_000_000_000


def admitted(limit: RateLimiter, times_ns: list[int], max_rate_hz: float | None) -> list[int]:
    return [now for now in times_ns if limit.admits(now, max_rate_hz)]


def every(period_s: float, count: int, start_ns: int = 0) -> list[int]:
    return [start_ns + round(number * period_s * SECOND) for number in range(count)]


def test_without_a_limit_every_item_passes() -> None:
    assert len(admitted(RateLimiter(), every(0.001, 100), None)) == 100


def test_a_limit_of_zero_admits_nothing() -> None:
    assert admitted(RateLimiter(), every(1, 10), 0.0) == []


@pytest.mark.parametrize("limit_hz", [1e-310, 1e-45, 5e-324, -1.0, math.nan, -math.inf])
def test_an_invalid_limit_admits_nothing(limit_hz: float) -> None:
    limit = RateLimiter()
    assert admitted(limit, every(1, 10), limit_hz) == []
    assert len(admitted(limit, every(1, 10, 10 * SECOND), 1.0)) == 10


@given(st.lists(st.floats() | st.none(), max_size=20))
def test_a_limit_is_kept_after_any_earlier_limits(limits: list[float | None]) -> None:
    limit = RateLimiter()
    for second, earlier in enumerate(limits):
        limit.admits(second * SECOND, earlier)
    passed = admitted(limit, every(0.1, 600, len(limits) * SECOND), 2.0)
    assert len(passed) == pytest.approx(120, abs=3)


@pytest.mark.parametrize(
    ("source_hz", "limit_hz", "expected_hz"),
    [(30, 30, 30), (30, 15, 15), (30, 20, 20), (30, 7, 7), (30, 60, 30), (30, 1, 1), (25, 24, 24)],
)
def test_the_long_run_rate_is_the_lower_of_both(
    source_hz: float, limit_hz: float, expected_hz: float
) -> None:
    passed = admitted(RateLimiter(), every(1 / source_hz, source_hz * 60), limit_hz)
    assert len(passed) / 60 == pytest.approx(expected_hz, rel=0.02)


@given(
    st.lists(st.integers(0, SECOND // 5), min_size=2, max_size=200),
    st.floats(0.5, 100.0),
)
def test_never_more_than_the_limit_and_a_burst(gaps: list[int], limit_hz: float) -> None:
    times, now = [], 0
    for gap in gaps:
        now += gap
        times.append(now)
    passed = admitted(RateLimiter(0.5), times, limit_hz)
    assert len(passed) <= (times[-1] - times[0]) / SECOND * limit_hz + 3


def test_a_limited_stream_with_jitter_is_not_limited_again() -> None:
    regular = admitted(RateLimiter(0.5), every(1 / 30, 1800), 20.0)
    jitter = [0, 12_000_000, -9_000_000, 15_000_000]
    late = [now + jitter[number % 4] for number, now in enumerate(regular)]
    assert admitted(RateLimiter(1.5), late, 20.0) == late


def test_a_raised_limit_applies_at_once() -> None:
    limit = RateLimiter()
    assert limit.admits(0, 0.1)
    assert not limit.admits(SECOND, 0.1)
    assert len(admitted(limit, every(0.1, 20, SECOND), 10.0)) >= 18


def test_the_fastest_consumer_decides_and_dropped_items_are_counted() -> None:
    limiter = DownstreamRateLimiter()
    assert all(limiter.admits(now) for now in every(0.01, 50))
    limiter.set_limit("slow", 2.0, SECOND)
    limiter.set_limit("fast", 10.0, SECOND)
    passed = [now for now in every(1 / 30, 90, SECOND) if limiter.admits(now)]
    assert 29 <= len(passed) <= 32
    assert limiter.take_skipped() == 90 - len(passed)
    assert limiter.take_skipped() == 0
    limiter.set_limit("free", None, 4 * SECOND)
    assert all(limiter.admits(now) for now in every(1 / 30, 30, 4 * SECOND))


def test_a_consumer_that_is_gone_limits_nothing() -> None:
    limiter = DownstreamRateLimiter()
    limiter.set_limit("gone", 1.0, 0)
    assert sum(limiter.admits(now) for now in every(1 / 30, 30)) <= 2
    assert all(limiter.admits(now) for now in every(1 / 30, 30, 6 * SECOND))
