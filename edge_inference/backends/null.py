"""The smallest complete backend, without a model: for tests, and to measure everything else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.backends.base import Backend, TensorSpec

Function = Callable[[Mapping[str, NDArray[Any]]], dict[str, NDArray[Any]]]


class NullBackend(Backend):
    """Accepts ``inputs`` and returns zeros of the shapes of ``outputs``, or ``function(inputs)``.

    An output axis of any length has length 1 in the zeros.
    """

    name = "null"

    def __init__(
        self,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        function: Function | None = None,
    ) -> None:
        super().__init__()
        self._specs = tuple(inputs), tuple(outputs)
        self._function = function

    def describe(self) -> str:
        """Tell whether the outputs are zeros or come from a function."""
        return "null: zeros, no model" if self._function is None else "null: a Python function"

    def _open(self) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec]]:
        return self._specs

    def _infer(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        if self._function is not None:
            return self._function(inputs)
        return {spec.name: np.zeros(_lengths(spec), spec.dtype) for spec in self._specs[1]}

    def _close(self) -> None:
        pass


def _lengths(spec: TensorSpec) -> tuple[int, ...]:
    return tuple(1 if length is None else length for length in spec.shape)
