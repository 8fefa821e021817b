"""Percentiles from sketches: rank error, merging, few values, and without fastdigest."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_inference.core.runtime.latency import Percentiles
from edge_inference.observe import quantile_sketch
from edge_inference.observe.quantile_sketch import (
    EXACT_VALUES,
    QuantileSketch,
    RingSketch,
    make_sketch,
)
from edge_inference.observe.sliding_window import SLOTS, SlidingWindow

SECOND = 1_000_000_000
PERCENTS = (1, 5, 25, 50, 75, 90, 95, 99, 99.9)
COUNT = 30_000

Draw = Callable[[np.random.Generator], NDArray[np.float64]]
DATA: dict[str, Draw] = {
    "normal": lambda random: random.normal(20, 3, COUNT),
    "lognormal": lambda random: random.lognormal(3, 1, COUNT),
    "bimodal": lambda random: np.concatenate(
        (random.normal(10, 0.5, COUNT - COUNT // 90), random.normal(400, 20, COUNT // 90))
    ),
    "constant": lambda random: np.full(COUNT, 12.5),
    "ascending": lambda random: np.arange(COUNT, dtype=np.float64),
    "descending": lambda random: np.arange(COUNT, dtype=np.float64)[::-1],
    "a few values": lambda random: random.integers(0, 5, COUNT).astype(np.float64),
}


@pytest.fixture
def with_digest() -> None:
    pytest.importorskip("fastdigest", reason="the package fastdigest is not installed")


@pytest.fixture(params=["digest", "ring"])
def make(request: pytest.FixtureRequest) -> Callable[[], QuantileSketch]:
    if request.param == "ring":
        return RingSketch
    request.getfixturevalue("with_digest")
    return make_sketch


def filled(sketch: QuantileSketch, values: NDArray[np.float64]) -> QuantileSketch:
    for value in values:
        sketch.add(float(value))
    return sketch


def rank_error(values: NDArray[np.float64], percent: float, found: float) -> float:
    """Return the share of values between the percentile that was found and the right one."""
    ordered = np.sort(values)
    below = np.searchsorted(ordered, found, "left") / len(ordered)
    up_to = np.searchsorted(ordered, found, "right") / len(ordered)
    return max(0.0, below - percent / 100, percent / 100 - up_to)


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("parts", [1, 60])
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.usefixtures("with_digest")
def test_a_digest_is_right_within_0_3_percent_in_rank(name: str, parts: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    values = DATA[name](random)
    if "scending" not in name:
        random.shuffle(values)
    whole = make_sketch()
    for part in np.array_split(values, parts):
        whole.merge(filled(make_sketch(), part))
    assert whole.count == COUNT
    assert whole.mean == pytest.approx(values.mean())
    assert whole.max == values.max()
    found = whole.percentiles(PERCENTS)
    errors = {p: rank_error(values, p, value) for p, value in zip(PERCENTS, found, strict=True)}
    assert max(errors.values()) <= 0.003, errors


def test_few_values_are_exact(make: Callable[[], QuantileSketch]) -> None:
    values = np.random.default_rng(4).lognormal(3, 1, EXACT_VALUES)
    sketch = filled(make(), values)
    np.testing.assert_allclose(sketch.percentiles(PERCENTS), np.percentile(values, PERCENTS))
    merged = make()
    for part in np.array_split(values, 11):
        merged.merge(filled(make(), part))
    np.testing.assert_allclose(merged.percentiles(PERCENTS), np.percentile(values, PERCENTS))


def test_merging_leaves_the_other_unchanged(make: Callable[[], QuantileSketch]) -> None:
    values = np.random.default_rng(5).normal(10, 1, 3000)
    part, whole = filled(make(), values), make()
    before = part.percentiles(PERCENTS)
    whole.merge(part)
    whole.merge(part)
    assert (part.count, whole.count) == (3000, 6000)
    assert part.percentiles(PERCENTS) == before
    filled(whole, values + 100)
    assert part.max == values.max()


def test_an_empty_sketch_knows_nothing(make: Callable[[], QuantileSketch]) -> None:
    sketch = make()
    sketch.merge(make())
    assert (sketch.count, sketch.mean, sketch.max) == (0, None, None)
    assert sketch.percentile(99) is None
    assert sketch.percentiles((50, 99)) == [None, None]
    assert sketch.summary() == Percentiles()


@pytest.mark.parametrize("count", [1, 1000])
def test_a_value_that_is_no_number_is_left_out(
    make: Callable[[], QuantileSketch], count: int
) -> None:
    sketch = make()
    for _ in range(count):
        for value in (math.nan, 2.0, math.inf, -math.inf):
            sketch.add(value)
    assert (sketch.count, sketch.mean, sketch.max, sketch.percentile(50)) == (count, 2.0, 2.0, 2.0)
    sketch.add_all(np.array([math.nan, 2.0, math.inf] * count))
    assert (sketch.count, sketch.mean, sketch.max, sketch.percentile(9)) == (2 * count, 2, 2, 2)


def test_the_summary_has_the_usual_figures(make: Callable[[], QuantileSketch]) -> None:
    values = [float(value) for value in range(101)]
    assert filled(make(), np.array(values)).summary() == Percentiles.of(values)


def test_a_full_ring_loses_its_oldest_value() -> None:
    ring = filled(RingSketch(3), np.array([1.0, 2.0, 3.0, 4.0]))
    assert ring.percentiles((0, 50, 100)) == [2.0, 3.0, 4.0]


def test_a_ring_keeps_the_newest() -> None:
    ring = filled(RingSketch(100), np.arange(250.0))
    assert ring.percentile(0) == 150.0
    assert ring.percentile(100) == 249.0
    assert (ring.count, ring.mean, ring.max) == (250, 124.5, 249.0)
    whole = RingSketch(50)
    whole.merge(filled(RingSketch(100), np.arange(1000.0, 1010.0)))
    whole.merge(ring)
    assert whole.percentile(0) == 200.0
    assert whole.count == 260
    assert whole.max == 1009.0


def test_without_fastdigest_a_ring_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastdigest", None)
    quantile_sketch._find_digest_class.cache_clear()
    try:
        assert isinstance(make_sketch(), RingSketch)
    finally:
        quantile_sketch._find_digest_class.cache_clear()


def test_a_window_covers_its_length_and_at_most_a_slot_more() -> None:
    window: SlidingWindow[list[int]] = SlidingWindow(list, 10 * SECOND)
    for tenth in range(1000):
        now_ns = tenth * SECOND // 10
        window.current(now_ns).append(now_ns)
        held = [at for slot in window.slots(now_ns) for at in slot]
        begin_ns = window.begin_ns(now_ns)
        assert begin_ns is not None
        assert now_ns - 11 * SECOND <= begin_ns <= now_ns - 10 * SECOND
        first_ns = max(0, math.ceil(begin_ns / (SECOND // 10))) * SECOND // 10
        assert held == list(range(first_ns, now_ns + 1, SECOND // 10))
        assert len(window.slots(now_ns)) <= SLOTS + 1


def test_a_silent_window_empties() -> None:
    window: SlidingWindow[list[int]] = SlidingWindow(list, 10 * SECOND)
    window.current(0).append(1)
    assert window.slots(9 * SECOND) == [[1]]
    assert window.slots(11 * SECOND) == []
    assert window.begin_ns(60 * SECOND) == 50 * SECOND


def test_a_late_thread_adds_to_the_newest_slot() -> None:
    window: SlidingWindow[list[int]] = SlidingWindow(list, 10 * SECOND)
    window.current(5 * SECOND).append(1)
    window.current(4 * SECOND).append(2)
    assert window.slots(5 * SECOND) == [[1, 2]]
