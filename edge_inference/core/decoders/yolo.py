"""YOLOv5, YOLOv8 and YOLO11 in the format of their exporters, with boxes in input pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.decoders import checks
from edge_inference.core.decoders.boxes import corners, input_size
from edge_inference.core.decoders.detection import (
    Candidates,
    OverlapSettings,
    best_classes,
    select_best,
    select_non_overlapping,
    to_detections,
)
from edge_inference.core.decoders.registry import DecodeContext, register
from edge_inference.core.results import Detections
from edge_inference.core.settings import setting
from edge_inference.errors import TensorError


@dataclass(frozen=True)
class Yolov5Settings(OverlapSettings):
    """Which output contains the boxes, and which objects are reported."""

    boxes_output: str = setting(
        "", "output with boxes and scores; empty: automatic", read_only=True
    )
    normalized: bool = setting(
        False, "true: boxes from 0 to 1; false: boxes in input pixels", read_only=True
    )


@dataclass(frozen=True)
class Yolov8Settings(Yolov5Settings):
    """The layout of the output, and which objects are reported."""

    layout: str = setting(
        "auto",
        "channels_first [1, 4+C, N], channels_last [1, N, 4+C], end_to_end [1, N, 6] "
        "(the model includes non-maximum suppression), or auto: by the shape",
        choices=("auto", "channels_first", "channels_last", "end_to_end"),
        read_only=True,
    )


@register("yolov5", Yolov5Settings)
def decode_yolov5(
    outputs: Mapping[str, NDArray[Any]], context: DecodeContext, settings: Yolov5Settings
) -> Detections:
    """Decode ``[1, N, 5 + C]``: centre x, y, width, height, objectness, class scores."""
    output = _choose(outputs, settings, "[1, N, 5 + C]")
    checks.expect_shape(output, (1, "N", "5 + C"), "name it with boxes_output in model.yaml")
    checks.expect_classes(
        output,
        output.array.shape[2] - 5,
        context.labels,
        "use decoder yolov8 if it has no objectness",
    )
    rows = checks.to_floats(output)[0]
    objectness = checks.to_probabilities(output.name, rows[:, 4], checks.SIGMOID_HINT)
    # Class scores are at most 1, so objectness alone excludes most rows.
    rows = rows[objectness >= settings.confidence]
    scores = checks.to_probabilities(output.name, rows[:, 5:], checks.SIGMOID_HINT) * rows[:, 4:5]
    found = _above_confidence(rows[:, :4], scores, output.name, context, settings)
    return to_detections(select_non_overlapping(found, context, settings), context)


@register("yolov8", Yolov8Settings)
@register("yolo11", Yolov8Settings)
def decode_yolov8(
    outputs: Mapping[str, NDArray[Any]], context: DecodeContext, settings: Yolov8Settings
) -> Detections:
    """Decode ``[1, 4 + C, N]``, its transpose, or an end-to-end ``[1, N, 6]``.

    Rows are centre x, y, width, height and class scores. End-to-end rows are
    x1, y1, x2, y2, score, class, without another suppression. ``auto`` finds
    the axis with 4 + C entries by the labels; without labels it is the shorter axis.
    """
    output = _choose(outputs, settings, "[1, 4 + C, N] or [1, N, 4 + C]")
    layout = _layout(output, context, settings)
    if layout == "end_to_end":
        found = _end_to_end(output, context, settings)
        return to_detections(select_best(found, context, settings), context)
    axis = 1 if layout == "channels_first" else 2
    shape = (1, "4 + C", "N") if axis == 1 else (1, "N", "4 + C")
    checks.expect_shape(output, shape, "correct layout or boxes_output in model.yaml")
    checks.expect_classes(
        output,
        output.array.shape[axis] - 4,
        context.labels,
        "use decoder yolov5 if it has objectness",
    )
    values = checks.to_floats(output)[0]
    columns = values if axis == 1 else values.T
    best = checks.to_probabilities(output.name, columns[4:].max(axis=0), checks.SIGMOID_HINT)
    rows = columns[:, best >= settings.confidence].T
    found = _above_confidence(rows[:, :4], rows[:, 4:], output.name, context, settings)
    return to_detections(select_non_overlapping(found, context, settings), context)


def _choose(
    outputs: Mapping[str, NDArray[Any]], settings: Yolov5Settings, shape: str
) -> checks.Output:
    return checks.choose_output(
        outputs,
        settings.boxes_output,
        setting="boxes_output",
        expected=f"boxes and scores {shape}",
        fits=lambda array: array.ndim == 3,
    )


def _layout(output: checks.Output, context: DecodeContext, settings: Yolov8Settings) -> str:
    """Return the layout; raises TensorError where the shape is ambiguous."""
    if settings.layout != "auto":
        return settings.layout
    checks.expect_shape(output, (1, "4 + C", "N"), "name it with boxes_output in model.yaml")
    _, first, last = output.array.shape
    if not context.labels:
        if last == 6:
            return "end_to_end"
        return "channels_first" if first <= last else "channels_last"
    channels = 4 + len(context.labels)
    fitting = []
    if first == channels:
        fitting.append("channels_first")
    if last == channels:
        fitting.append("channels_last")
    if last == 6:
        fitting.append("end_to_end")
    if len(fitting) != 1:
        which = " and ".join(fitting) + " all fit" if fitting else "neither fits"
        raise TensorError(
            f"output {output.name!r}: expected [1, {channels}, N], [1, N, {channels}] or "
            f"[1, N, 6] for {len(context.labels)} labels, got {list(output.array.shape)}: {which}; "
            "set layout, or correct labels in model.yaml"
        )
    return fitting[0]


def _end_to_end(
    output: checks.Output, context: DecodeContext, settings: Yolov8Settings
) -> Candidates:
    checks.expect_shape(output, (1, "N", 6), "correct layout or boxes_output in model.yaml")
    rows = checks.to_floats(output)[0]
    scores = checks.to_probabilities(output.name, rows[:, 4], checks.SIGMOID_HINT)
    above = scores >= settings.confidence
    class_ids = checks.expect_class_ids(output, rows[above, 5], context.labels)
    boxes = rows[above, :4]
    if settings.normalized:
        boxes = boxes * np.tile(input_size(context), 2)
    return Candidates(boxes, scores[above], class_ids, output.name)


def _above_confidence(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    source: str,
    context: DecodeContext,
    settings: Yolov5Settings,
) -> Candidates:
    """Return the best class of each row whose score reaches the confidence."""
    indices, best, class_ids = best_classes(scores, settings.confidence)
    boxes = boxes[indices]
    if settings.normalized:
        boxes = boxes * np.tile(input_size(context), 2)
    return Candidates(corners(boxes[:, :2], boxes[:, 2:]), np.minimum(best, 1), class_ids, source)
