"""Resamples maps from the model's input to the source image."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.decoders.registry import DecodeContext

Scalar = TypeVar("Scalar", bound=np.generic)


def nearest_to_source(
    values: NDArray[Scalar], context: DecodeContext, outside: Any
) -> NDArray[Scalar]:
    """Return for every source pixel the value of the ``(h, w)`` cell that contains its centre.

    ``values`` covers the whole model input. Padding is left out; source
    pixels outside a crop get ``outside``.
    """
    rows, columns, result = _map_to_source(values, context, outside)
    inside = _range_inside(rows, values.shape[0]), _range_inside(columns, values.shape[1])
    # Columns first, on the small map; then whole rows are copied.
    wide = values.take(columns[inside[1]].astype(np.intp), axis=1)
    result[inside] = wide.take(rows[inside[0]].astype(np.intp), axis=0)
    return result


def linear_to_source(
    values: NDArray[np.float32], context: DecodeContext, outside: float
) -> NDArray[np.float32]:
    """Like :func:`nearest_to_source`, with linear interpolation between cell centres."""
    rows, columns, result = _map_to_source(values, context, outside)
    inside = _range_inside(rows, values.shape[0]), _range_inside(columns, values.shape[1])
    wide = _interpolate(values, columns[inside[1]], axis=1)
    result[inside] = _interpolate(wide, rows[inside[0]], axis=0)
    return result


def _map_to_source(
    values: NDArray[Scalar], context: DecodeContext, outside: Any
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[Scalar]]:
    """Return the positions of source rows and columns in ``values``, and an ``outside`` image."""
    to = context.geometry
    across = (np.arange(to.source_width, dtype=np.float64) + 0.5) * to.scale_x + to.offset_x
    down = (np.arange(to.source_height, dtype=np.float64) + 0.5) * to.scale_y + to.offset_y
    columns = across * (values.shape[1] / context.input_width)
    rows = down * (values.shape[0] / context.input_height)
    return rows, columns, np.full((to.source_height, to.source_width), outside, values.dtype)


def _range_inside(positions: NDArray[np.float64], length: int) -> slice:
    """Return the slice of the positions, in ascending order, from 0 to below ``length``."""
    first, last = np.searchsorted(positions, [0, length])
    return slice(int(first), int(last))


def _interpolate(
    values: NDArray[np.float32], positions: NDArray[np.float64], axis: int
) -> NDArray[np.float32]:
    between = np.clip(positions - 0.5, 0, values.shape[axis] - 1)
    low = between.astype(np.intp)
    high = np.minimum(low + 1, values.shape[axis] - 1)
    weight = (between - low).astype(np.float32)
    if axis == 0:
        weight = weight[:, None]
    start = values.take(low, axis=axis)
    difference: NDArray[np.float32] = values.take(high, axis=axis)
    difference -= start
    difference *= weight
    difference += start
    return difference
