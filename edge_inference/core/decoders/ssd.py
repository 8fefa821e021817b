"""SSD: boxes and class scores, or TensorFlow's postprocessed lists of boxes, classes and scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.decoders import checks
from edge_inference.core.decoders.activations import activate_once
from edge_inference.core.decoders.box_formats import to_corners, to_pixels
from edge_inference.core.decoders.detection import (
    Candidates,
    OverlapSettings,
    select_best,
    select_non_overlapping,
    to_detections,
)
from edge_inference.core.decoders.detection_lists import (
    DetectionListsSettings,
    choose_boxes,
    lists_of,
    read_lists,
)
from edge_inference.core.decoders.registry import DecodeContext, register
from edge_inference.core.results import Detections
from edge_inference.core.settings import setting, with_default


@dataclass(frozen=True)
class SsdSettings(DetectionListsSettings, OverlapSettings):
    """The layout of the outputs, and which objects are reported."""

    box_order: str = with_default(DetectionListsSettings, "box_order", "yxyx")
    normalized: bool = with_default(DetectionListsSettings, "normalized", True)
    background: bool = with_default(DetectionListsSettings, "background", True)
    activation: str = setting(
        "none",
        "activation that converts class scores [1, N, C] to probabilities; none: the model "
        "applies it itself",
        choices=("none", "softmax", "sigmoid"),
        read_only=True,
    )


@dataclass(frozen=True)
class Yolov4Settings(SsdSettings):
    """YOLOv4 with boxes [1, N, 1, 4] from 0 to 1 and scores [1, N, C]."""

    box_order: str = with_default(SsdSettings, "box_order", "xyxy")
    background: bool = with_default(SsdSettings, "background", False)


@dataclass(frozen=True)
class YoloNasSettings(SsdSettings):
    """YOLO-NAS with boxes [1, N, 4] in input pixels and scores [1, N, C]."""

    box_order: str = with_default(SsdSettings, "box_order", "xyxy")
    normalized: bool = with_default(SsdSettings, "normalized", False)
    background: bool = with_default(SsdSettings, "background", False)


@register("ssd", SsdSettings)
@register("yolov4", Yolov4Settings)
@register("yolo_nas", YoloNasSettings)
def decode(
    outputs: Mapping[str, NDArray[Any]], context: DecodeContext, settings: SsdSettings
) -> Detections:
    """Decode boxes ``[1, N, 4]`` with scores ``[1, N, C]``, or postprocessed lists.

    Postprocessed lists are scores ``[1, N]``, class numbers ``[1, N]`` and, if
    the model has it, their count ``[1]``. The model includes non-maximum suppression,
    so it is not repeated.
    """
    boxes = choose_boxes(outputs, settings.boxes_output)
    # Scores and classes: a model before its suppression has at most one list, of one class.
    if settings.classes_output or len(lists_of(outputs, len(boxes.array), (boxes.name,))) > 1:
        lists = read_lists(outputs, boxes, context, settings)
        return to_detections(select_best(lists, context, settings), context)
    length = len(boxes.array)
    scores = checks.choose_output(
        outputs,
        settings.scores_output,
        setting="scores_output",
        expected=f"scores [1, {length}, C], or scores and class numbers [1, {length}]",
        fits=lambda array: array.ndim == 3 and array.shape[:2] == (1, length),
        keywords=("score", "conf", "prob"),
        excluded=(boxes.name,),
    )
    checks.expect_shape(scores, (1, length, "C"), "correct scores_output in model.yaml")
    found = _read_priors(boxes, scores, context, settings)
    return to_detections(select_non_overlapping(found, context, settings), context)


def _read_priors(
    boxes: checks.Output, scores: checks.Output, context: DecodeContext, settings: SsdSettings
) -> Candidates:
    """Return the candidates of a model without non-maximum suppression."""
    checks.expect_no_background_label(scores, context.labels, "and set background to true")
    first = int(settings.background)
    checks.expect_classes(
        scores, scores.array.shape[2] - first, context.labels, "set background to match"
    )
    values = activate_once(settings.activation, checks.to_floats(scores)[0])[:, first:]
    best = checks.to_probabilities(scores.name, values.max(axis=1))
    indices = np.flatnonzero(best >= settings.confidence)
    corners = to_corners(checks.to_floats(boxes)[indices], settings.box_order, boxes.name)
    corners = to_pixels(corners, context, settings.normalized, boxes.name)
    return Candidates(corners, best[indices], values[indices].argmax(axis=1), boxes.name)
