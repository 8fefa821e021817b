"""Reuses arrays once no reference to them remains."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


class BufferPool:
    """A pool of arrays of one shape and dtype, for data that is passed by reference.

    A new large array causes page faults on every frame, and overwriting an array
    that a later stage still reads corrupts it. So :meth:`take` returns a view.
    CPython's reference count of the array behind it shows when the view, all its
    slices and all buffer exports (``memoryview``, DLPack) are gone. As with any array,
    a raw address that is kept longer is not counted.

    The pool keeps at most ``limit`` arrays. While all of them are in use, ``take`` returns a
    new array that is freed as usual, so a slow consumer reduces speed but never
    corrupts data. Several threads may call ``take``; any thread may release a view.
    """

    def __init__(self, shape: Sequence[int], dtype: DTypeLike, limit: int = 8) -> None:
        """Nothing is allocated before the first ``take``; ``limit`` may be 0."""
        self.shape = tuple(shape)
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.limit = limit
        self._arrays: list[NDArray[Any]] = []
        self._lock = threading.Lock()
        # Measured, not a constant: the reference count of an idle array depends on
        # how the interpreter passes arguments.
        self._idle_count = _reference_count([np.empty(0)], 0)

    def take(self) -> NDArray[Any]:
        """Return a writeable array without other references; its values are undefined."""
        with self._lock:
            view: NDArray[Any] = self._find_idle().view()
            return view

    def _find_idle(self) -> NDArray[Any]:
        for index in range(len(self._arrays)):
            if _reference_count(self._arrays, index) == self._idle_count:
                return self._arrays[index]
        array = np.empty(self.shape, self.dtype)
        if len(self._arrays) < self.limit:
            self._arrays.append(array)
        return array

    def __len__(self) -> int:
        """Return the number of arrays in the pool, in use or not."""
        return len(self._arrays)


def _reference_count(arrays: Sequence[NDArray[Any]], index: int) -> int:
    return sys.getrefcount(arrays[index])
