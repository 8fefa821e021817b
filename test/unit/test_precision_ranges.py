"""Ranges from values: none, zeros, outliers, any order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from edge_inference.engines.precision.ranges import METHODS, Histogram, estimate
from edge_inference.errors import TensorError

VALUES = arrays(
    np.float32,
    st.integers(1, 40),
    elements=st.floats(-(2.0**60), 2.0**60, width=32, allow_nan=False),
)


def histogram(*parts: NDArray[np.float32]) -> Histogram:
    made = Histogram()
    for part in parts:
        made.add(part)
    return made


def quantization_error(values: NDArray[np.float32], span: tuple[float, float]) -> float:
    low, high = span
    step = (high - low) / 255
    numbers = np.rint((np.clip(values, low, high) - low) / step)
    return float(np.square(values - (numbers * step + low)).mean())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("values", [[], [0.0], [0.0] * 1000])
def test_zeros_have_an_empty_range(method: str, values: list[float]) -> None:
    assert estimate(histogram(np.array(values, np.float32)), method) == (0.0, 0.0)


@pytest.mark.parametrize("method", METHODS)
@given(parts=st.lists(VALUES, min_size=1, max_size=4))
def test_a_range_includes_0_and_no_more_than_the_values(
    method: str, parts: list[NDArray[np.float32]]
) -> None:
    low, high = estimate(histogram(*parts), method)
    everything = np.concatenate(parts)
    assert min(float(everything.min()), 0.0) <= low <= 0.0 <= high
    assert high <= max(float(everything.max()), 0.0)


@given(parts=st.lists(VALUES, min_size=1, max_size=4))
def test_minmax_is_the_smallest_and_the_largest(parts: list[NDArray[np.float32]]) -> None:
    everything = np.concatenate([*parts, np.zeros(1, np.float32)])
    wanted = float(everything.min()), float(everything.max())
    assert estimate(histogram(*parts), "minmax") == wanted


@example(parts=[np.array([2.0**59], np.float32), np.array([-(2.0**-103)], np.float32)])
@given(parts=st.lists(VALUES, min_size=1, max_size=4))
def test_the_order_of_the_values_does_not_matter(parts: list[NDArray[np.float32]]) -> None:
    one, other = histogram(*parts), histogram(*reversed(parts))
    assert one.limit == other.limit
    assert np.array_equal(one.counts, other.counts)
    if one.limit:
        assert one.counts.sum() == sum(part.size for part in parts)


def test_a_much_larger_value_keeps_the_counts() -> None:
    made = histogram(np.array([-1e-6, 1e-6, 0.0], np.float32), np.array([1e6, 0.0], np.float32))
    assert made.counts.sum() == 5
    assert estimate(made, "minmax") == (pytest.approx(-1e-6), 1e6)


def test_the_memory_does_not_grow() -> None:
    made = Histogram()
    size = made.counts.nbytes
    for exponent in range(-20, 20):
        made.add(np.full(1000, 2.0**exponent, np.float32))
    assert made.counts.nbytes == size <= 1 << 16


@pytest.mark.parametrize("method", ["percentile", "entropy"])
def test_a_lone_outlier_is_clipped(method: str) -> None:
    values = np.random.default_rng(0).standard_normal(200_000).astype(np.float32)
    values[0] = 100
    low, high = estimate(histogram(values), method)
    assert -6 < low < -2
    assert 2 < high < 6
    wide = estimate(histogram(values), "minmax")
    assert wide[1] == 100
    assert quantization_error(values[1:], (low, high)) < quantization_error(values[1:], wide) / 4


@pytest.mark.parametrize("method", METHODS)
def test_a_long_tail_of_many_values_is_not_clipped_away(method: str) -> None:
    rng = np.random.default_rng(3)
    small, tail = rng.laplace(scale=0.01, size=192_000), rng.uniform(-4, 4, size=8_000)
    values = np.concatenate([small, tail]).astype(np.float32)
    low, high = estimate(histogram(values), method)
    assert np.mean((values < low) | (values > high)) <= 0.001


def test_mse_is_better_than_any_symmetric_clipping() -> None:
    values = np.random.default_rng(1).laplace(size=100_000).astype(np.float32)
    found = quantization_error(values, estimate(histogram(values), "mse"))
    low, high = estimate(histogram(values), "minmax")
    others = [quantization_error(values, (low * part, high * part)) for part in (0.3, 0.5, 0.7, 1)]
    assert found <= min(others) * 1.01


def test_a_clamped_activation_keeps_its_bounds() -> None:
    values = np.clip(np.random.default_rng(2).normal(1, 3, 50_000), 0, 6).astype(np.float32)
    for method in ("percentile", "mse"):
        low, high = estimate(histogram(values), method)
        assert low == 0.0
        assert high == pytest.approx(6, abs=0.2)


def test_nan_is_refused() -> None:
    with pytest.raises(TensorError, match="NaN among the values"):
        Histogram().add(np.array([1, np.nan, np.inf], np.float32))


@pytest.mark.parametrize("mark", [np.inf, -np.inf])
def test_infinity_masks_and_does_not_count(mark: float) -> None:
    values = np.linspace(-1, 3, 1000)
    found = histogram(np.append(values, mark).astype(np.float32))
    assert found.is_masked(64)
    assert estimate(found, "minmax") == (-1, 3)


SCORES = np.random.default_rng(3).normal(0, 2, 4000)


@pytest.mark.parametrize(
    ("marks", "ratio", "is_masked"),
    [
        ([-3.4028235e38], 64, True),
        ([-65504.0 - 3, -65504.0 + 3], 64, True),
        ([-1e4], 64, True),
        ([-100.0], 64, False),  # an outlier of an activation, of which int8 has a step
        ([-100.0], 4, True),
        ([1e4], 64, False),  # a large result is one
        ([-1e4, *-np.geomspace(8, 1e4, 40)], 64, False),  # a long tail
        ([], 4, False),
    ],
)
def test_values_far_below_all_others_mask(
    marks: list[float], ratio: float, is_masked: bool
) -> None:
    found = histogram(np.append(SCORES, marks).astype(np.float32))
    assert found.is_masked(ratio) is is_masked


@pytest.mark.parametrize(
    "values", [[0.0, 0.0], [0.0, 1.0], [-1.0, 1.0], [-3.0, -2.0], [-4e4, -3e4]]
)
def test_few_values_mask_nothing(values: list[float]) -> None:
    assert not histogram(np.array(values, np.float32)).is_masked(4)


@pytest.mark.parametrize("others", [[0.0], [-1.0], [1.0]])
def test_a_mask_of_its_own_is_masked(others: list[float]) -> None:
    assert histogram(np.array([*others, -1e4], np.float32)).is_masked(64)
