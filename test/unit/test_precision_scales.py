"""Scales and 8-bit numbers from ranges and weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from edge_inference.engines.precision.scales import (
    activation_scale,
    average_scale,
    bias_scale,
    dequantize,
    quantize,
    quantize_weights,
    weight_scale,
)

WEIGHTS = arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=4, max_side=6),
    elements=st.floats(-8, 8, width=32, allow_subnormal=False),
)


@pytest.mark.parametrize(
    ("span", "signed", "scale", "zero_point"),
    [
        ((0.0, 0.0), False, 1.0, 0),
        ((0.0, 0.0), True, 1.0, 0),
        ((0.0, 25.5), False, 0.1, 0),
        ((-25.5, 0.0), False, 0.1, 255),
        ((-1.0, 1.0), False, 2 / 255, 128),
        ((-3.0, 12.7), True, 0.1, 0),
        ((-12.7, 3.0), True, 0.1, 0),
    ],
)
def test_an_activation(
    span: tuple[float, float], signed: bool, scale: float, zero_point: int
) -> None:
    found = activation_scale(span, signed=signed)
    assert float(found.scale) == pytest.approx(scale)
    assert int(found.zero_point) == zero_point
    assert found.zero_point.dtype == (np.int8 if signed else np.uint8)
    assert found.scale.shape == found.zero_point.shape == ()


@given(low=st.floats(-1e6, 0), high=st.floats(0, 1e6), signed=st.booleans())
def test_0_is_exact_and_the_range_is_kept(low: float, high: float, signed: bool) -> None:
    scale = activation_scale((low, high), signed=signed)
    values = np.array([0, low, high], np.float32)
    numbers = quantize(values, scale)
    back = (numbers.astype(np.float64) - scale.zero_point) * scale.scale
    assert back[0] == 0
    assert back == pytest.approx(values, abs=1.01 * float(scale.scale))


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("part", [1.0, 0.5, 0.02, 1e-3, 1e-9, 0.0])
@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-17, 1e-15, 1e-9, 1.0, 1e9])
def test_averages_of_a_whole_image(size: float, part: float, signed: bool) -> None:
    source = activation_scale((-2 * size, 3 * size), signed=signed)
    span = -2 * size * part, 0.5 * size * part
    found = average_scale(span, source)
    # The limits of ONNX Runtime's kernel, for one pixel to a million.
    ratio = float(source.scale) / float(found.scale)
    assert 2.0**-32 * 1e6 <= ratio < 256
    assert found.zero_point.dtype == source.zero_point.dtype
    values = np.array([0, *span], np.float32)
    back = (quantize(values, found).astype(np.float64) - found.zero_point) * found.scale
    assert back[0] == 0
    assert back == pytest.approx(values, abs=1.01 * float(found.scale))
    if size >= 1e-9 and part >= 0.02:
        own = activation_scale(span, signed=signed)
        assert float(found.scale) == float(own.scale)


@given(weights=WEIGHTS, data=st.data())
def test_rounding_errors_of_weights_sum_to_zero(
    weights: NDArray[np.float32], data: st.DataObject
) -> None:
    axis = data.draw(st.integers(0, weights.ndim - 1))
    scale = weight_scale(weights, axis)
    assert scale.scale.shape == (weights.shape[axis],)
    numbers = quantize_weights(weights, scale)
    assert numbers.dtype == np.int8
    assert numbers.min() >= -127
    shape = [1] * weights.ndim
    shape[axis] = -1
    steps = scale.scale.reshape(shape).astype(np.float64)
    errors = numbers - weights.astype(np.float64) / steps
    assert np.abs(errors).max() < 1.001
    others = tuple(place for place in range(weights.ndim) if place != axis)
    assert np.abs(errors.sum(axis=others)).max() <= 0.501
    # Quantizing the dequantized values gives the same numbers.
    assert np.array_equal(quantize(dequantize(numbers, scale), scale), numbers)


@given(weights=WEIGHTS)
def test_one_scale_for_all_rounds_to_the_nearest(weights: NDArray[np.float32]) -> None:
    scale = weight_scale(weights, None)
    errors = quantize_weights(weights, scale) * float(scale.scale) - weights
    assert np.abs(errors).max() <= 0.501 * float(scale.scale)


def test_a_channel_without_weights_fits_its_bias() -> None:
    weights = np.array([[0.0], [1e-20], [1.27]], np.float32)
    bias = np.array([3.0, -2.0, 0.0], np.float32)
    scale = weight_scale(weights, 0, bias, 0.5)
    assert float(scale.scale[2]) == pytest.approx(0.01)
    biases = bias_scale(scale, 0.5)
    numbers = quantize(bias, biases)
    assert numbers.dtype == np.int32
    assert numbers * biases.scale.astype(np.float64) == pytest.approx(bias, rel=1e-6)
    assert np.array_equal(weight_scale(np.zeros((2, 1), np.float32), 0).scale, [1, 1])
