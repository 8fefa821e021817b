"""From ranges and weights to 8-bit numbers: real = (number - zero point) * scale.

Weights are symmetric, so that their zero point is 0: -127 to 127. Activations
are unsigned with a zero point (0 to 255), or signed and symmetric.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.engines.flavours.ranges import Range

_LARGEST_SIGNED = 127
_LARGEST_UNSIGNED = 255
#: Keeps a bias inside 32 bits, and products of scales away from zero.
_LARGEST_BIAS = 2.0**30
_SMALLEST_SCALE = 1e-30


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
        scale = max(-low, high) / _LARGEST_SIGNED or 1.0
        return Scale(np.asarray(scale, np.float32), np.zeros((), np.int8))
    scale = (high - low) / _LARGEST_UNSIGNED or 1.0
    zero_point = np.clip(np.round(-low / scale), 0, _LARGEST_UNSIGNED)
    return Scale(np.asarray(scale, np.float32), np.asarray(zero_point, np.uint8))


def weight_scale(
    weights: NDArray[np.float32],
    axis: int | None,
    bias: NDArray[np.float32] | None = None,
    input_scale: float = 1.0,
) -> Scale:
    """Return the scale of weights, for each channel along ``axis`` or, where None, for all.

    A channel with hardly any weights gets a scale with which its ``bias`` in
    steps of scale times ``input_scale`` still fits in 32 bits.
    """
    others = None if axis is None else tuple(i for i in range(weights.ndim) if i != axis)
    largest = np.abs(weights).max(axis=others, initial=0.0).astype(np.float64)
    scale = largest / _LARGEST_SIGNED
    if bias is not None and bias.size:
        needed = np.abs(bias.astype(np.float64)) / (input_scale * _LARGEST_BIAS)
        scale = np.maximum(scale, needed if axis is not None else needed.max())
    scale = np.where(scale > _SMALLEST_SCALE, scale, 1.0)
    return Scale(scale.astype(np.float32), np.zeros(scale.shape, np.int8), axis)


def bias_scale(weights: Scale, input_scale: float) -> Scale:
    """Return the scale of a bias that is added to sums of inputs times weights."""
    scale = (weights.scale.astype(np.float64) * input_scale).astype(np.float32)
    return Scale(scale, np.zeros(scale.shape, np.int32), None if weights.axis is None else 0)


def quantise(values: NDArray[np.float32], scale: Scale) -> NDArray[Any]:
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
