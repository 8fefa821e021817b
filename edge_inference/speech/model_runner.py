"""The interface of an opened model that the speech stages use; every ``Backend`` implements it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray


class TensorDescription(Protocol):
    """A tensor's name and shape; None for an axis of dynamic length."""

    @property
    def name(self) -> str:
        """The tensor's name."""

    @property
    def shape(self) -> tuple[int | None, ...]:
        """The length of every axis."""


class ModelRunner(Protocol):
    """An opened model that runs on arrays by tensor name."""

    @property
    def inputs(self) -> Sequence[TensorDescription]:
        """The inputs of ``infer``."""

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the model once."""
