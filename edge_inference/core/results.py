"""The results of the models as structs of arrays, always in source pixels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Detections:
    """Objects in one image, best score first.

    ``boxes`` is ``(N, 4)`` float32 x1, y1, x2, y2 in source pixels, ``scores``
    ``(N,)`` float32 in 0..1, ``class_ids`` ``(N,)`` int32. ``labels`` names
    every class of the model, so ``labels[class_ids[i]]`` is the i-th name.
    ``source_width`` and ``source_height`` are None where a message from outside lacks them.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int32]
    labels: tuple[str, ...]
    source_width: int | None
    source_height: int | None
    model: str = ""
    stamp_ns: int = 0
    frame_id: str = ""

    def __len__(self) -> int:
        return len(self.scores)

    def label(self, index: int) -> str:
        """Return the class name of one detection."""
        return label_of(self.labels, int(self.class_ids[index]))


@dataclass(frozen=True, eq=False)
class Classification:
    """The most likely classes of one image, best first; scores are probabilities."""

    class_ids: NDArray[np.int32]
    scores: NDArray[np.float32]
    labels: tuple[str, ...]
    model: str = ""
    stamp_ns: int = 0
    frame_id: str = ""

    def __len__(self) -> int:
        return len(self.scores)

    def label(self, index: int) -> str:
        """Return the class name of one entry."""
        return label_of(self.labels, int(self.class_ids[index]))


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The class of every pixel: ``mask`` is ``(source_height, source_width)`` uint8 or uint16.

    ``score`` is the mean probability of the winning class over all pixels.
    Pixels outside a model's centre crop hold ``unknown_id``.
    """

    mask: NDArray[np.unsignedinteger[Any]]
    labels: tuple[str, ...]
    score: float
    model: str = ""
    stamp_ns: int = 0
    frame_id: str = ""
    unknown_id: int = field(default=255)


@dataclass(frozen=True, eq=False)
class DepthMap:
    """A depth for every pixel: ``depth`` is ``(source_height, source_width)`` float32.

    Pixels outside a model's centre crop are NaN. ``unit`` is "m" for metric models, "relative"
    for depth up to an unknown scale, "inverse" where larger values are nearer.
    """

    depth: NDArray[np.float32]
    unit: str
    model: str = ""
    stamp_ns: int = 0
    frame_id: str = ""


Result = Detections | Classification | Segmentation | DepthMap


def label_of(labels: tuple[str, ...], class_id: int) -> str:
    """Return the name of a class, or its number where the model has no name for it."""
    return labels[class_id] if 0 <= class_id < len(labels) else str(class_id)
