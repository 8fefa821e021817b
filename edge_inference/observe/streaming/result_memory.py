"""How much memory the results of a recording take: the mask of every frame is large."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from edge_inference.core.results import Result

#: What a result takes beside its arrays.
_OBJECT_BYTES = 1000


class ResultMemory:
    """Counts the bytes of the results that are kept of one recording, up to ``MAX_BYTES``."""

    #: A mask for 1920 x 1080 pixels takes 2 MiB.
    MAX_BYTES = 1 << 30

    def __init__(self) -> None:
        self._bytes = 0
        self._count = 0

    def find_problem(self, result: Result) -> str:
        """Count one more result; return why it must not be kept, or an empty text."""
        size = _OBJECT_BYTES + sum(
            _array_bytes(getattr(result, each.name)) for each in fields(result)
        )
        if self._bytes + size > self.MAX_BYTES:
            return (
                f"{self._count} results take {self._bytes >> 20} MiB, and another one exceeds the "
                f"limit of {self.MAX_BYTES >> 20} MiB; use a part of the recording, or smaller "
                "images"
            )
        self._bytes += size
        self._count += 1
        return ""


def _array_bytes(value: Any) -> int:
    if isinstance(value, tuple | list):
        return sum(each.nbytes for each in value if isinstance(each, np.ndarray))
    return value.nbytes if isinstance(value, np.ndarray) else 0
