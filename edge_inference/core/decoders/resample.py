"""Maps of the model's view laid back onto the source image."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.decoders.registry import DecodeContext

Scalar = TypeVar("Scalar", bound=np.generic)


def nearest_to_source(
    values: NDArray[Scalar], context: DecodeContext, outside: Any
) -> NDArray[Scalar]:
    """Give every source pixel the value of the ``(h, w)`` cell that its centre falls in.

    ``values`` covers the whole model input; padding is left out, and source
    pixels that a crop cut off get ``outside``.
    """
    rows, columns, result = _frame(values, context, outside)
    inside = _inside(rows, values.shape[0]), _inside(columns, values.shape[1])
    # Columns first: the small map grows sideways, then whole rows are copied.
    wide = values.take(columns[inside[1]].astype(np.intp), axis=1)
    result[inside] = wide.take(rows[inside[0]].astype(np.intp), axis=0)
    return result


def linear_to_source(
    values: NDArray[np.float32], context: DecodeContext, outside: float
) -> NDArray[np.float32]:
    """Like :func:`nearest_to_source`, with linear interpolation between cell centres."""
    rows, columns, result = _frame(values, context, outside)
    inside = _inside(rows, values.shape[0]), _inside(columns, values.shape[1])
    wide = _blend(values, columns[inside[1]], axis=1)
    result[inside] = _blend(wide, rows[inside[0]], axis=0)
    return result


def _frame(
    values: NDArray[Scalar], context: DecodeContext, outside: Any
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[Scalar]]:
    """Return where source rows and columns lie in ``values``, and an image of ``outside``."""
    to = context.geometry
    across = (np.arange(to.source_width, dtype=np.float64) + 0.5) * to.scale_x + to.offset_x
    down = (np.arange(to.source_height, dtype=np.float64) + 0.5) * to.scale_y + to.offset_y
    columns = across * (values.shape[1] / context.input_width)
    rows = down * (values.shape[0] / context.input_height)
    return rows, columns, np.full((to.source_height, to.source_width), outside, values.dtype)


def _inside(places: NDArray[np.float64], length: int) -> slice:
    """Return the run of places from 0 to below ``length``; they rise, so it is one run."""
    first, last = np.searchsorted(places, [0, length])
    return slice(int(first), int(last))


def _blend(
    values: NDArray[np.float32], places: NDArray[np.float64], axis: int
) -> NDArray[np.float32]:
    between = np.clip(places - 0.5, 0, values.shape[axis] - 1)
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
