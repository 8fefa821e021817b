"""What the speech stages need of an opened model; every ``Backend`` has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray


class TensorDescription(Protocol):
    """A tensor's name, and its shape with None for an axis of any length."""

    @property
    def name(self) -> str:
        """Name by which the tensor is passed."""

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Length of every axis."""


class ModelRunner(Protocol):
    """An opened model that runs on arrays by tensor name."""

    @property
    def inputs(self) -> Sequence[TensorDescription]:
        """What ``infer`` takes."""

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the model once."""
