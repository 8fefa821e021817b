"""Arrays that are handed out again once nobody holds them any longer."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


class BufferPool:
    """Reused arrays of one shape and dtype, for data that is passed on by reference.

    A fresh large array costs page faults on every frame, and an array that is
    overwritten while a later stage still reads it is corrupt. So :meth:`take`
    hands out a view, and CPython's reference count of the memory behind it tells
    when the view, everything sliced from it and every buffer export
    (``memoryview``, DLPack) is gone. A raw address kept beyond the array's life
    is not seen, here as with any array.

    At most ``limit`` arrays are kept. With all of them held, ``take`` gives a
    fresh array that is freed as usual, so a slow consumer costs speed and never
    correctness. Several threads may call ``take``; consumers let go on any thread.
    """

    def __init__(self, shape: Sequence[int], dtype: DTypeLike, limit: int = 8) -> None:
        """Nothing is allocated before the first ``take``; ``limit`` may be 0."""
        self.shape = tuple(shape)
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.limit = limit
        self._arrays: list[NDArray[Any]] = []
        self._lock = threading.Lock()
        # Measured rather than written down: the count of an idle array depends on
        # how the interpreter passes arguments.
        self._idle_count = _references([np.empty(0)], 0)

    def take(self) -> NDArray[Any]:
        """Return a writeable array that nobody else holds; its values are undefined."""
        with self._lock:
            view: NDArray[Any] = self._idle().view()
            return view

    def _idle(self) -> NDArray[Any]:
        for index in range(len(self._arrays)):
            if _references(self._arrays, index) == self._idle_count:
                return self._arrays[index]
        array = np.empty(self.shape, self.dtype)
        if len(self._arrays) < self.limit:
            self._arrays.append(array)
        return array

    def __len__(self) -> int:
        """Count the arrays that the pool keeps, held or not."""
        return len(self._arrays)


def _references(arrays: Sequence[NDArray[Any]], index: int) -> int:
    return sys.getrefcount(arrays[index])
