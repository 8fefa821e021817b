"""YOLOv5 to YOLO26 in the format of their exporters: boxes and scores in one tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.decoders import checks
from edge_inference.core.decoders.box_formats import corners, to_corners, to_pixels
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

_SCORES_HINT = (
    "export a detection model with its sigmoid, not one for masks, keypoints or oriented boxes, "
    "or correct layout or boxes_output in model.yaml"
)
_MOST_END_TO_END = 1000
"""Rows of a model that includes non-maximum suppression, by default 300."""


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
@register("yolov6", Yolov5Settings)
@register("yolov7", Yolov5Settings)
def decode_yolov5(
    outputs: Mapping[str, NDArray[Any]], context: DecodeContext, settings: Yolov5Settings
) -> Detections:
    """Decode ``[1, N, 5 + C]``: centre x, y, width, height, objectness, class scores."""
    output = _choose(outputs, settings, "[1, N, 5 + C]")
    checks.expect_shape(output, (1, "N", "5 + C"), "name it with boxes_output in model.yaml")
    _expect_detection_model(output, outputs, context.labels, before_classes=5)
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
@register("yolov9", Yolov8Settings)
@register("yolov10", Yolov8Settings)
@register("yolo11", Yolov8Settings)
@register("yolo12", Yolov8Settings)
@register("yolo26", Yolov8Settings)
def decode_yolov8(
    outputs: Mapping[str, NDArray[Any]], context: DecodeContext, settings: Yolov8Settings
) -> Detections:
    """Decode ``[1, 4 + C, N]``, its transpose, or an end-to-end ``[1, N, 6]``.

    Rows are centre x, y, width, height and class scores. End-to-end rows are
    x1, y1, x2, y2, score, class, without another suppression. ``auto`` finds
    the axis with 4 + C entries by the labels; without labels it is the shorter axis.
    """
    output = _choose(outputs, settings, "[1, 4 + C, N] or [1, N, 4 + C]")
    if output.array.ndim == 3:
        _expect_detection_model(output, outputs, context.labels, before_classes=4)
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
    values = checks.to_unchecked_floats(output)
    checks.expect_finite(output.name, values[:, :4] if axis == 1 else values[..., :4])
    columns = values[0] if axis == 1 else values[0].T
    best = checks.best_probabilities(output, columns[4:], _SCORES_HINT)
    rows = columns[:, best >= settings.confidence].T
    found = _above_confidence(rows[:, :4], rows[:, 4:], output.name, context, settings)
    return to_detections(select_non_overlapping(found, context, settings), context)


def _choose(
    outputs: Mapping[str, NDArray[Any]], settings: Yolov5Settings, shape: str
) -> checks.Output:
    shapes = [array.shape for array in outputs.values()]
    if not settings.boxes_output and not any(len(shape) == 3 for shape in shapes):
        _refuse_other_layouts(outputs)
    return checks.choose_output(
        outputs,
        settings.boxes_output,
        setting="boxes_output",
        expected=f"boxes and scores {shape}",
        fits=lambda array: array.ndim == 3,
    )


def _refuse_other_layouts(outputs: Mapping[str, NDArray[Any]]) -> None:
    """Raise TensorError with the decoder for heads before the last layer, or for rows [N, 7]."""
    arrays = outputs.values()
    decoder = ""
    if len(outputs) > 1 and all(array.ndim in (4, 5) for array in arrays):
        decoder = "yolov5_heads, yolov7_heads or yolov3_heads"
    elif len(outputs) == 1 and all(array.ndim == 2 and array.shape[1] == 7 for array in arrays):
        decoder = "yolov7_end_to_end"
    if decoder:
        raise TensorError(
            f"expected one output with boxes and scores, got {checks.format_outputs(outputs)}; use "
            f"decoder {decoder} in model.yaml"
        )


def _expect_detection_model(
    output: checks.Output,
    outputs: Mapping[str, NDArray[Any]],
    labels: Sequence[str],
    *,
    before_classes: int,
) -> None:
    """Refuse the output of a model for masks, keypoints or oriented boxes, and say which it is.

    Those have further values beside each box: 32 coefficients of a mask, whose prototypes
    ``[1, 32, h, w]`` are another output; three for each keypoint; or one angle.
    """
    _, first, last = output.array.shape
    further = []
    is_end_to_end = before_classes == 4 and last < first <= _MOST_END_TO_END
    if is_end_to_end:
        further.append(last - 6)  # end to end: beside box, score and class
    classes = (last if before_classes == 5 else min(first, last)) - before_classes
    if labels:
        further.append(classes - len(labels))
    prototypes = [array.shape[1] for array in outputs.values() if array.ndim == 4] or [32]
    has_prototypes = any(array.ndim == 4 and array.shape[1] == 32 for array in outputs.values())
    keypoints = [count // 3 for count in further if count > 0 and count % 3 == 0]
    if 0 in further:
        return
    if has_prototypes or any(count in prototypes for count in further):
        kind = "a segmentation model (-seg)"
    elif not labels:
        return
    elif before_classes == 4 and 1 in further and (first < last or is_end_to_end):
        kind = "a model of oriented boxes (-obb)"
    elif keypoints:
        kind = f"a pose model (-pose) with {keypoints[0]} keypoints"
    else:
        return
    raise TensorError(
        f"output {output.name!r}: expected boxes and scores of a detection model, got "
        f"{list(output.array.shape)}, the shape of {kind}, or of {classes} classes; export a "
        "detection model, or correct labels in model.yaml"
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
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise TensorError(
            f"output {output.name!r}: expected a shape of one layout for {len(context.labels)} "
            f"labels, got {list(output.array.shape)}: {' and '.join(fitting)} all fit; set layout "
            "in model.yaml"
        )
    shapes = dict.fromkeys([f"[1, {channels}, N]", f"[1, N, {channels}]", "[1, N, 6]"])
    hint = "use decoder yolov5 in model.yaml" if last == channels + 1 else ""
    raise TensorError(
        f"output {output.name!r}: expected {' or '.join(shapes)} for {len(context.labels)} labels, "
        f"got {list(output.array.shape)}; {hint or 'correct labels or boxes_output in model.yaml'}"
    )


def _end_to_end(
    output: checks.Output, context: DecodeContext, settings: Yolov8Settings
) -> Candidates:
    checks.expect_shape(output, (1, "N", 6), "correct layout or boxes_output in model.yaml")
    rows = checks.to_floats(output)[0]
    scores = checks.to_probabilities(output.name, rows[:, 4], _SCORES_HINT)
    class_ids = checks.expect_listed_classes(
        output, rows[:, 5], scores, context.labels, background=False
    )
    above = np.flatnonzero((scores >= settings.confidence) & (class_ids >= 0))
    boxes = to_corners(rows[above, :4], "xyxy", output.name, "layout")
    boxes = to_pixels(boxes, context, settings.normalized, output.name)
    return Candidates(boxes, scores[above], class_ids[above], output.name)


def _above_confidence(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    source: str,
    context: DecodeContext,
    settings: Yolov5Settings,
) -> Candidates:
    """Return the best class of each row whose score reaches the confidence."""
    indices, best, class_ids = best_classes(scores, settings.confidence)
    boxes = to_pixels(boxes[indices], context, settings.normalized, source)
    return Candidates(corners(boxes[:, :2], boxes[:, 2:]), np.minimum(best, 1), class_ids, source)
