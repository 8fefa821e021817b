"""How much of two results of one image agrees: of the same model in two engines or precisions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.results.result import AnyResult
from edge_inference.errors import TensorError

#: Minimum overlap of two objects that match: intersection over union, or what a kind has for it.
MATCH_IOU = 0.5


@dataclass(frozen=True)
class ResultAgreement:
    """How many of the ``compared`` images, boxes or pixels agree, by the kind of result."""

    agreeing: int
    compared: int

    @property
    def share(self) -> float:
        """Return the share that agrees, 0..1; 1 if nothing was compared."""
        return self.agreeing / self.compared if self.compared else 1.0

    def __add__(self, other: ResultAgreement) -> ResultAgreement:
        return ResultAgreement(self.agreeing + other.agreeing, self.compared + other.compared)


@dataclass(frozen=True)
class Leniency(Generic[AnyResult]):
    """What keeps a rounding error at a threshold from counting as a difference.

    Scores that differ by at most ``margin`` are equal. ``reference`` and ``candidate`` are the two
    results again, decoded with a confidence lower by ``margin`` if the decoder has one: an object
    whose score is just above the threshold on one side and just below it on the other is in both.
    """

    margin: float
    reference: AnyResult
    candidate: AnyResult


def expect_same_shape(name: str, reference: NDArray[Any], candidate: NDArray[Any]) -> None:
    """Raise TensorError for arrays of different shapes; ``name`` says of what."""
    if reference.shape != candidate.shape:
        raise TensorError(
            f"{name}: expected shape {list(reference.shape)} as in the reference, "
            f"got {list(candidate.shape)}; was the candidate derived from this model?"
        )


def count_agreeing(agrees: NDArray[np.bool_], is_known: NDArray[np.bool_]) -> ResultAgreement:
    """Count the known pixels, and those of them that agree."""
    return ResultAgreement(
        int(np.count_nonzero(agrees & is_known)), int(np.count_nonzero(is_known))
    )
