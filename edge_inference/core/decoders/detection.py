"""Shared by all decoders of objects: settings, and the selection of candidates for the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.decoders.checks import expect_finite
from edge_inference.core.decoders.nms import Overlaps, non_maximum_suppression, upright_overlaps
from edge_inference.core.decoders.registry import DecodeContext
from edge_inference.core.results import Detections
from edge_inference.core.results.result import is_class_number
from edge_inference.core.settings import setting, shorten, suggestion
from edge_inference.errors import ConfigError, TensorError


@dataclass(frozen=True)
class SelectionSettings:
    """Which objects are reported."""

    confidence: float = setting(0.4, "minimum score reported", minimum=0.0, maximum=1.0)
    max_detections: int = setting(
        100,
        "maximum number of objects reported for one image, best first",
        minimum=1,
        maximum=3000,
    )
    classes: tuple[str, ...] = setting(
        (), "labels to report, or class numbers of a model without labels; empty: all"
    )


@dataclass(frozen=True)
class OverlapSettings(SelectionSettings):
    """Which objects are reported, for models that detect one object several times."""

    iou: float = setting(
        0.5,
        "intersection over union above which the box with the lower score is dropped",
        minimum=0.0,
        maximum=1.0,
    )
    class_agnostic: bool = setting(False, "also drop overlapping boxes of different classes")


@dataclass(frozen=True, eq=False)
class Candidates:
    """Boxes above the confidence, and what stands beside each: a mask, keypoints, an angle.

    ``boxes`` is ``(N, 4)`` x1, y1, x2, y2 in pixels of the model's input, ``scores`` and
    ``class_ids`` are ``(N,)``; ``source`` is the name of the tensor with the boxes. ``beside``
    are further arrays by name, whose first axis is that of the boxes.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.integer[Any]]
    source: str
    beside: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        arrays = {"scores": self.scores, "class_ids": self.class_ids, **self.beside}
        for name, array in arrays.items():
            if array.shape[:1] != self.boxes.shape[:1]:
                raise TensorError(
                    f"output {self.source!r}: expected {name} for {len(self.boxes)} boxes, got "
                    f"shape {list(array.shape)}; correct the outputs in model.yaml"
                )

    def select(self, indices: NDArray[np.intp]) -> Candidates:
        """Return the candidates at ``indices``, in that order."""
        return Candidates(
            self.boxes[indices],
            self.scores[indices],
            self.class_ids[indices],
            self.source,
            {name: array[indices] for name, array in self.beside.items()},
        )


def select_non_overlapping(
    candidates: Candidates,
    context: DecodeContext,
    settings: OverlapSettings,
    *,
    shapes: str | None = None,
    overlaps: Overlaps = upright_overlaps,
) -> Candidates:
    """Return what non-maximum suppression keeps, best score first, with all that is beside it.

    Classes that are not selected, and boxes without area or outside the image, are dropped first.
    Where the boxes only surround the objects, ``overlaps`` compares the array ``shapes`` that
    stands beside them, such as rotated boxes ``(N, 5)``.
    """
    visible = _filter_candidates(candidates, context, settings)
    kept = non_maximum_suppression(
        visible.boxes if shapes is None else visible.beside[shapes],
        visible.scores,
        visible.class_ids,
        settings.iou,
        class_agnostic=settings.class_agnostic,
        limit=settings.max_detections,
        overlaps=overlaps,
    )
    return visible.select(kept)


def select_best(
    candidates: Candidates, context: DecodeContext, settings: SelectionSettings
) -> Candidates:
    """Like :func:`select_non_overlapping`, for a model that finds each object only once."""
    visible = _filter_candidates(candidates, context, settings)
    order = np.argsort(-visible.scores, kind="stable")[: settings.max_detections]
    return visible.select(order)


def to_detections(candidates: Candidates, context: DecodeContext) -> Detections:
    """Return the selected candidates as a result, with boxes in source pixels."""
    return Detections(
        boxes=context.geometry.boxes_to_source(candidates.boxes),
        scores=np.asarray(candidates.scores, dtype=np.float32),
        class_ids=candidates.class_ids.astype(np.int32),
        labels=context.labels,
        source_width=context.geometry.source_width,
        source_height=context.geometry.source_height,
        model=context.model,
    )


def best_classes(
    scores: NDArray[np.float32], confidence: float
) -> tuple[NDArray[np.intp], NDArray[np.float32], NDArray[np.intp]]:
    """Return indices, best score and class of the rows whose best score is at least that.

    ``scores`` is ``(N, C)`` with at least one class.
    """
    best = scores.max(axis=1)
    indices = np.flatnonzero(best >= confidence)
    return indices, best[indices], scores[indices].argmax(axis=1)


def class_numbers(classes: Sequence[str], labels: Sequence[str]) -> NDArray[np.int64]:
    """Return the numbers of all classes whose label is in ``classes``.

    Without labels, ``classes`` are the numbers themselves. Raises ConfigError for a class that is
    not a label, or not a number.
    """
    for name in classes:
        if labels and name not in labels:
            raise ConfigError(
                f"classes: {shorten(name)} is not a label of this model{suggestion(name, labels)}"
            )
        if not labels and not is_class_number(name):
            raise ConfigError(
                f"classes: expected class numbers such as 17, since this model has no labels, got "
                f"{shorten(name)}"
            )
    if not labels:
        return np.array([int(name) for name in classes], dtype=np.int64)
    return np.flatnonzero([label in classes for label in labels])


def check_classes(settings: object, labels: Sequence[str]) -> None:
    """Raise ConfigError where a decoder's settings select a class that is not a label."""
    if isinstance(settings, SelectionSettings):
        class_numbers(settings.classes, labels)


def _filter_candidates(
    candidates: Candidates, context: DecodeContext, settings: SelectionSettings
) -> Candidates:
    """Drop classes that are not selected, and boxes without area or outside the image."""
    if settings.classes:
        numbers = class_numbers(settings.classes, context.labels)
        candidates = candidates.select(np.flatnonzero(np.isin(candidates.class_ids, numbers)))
    expect_finite(candidates.source, candidates.boxes)
    clipped = context.geometry.boxes_to_source(candidates.boxes)
    return candidates.select(np.flatnonzero((clipped[:, 2:] > clipped[:, :2]).all(axis=1)))
