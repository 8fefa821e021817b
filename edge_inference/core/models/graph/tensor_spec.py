"""The name, type and shape of a graph's input or output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class TensorSpec:
    """A model's input or output; ``None`` in ``shape`` stands for an axis of any length.

    An output with an empty shape may be of any shape: ONNX Runtime describes an output whose shape
    the graph does not tell like a scalar.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...]

    @property
    def axes(self) -> str:
        """The shape as text, such as ``[1, any, 4]``."""
        return f"[{', '.join('any' if length is None else str(length) for length in self.shape)}]"

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype} {self.axes}"
