"""From ranges and weights to 8-bit numbers: real = (number - zero point) * scale.

Weights have the zero point 0: -127 to 127 in 8 bits, -64 to 63 in 7. Activations
are unsigned with a zero point (0 to 255), or signed and symmetric.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.engines.precision.ranges import Range

_LARGEST_SIGNED = 127
_LARGEST_UNSIGNED = 255
#: Least and largest number of a weight, by its bits. Two products of 7-bit weights with
#: unsigned bytes fit in 16 bits together (2 * 255 * 64 = 32640), of 8-bit ones they do not.
WEIGHT_RANGES: Mapping[int, tuple[int, int]] = {7: (-64, 63), 8: (-127, 127)}
#: Keeps a bias inside 32 bits.
_LARGEST_BIAS = 2.0**30
#: Keeps the product of two scales away from zero; what is smaller is nothing.
_SMALLEST_SCALE = 1e-18


@dataclass(frozen=True)
class Scale:
    """Scale and zero point, scalars or one for each channel along ``axis``."""

    scale: NDArray[np.float32]
    zero_point: NDArray[Any]
    axis: int | None = None


def activation_scale(span: Range, *, signed: bool) -> Scale:
    """Return the scale of a tensor whose values span a range that includes 0."""
    low, high = span
    if signed:
        scale = _sound(max(-low, high) / _LARGEST_SIGNED)
        return Scale(np.asarray(scale, np.float32), np.zeros((), np.int8))
    scale = _sound((high - low) / _LARGEST_UNSIGNED)
    zero_point = np.clip(np.round(-low / scale), 0, _LARGEST_UNSIGNED)
    return Scale(np.asarray(scale, np.float32), np.asarray(zero_point, np.uint8))


def weight_scale(
    weights: NDArray[np.float32],
    axis: int | None,
    bias: NDArray[np.float32] | None = None,
    input_scale: float = 1.0,
    bits: int = 8,
) -> Scale:
    """Return the scale of weights, for each channel along ``axis`` or, where None, for all.

    A channel with hardly any weights gets a scale with which its ``bias`` in
    steps of scale times ``input_scale`` still fits in 32 bits.
    """
    others = None if axis is None else tuple(i for i in range(weights.ndim) if i != axis)
    least, most = WEIGHT_RANGES[bits]
    below = -weights.min(axis=others, initial=0.0).astype(np.float64)
    above = weights.max(axis=others, initial=0.0).astype(np.float64)
    scale = np.maximum(below / -least, above / most)
    if bias is not None and bias.size:
        needed = np.abs(bias.astype(np.float64)) / (input_scale * _LARGEST_BIAS)
        scale = np.maximum(scale, needed if axis is not None else needed.max())
    scale = np.where(scale > _SMALLEST_SCALE, scale, 1.0)
    return Scale(scale.astype(np.float32), np.zeros(scale.shape, np.int8), axis)


def bias_scale(weights: Scale, input_scale: float) -> Scale:
    """Return the scale of a bias that is added to sums of inputs times weights."""
    scale = (weights.scale.astype(np.float64) * input_scale).astype(np.float32)
    return Scale(scale, np.zeros(scale.shape, np.int32), None if weights.axis is None else 0)


def quantize(values: NDArray[np.float32], scale: Scale) -> NDArray[Any]:
    """Return the nearest numbers in the zero point's type, clipped to what it holds."""
    shape = [1] * values.ndim
    if scale.axis is not None:
        shape[scale.axis] = -1
    steps = values.astype(np.float64) / scale.scale.astype(np.float64).reshape(shape)
    numbers = np.rint(steps) + scale.zero_point.astype(np.float64).reshape(shape)
    kind = scale.zero_point.dtype
    limits = np.iinfo(kind)
    lowest = -_LARGEST_SIGNED if kind == np.int8 else limits.min
    return np.clip(numbers, lowest, limits.max).astype(kind)


def quantize_weights(weights: NDArray[np.float32], scale: Scale, bits: int = 8) -> NDArray[np.int8]:
    """Return the numbers of weights so that each channel's rounding errors sum to nearly nothing.

    Inputs that are mostly positive would carry such a sum into the result as a
    shift, layer after layer. As many numbers as it takes are rounded to their
    other side, those first that lie closest to the middle (after Guo et al.,
    SQuant: On-the-Fly Data-Free Quantization, 2022; of its three levels the one of
    channels). Without channels, each number is the nearest.
    """
    least, most = WEIGHT_RANGES[bits]
    if scale.axis is None:
        return np.clip(quantize(weights, scale), least, most)
    rows = np.moveaxis(weights, scale.axis, 0).reshape(weights.shape[scale.axis], -1)
    exact = rows.astype(np.float64) / scale.scale.astype(np.float64)[:, None]
    numbers = np.rint(exact)
    errors = numbers - exact
    surplus = np.rint(errors.sum(axis=1)).astype(np.int64)
    for row in np.flatnonzero(surplus):
        direction = np.sign(surplus[row])
        order = np.argsort(-direction * errors[row], kind="stable")
        numbers[row, order[: abs(surplus[row])]] -= direction
    numbers = np.clip(numbers, least, most).astype(np.int8)
    shape = np.moveaxis(weights, scale.axis, 0).shape
    return np.ascontiguousarray(np.moveaxis(numbers.reshape(shape), 0, scale.axis))


def dequantize(numbers: NDArray[Any], scale: Scale) -> NDArray[np.float32]:
    """Return what the numbers stand for, for scales without a zero point."""
    shape = [1] * numbers.ndim
    if scale.axis is not None:
        shape[scale.axis] = -1
    return np.asarray(numbers * scale.scale.reshape(shape), np.float32)


def _sound(scale: float) -> float:
    return scale if scale > _SMALLEST_SCALE else 1.0
