"""Named arrays between preprocessing, inference and decoding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from edge_inference.core.geometry import Geometry


@dataclass(frozen=True, eq=False)
class TensorBatch:
    """A model's inputs or raw outputs for one or more pictures.

    ``tensors`` maps a tensor name to its array, batch axis first.
    ``geometry`` has one entry a picture of the batch, so that results can be
    given in source pixels whatever was done to fit the picture in.
    ``model`` names the model folder the tensors belong to.
    """

    tensors: Mapping[str, NDArray[Any]]
    geometry: tuple[Geometry, ...]
    model: str
    stamp_ns: int = 0
    frame_id: str = ""
