"""The cells at which anchor-free detectors predict."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Grid(NamedTuple):
    """``cells`` is ``(N, 2)`` column, row; ``strides`` is ``(N, 1)`` pixels a cell."""

    cells: NDArray[np.float32]
    strides: NDArray[np.float32]


@lru_cache(maxsize=32)
def grid(width: int, height: int, strides: tuple[int, ...]) -> Grid:
    """Return the cells of all strides, in the given order and each row by row, read-only."""
    cells = []
    sizes = []
    for stride in strides:
        rows, columns = np.indices((-(-height // stride), -(-width // stride)), dtype=np.float32)
        cells.append(np.stack([columns.ravel(), rows.ravel()], axis=1))
        sizes.append(np.full((rows.size, 1), stride, dtype=np.float32))
    result = Grid(np.concatenate(cells), np.concatenate(sizes))
    for array in result:
        array.flags.writeable = False
    return result
