"""Non-maximum suppression: of several boxes for one object, keep the best."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

PRE_LIMIT = 3000
"""Maximum number of boxes to compare: those with the best scores, others are dropped."""

_BLOCK = 64

#: Tells for each pair of boxes ``(S, K)`` and ``(O, K)`` whether their intersection over union is
#: above a limit, as ``(S, O)``.
Overlaps = Callable[[NDArray[np.float64], NDArray[np.float64], float], NDArray[np.bool_]]


def upright_overlaps(
    some: NDArray[np.float64], others: NDArray[np.float64], iou: float
) -> NDArray[np.bool_]:
    """Return (S, O): for each pair, whether its intersection over union is above ``iou``."""
    sides = np.minimum(some[:, None, 2], others[None, :, 2])
    sides -= np.maximum(some[:, None, 0], others[None, :, 0])
    shared = np.maximum(sides, 0)
    sides = np.minimum(some[:, None, 3], others[None, :, 3])
    sides -= np.maximum(some[:, None, 1], others[None, :, 1])
    shared *= np.maximum(sides, 0)
    union = _areas(some)[:, None] + _areas(others)[None, :] - shared
    # A product instead of a quotient, because the union of two empty boxes is zero.
    return np.asarray(shared > iou * union)


def non_maximum_suppression(
    boxes: NDArray[np.floating[Any]],
    scores: NDArray[np.floating[Any]],
    class_ids: NDArray[np.integer[Any]],
    iou: float,
    *,
    class_agnostic: bool = False,
    limit: int | None = None,
    pre_limit: int = PRE_LIMIT,
    overlaps: Overlaps = upright_overlaps,
) -> NDArray[np.intp]:
    """Return the indices of the boxes to keep, best score first.

    ``boxes`` is ``(N, 4)`` x1, y1, x2, y2, or of another form ``(N, K)`` that ``overlaps``
    compares, such as rotated boxes; ``scores`` and ``class_ids`` are ``(N,)``. The suppression is
    greedy: in order of score, a box is kept unless its intersection over union with a kept box
    of its class (of any class, with ``class_agnostic``) is above ``iou``. Of equal scores the
    lower index comes first, so that the result is deterministic. At most ``pre_limit`` boxes are
    compared and at most ``limit`` are returned.

    Boxes are compared in blocks, each block with all remaining boxes. This gives exactly
    the greedy result with operations on large arrays.
    """
    order = np.argsort(-scores, kind="stable")[:pre_limit]
    kept: list[NDArray[np.intp]] = []
    count = 0
    # float64 holds the products of float32 coordinates without rounding.
    rest = np.asarray(boxes[order], dtype=np.float64)
    classes = class_ids[order]
    while len(order) and (limit is None or count < limit):
        overlap = overlaps(rest[:_BLOCK], rest, iou)
        if not class_agnostic:
            overlap &= classes[:_BLOCK, None] == classes[None, :]
        best = _greedy(overlap[:, :_BLOCK])
        kept.append(order[:_BLOCK][best])
        count += len(best)
        free = ~overlap[best, _BLOCK:].any(axis=0)
        order, rest, classes = order[_BLOCK:][free], rest[_BLOCK:][free], classes[_BLOCK:][free]
    return np.concatenate(kept)[:limit] if kept else np.empty(0, dtype=np.intp)


def _areas(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return np.asarray(sides[:, 0] * sides[:, 1])


def _greedy(overlap: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the rows to keep, given which row suppresses which, best first."""
    later = np.triu(overlap, 1)
    alive = np.ones(len(overlap), dtype=np.bool_)
    for row in np.flatnonzero(later.any(axis=1)):
        if alive[row]:
            alive &= ~later[row]
    return np.flatnonzero(alive)
