"""What all object detectors share: their settings and the way from candidates to a result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.decoders.checks import expect_finite
from edge_inference.core.decoders.nms import suppress
from edge_inference.core.decoders.registry import DecodeContext
from edge_inference.core.results import Detections
from edge_inference.core.settings import setting, shorten, suggestion
from edge_inference.errors import ConfigError


@dataclass(frozen=True)
class SelectionSettings:
    """Which objects are reported."""

    confidence: float = setting(0.4, "lowest score reported", minimum=0.0, maximum=1.0)
    max_detections: int = setting(
        100, "most objects reported for one image, best first", minimum=1, maximum=3000
    )
    classes: tuple[str, ...] = setting((), "labels to report; empty reports all")


@dataclass(frozen=True)
class OverlapSettings(SelectionSettings):
    """Which objects are reported, for models that find one object several times."""

    iou: float = setting(
        0.5,
        "overlap (intersection over union) above which the weaker of two boxes is dropped",
        minimum=0.0,
        maximum=1.0,
    )
    class_agnostic: bool = setting(False, "drop overlapping boxes of different classes too")


@dataclass(frozen=True, eq=False)
class Candidates:
    """Boxes above the confidence, before suppression.

    ``boxes`` is ``(N, 4)`` x1, y1, x2, y2 in pixels of the model's input,
    ``scores`` and ``class_ids`` are ``(N,)``; ``source`` names the tensor that
    the boxes come from.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.integer[Any]]
    source: str

    def at(self, places: NDArray[np.intp]) -> Candidates:
        """Return some of the candidates, in the order of ``places``."""
        return Candidates(
            self.boxes[places], self.scores[places], self.class_ids[places], self.source
        )


def suppressed(
    candidates: Candidates, context: DecodeContext, settings: OverlapSettings
) -> Detections:
    """Report candidates after non-maximum suppression."""
    visible = _visible(candidates, context, settings)
    kept = suppress(
        visible.boxes,
        visible.scores,
        visible.class_ids,
        settings.iou,
        class_agnostic=settings.class_agnostic,
        limit=settings.max_detections,
    )
    return _detections(visible.at(kept), context)


def ranked(
    candidates: Candidates, context: DecodeContext, settings: SelectionSettings
) -> Detections:
    """Report candidates of a model that finds each object once."""
    visible = _visible(candidates, context, settings)
    order = np.argsort(-visible.scores, kind="stable")[: settings.max_detections]
    return _detections(visible.at(order), context)


def class_choice(classes: Sequence[str], labels: Sequence[str]) -> NDArray[np.bool_]:
    """Return ``(len(labels),)`` true for each label in ``classes``.

    Raises ConfigError for a class that is no label.
    """
    for name in classes:
        if name not in labels:
            raise ConfigError(
                f"classes: {shorten(name)} is no label of this model{suggestion(name, labels)}"
            )
    return np.array([label in classes for label in labels], dtype=np.bool_)


def check_classes(settings: object, labels: Sequence[str]) -> None:
    """Raise ConfigError where a decoder's settings choose a class that is no label."""
    if isinstance(settings, SelectionSettings):
        class_choice(settings.classes, labels)


def corners(centres: NDArray[np.float32], sizes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn ``(N, 2)`` centres and sizes into ``(N, 4)`` x1, y1, x2, y2."""
    half = sizes * 0.5
    return np.concatenate([centres - half, centres + half], axis=1)


def input_size(context: DecodeContext) -> NDArray[np.float32]:
    """Return width, height of the model's input, to scale normalised x, y pairs with."""
    return np.array([context.input_width, context.input_height], dtype=np.float32)


def _visible(
    candidates: Candidates, context: DecodeContext, settings: SelectionSettings
) -> Candidates:
    """Drop unwanted classes and boxes without area or wholly outside the image."""
    if settings.classes:
        choice = class_choice(settings.classes, context.labels)
        candidates = candidates.at(np.flatnonzero(choice[candidates.class_ids]))
    expect_finite(candidates.source, candidates.boxes)
    clipped = context.geometry.boxes_to_source(candidates.boxes)
    return candidates.at(np.flatnonzero((clipped[:, 2:] > clipped[:, :2]).all(axis=1)))


def _detections(candidates: Candidates, context: DecodeContext) -> Detections:
    return Detections(
        boxes=context.geometry.boxes_to_source(candidates.boxes),
        scores=np.asarray(candidates.scores, dtype=np.float32),
        class_ids=candidates.class_ids.astype(np.int32),
        labels=context.labels,
        source_width=context.geometry.source_width,
        source_height=context.geometry.source_height,
        model=context.model,
    )
