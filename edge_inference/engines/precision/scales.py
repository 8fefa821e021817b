"""Scales and quantized numbers from ranges and weights: real = (number - zero point) * scale.

Weights have the zero point 0: -127 to 127 in 8 bits, -64 to 63 in 7 bits. Activations are
unsigned with a zero point (0 to 255), or signed and symmetric.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.engines.precision.int8_mode import FULL_BITS, REDUCED_BITS
from edge_inference.engines.precision.ranges import Range

_MAX_SIGNED = 127
_MAX_UNSIGNED = 255
#: Smallest and largest number of a weight, by its bits. Two products of 7-bit weights with
#: unsigned bytes fit in 16 bits together (2 * 255 * 64 = 32640), those of 8-bit weights do not.
WEIGHT_RANGES: Mapping[int, tuple[int, int]] = {REDUCED_BITS: (-64, 63), FULL_BITS: (-127, 127)}
#: Limits a bias to 32 bits.
_MAX_BIAS = 2.0**30
#: Keeps the product of two scales above zero; a smaller scale counts as zero.
_MIN_SCALE = 1e-18
#: ONNX Runtime's QLinearGlobalAveragePool refuses an input with 256 times the scale of the
#: result and more, for each pixel.
_MAX_AVERAGE_RATIO = 128


@dataclass(frozen=True)
class Scale:
    """Scale and zero point: scalars, or one for each channel along ``axis``."""

    scale: NDArray[np.float32]
    zero_point: NDArray[Any]
    axis: int | None = None


def activation_scale(span: Range, *, signed: bool) -> Scale:
    """Return the scale for a range that includes 0."""
    low, high = span
    if signed:
        scale = _nonzero(max(-low, high) / _MAX_SIGNED)
        return Scale(np.asarray(scale, np.float32), np.zeros((), np.int8))
    scale = _nonzero((high - low) / _MAX_UNSIGNED)
    zero_point = np.clip(np.round(-low / scale), 0, _MAX_UNSIGNED)
    return Scale(np.asarray(scale, np.float32), np.asarray(zero_point, np.uint8))


def average_scale(span: Range, source: Scale) -> Scale:
    """Return the scale for a range of averages of a whole image with the scale ``source``.

    It is at least 1 / 128 of that scale, also where the values of each image cancel out.
    """
    kind = source.zero_point.dtype
    signed = kind == np.int8
    step = float(source.scale)
    if step <= _MAX_AVERAGE_RATIO * _MIN_SCALE:
        return source
    scale = activation_scale(span, signed=signed)
    if step / _MAX_AVERAGE_RATIO <= float(scale.scale) <= step:
        return scale
    limits = np.iinfo(kind)
    zero, least = int(source.zero_point), step / _MAX_AVERAGE_RATIO
    low, high = (limits.min - zero) * least, (limits.max - zero) * least
    return activation_scale((min(span[0], low), max(span[1], high)), signed=signed)


def weight_scale(
    weights: NDArray[np.float32],
    axis: int | None,
    bias: NDArray[np.float32] | None = None,
    input_scale: float = 1.0,
    bits: int = 8,
) -> Scale:
    """Return the scale of weights, for each channel along ``axis``, or one for all if None.

    The scale is large enough that the ``bias``, in steps of scale times ``input_scale``, fits
    in 32 bits, also in a channel with tiny weights.
    """
    others = None if axis is None else tuple(i for i in range(weights.ndim) if i != axis)
    least, most = WEIGHT_RANGES[bits]
    below = -weights.min(axis=others, initial=0.0).astype(np.float64)
    above = weights.max(axis=others, initial=0.0).astype(np.float64)
    scale = np.maximum(below / -least, above / most)
    if bias is not None and bias.size:
        needed = np.abs(bias.astype(np.float64)) / (input_scale * _MAX_BIAS)
        scale = np.maximum(scale, needed if axis is not None else needed.max())
    scale = np.where(scale > _MIN_SCALE, scale, 1.0)
    return Scale(scale.astype(np.float32), np.zeros(scale.shape, np.int8), axis)


def bias_scale(weights: Scale, input_scale: float) -> Scale:
    """Return the scale of a bias, the product of the scales of weights and input."""
    scale = (weights.scale.astype(np.float64) * input_scale).astype(np.float32)
    return Scale(scale, np.zeros(scale.shape, np.int32), None if weights.axis is None else 0)


def quantize(values: NDArray[np.float32], scale: Scale) -> NDArray[Any]:
    """Return the nearest numbers in the zero point's type, clipped to its limits."""
    shape = [1] * values.ndim
    if scale.axis is not None:
        shape[scale.axis] = -1
    steps = values.astype(np.float64) / scale.scale.astype(np.float64).reshape(shape)
    numbers = np.rint(steps) + scale.zero_point.astype(np.float64).reshape(shape)
    kind = scale.zero_point.dtype
    limits = np.iinfo(kind)
    lowest = -_MAX_SIGNED if kind == np.int8 else limits.min
    return np.clip(numbers, lowest, limits.max).astype(kind)


def quantize_weights(weights: NDArray[np.float32], scale: Scale, bits: int = 8) -> NDArray[np.int8]:
    """Return the numbers of weights with a sum of rounding errors near zero in each channel.

    With mostly positive inputs, such a sum would shift the result, layer after layer. The
    weights closest to the middle between two numbers are rounded the other way until the sum
    is near zero (the channel level of Guo et al., SQuant: On-the-Fly Data-Free Quantization,
    2022). Without channels each weight is rounded to the nearest number.
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
    """Return the real values of numbers, for scales without a zero point."""
    shape = [1] * numbers.ndim
    if scale.axis is not None:
        shape[scale.axis] = -1
    return np.asarray(numbers * scale.scale.reshape(shape), np.float32)


def in_fp16(scale: Scale) -> Scale:
    """Return a scale with the nearest numbers of fp16 above 0, so that fp16 loses nothing."""
    with np.errstate(over="ignore"):
        rounded = scale.scale.astype(np.float16)
    limits = np.finfo(np.float16)
    rounded = np.clip(rounded, limits.smallest_subnormal, limits.max)
    return Scale(rounded.astype(np.float32), scale.zero_point, scale.axis)


def _nonzero(scale: float) -> float:
    return scale if scale > _MIN_SCALE else 1.0
