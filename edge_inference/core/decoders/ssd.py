"""SSD: boxes and class scores, or TensorFlow's postprocessed lists of boxes, classes and scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.decoders import checks
from edge_inference.core.decoders.activations import activate
from edge_inference.core.decoders.detection import (
    Candidates,
    OverlapSettings,
    input_size,
    select_best,
    select_non_overlapping,
    to_detections,
)
from edge_inference.core.decoders.registry import DecodeContext, register
from edge_inference.core.results import Detections
from edge_inference.core.settings import setting
from edge_inference.errors import TensorError

#: The indices of x1, y1, x2 and y2 in a box.
_ORDERS: dict[str, list[int]] = {"yxyx": [1, 0, 3, 2], "xyxy": [0, 1, 2, 3]}


@dataclass(frozen=True)
class SsdSettings(OverlapSettings):
    """The layout of the outputs, and which objects are reported."""

    box_order: str = setting(
        "yxyx",
        "order of a box's corners: yxyx in TensorFlow, usually xyxy in other frameworks",
        choices=tuple(_ORDERS),
        read_only=True,
    )
    normalized: bool = setting(
        True, "true: boxes from 0 to 1; false: boxes in input pixels", read_only=True
    )
    background: bool = setting(
        True, "class 0 of the model is the background, which has no label", read_only=True
    )
    activation: str = setting(
        "none",
        "activation that converts class scores [1, N, C] to probabilities; none: the model "
        "applies it itself",
        choices=("none", "softmax", "sigmoid"),
        read_only=True,
    )
    boxes_output: str = setting("", "output with the boxes; empty: automatic", read_only=True)
    scores_output: str = setting("", "output with the scores; empty: automatic", read_only=True)
    classes_output: str = setting(
        "", "output with class numbers [1, N], if any; empty: automatic", read_only=True
    )
    count_output: str = setting(
        "", "output with the number of boxes, if any; empty: automatic", read_only=True
    )


@register("ssd", SsdSettings)
def decode(
    outputs: Mapping[str, NDArray[Any]], context: DecodeContext, settings: SsdSettings
) -> Detections:
    """Decode boxes ``[1, N, 4]`` with scores ``[1, N, C]``, or postprocessed lists.

    Postprocessed lists are scores ``[1, N]``, class numbers ``[1, N]`` and, if
    the model has it, their count ``[1]``. The model includes non-maximum suppression,
    so it is not repeated.
    """
    boxes = checks.choose_output(
        outputs,
        settings.boxes_output,
        setting="boxes_output",
        expected="boxes [1, N, 4]",
        fits=lambda array: array.ndim == 3 and array.shape[2] == 4,
        keywords=("box", "loc"),
    )
    checks.expect_shape(boxes, (1, "N", 4), "name it with boxes_output in model.yaml")
    scores = checks.choose_output(
        outputs,
        settings.scores_output,
        setting="scores_output",
        expected=f"scores [1, {boxes.array.shape[1]}, C] or [1, {boxes.array.shape[1]}]",
        fits=lambda array: (
            array.shape[:2] == boxes.array.shape[:2] and np.issubdtype(array.dtype, np.floating)
        ),
        keywords=("score", "conf", "prob"),
        excluded=(boxes.name, settings.classes_output),
    )
    if scores.array.ndim == 2:
        lists = _read_lists(outputs, boxes, scores, context, settings)
        return to_detections(select_best(lists, context, settings), context)
    found = _read_priors(boxes, scores, context, settings)
    return to_detections(select_non_overlapping(found, context, settings), context)


def _read_priors(
    boxes: checks.Output, scores: checks.Output, context: DecodeContext, settings: SsdSettings
) -> Candidates:
    """Return the best class of every prior box."""
    checks.expect_shape(
        scores, (1, boxes.array.shape[1], "C"), "correct scores_output in model.yaml"
    )
    first = int(settings.background)
    checks.expect_classes(
        scores, scores.array.shape[2] - first, context.labels, "set background to match"
    )
    if scores.array.shape[2] <= first:
        raise TensorError(
            f"output {scores.name!r}: expected a class besides the background, got "
            f"{list(scores.array.shape)}; set background to false in model.yaml"
        )
    activated = activate(settings.activation, checks.to_floats(scores)[0])[:, first:]
    best = checks.to_probabilities(scores.name, activated.max(axis=1))
    indices = np.flatnonzero(best >= settings.confidence)
    corners = _read_corners(boxes, context, settings)[indices]
    return Candidates(corners, best[indices], activated[indices].argmax(axis=1), boxes.name)


def _read_lists(
    outputs: Mapping[str, NDArray[Any]],
    boxes: checks.Output,
    scores: checks.Output,
    context: DecodeContext,
    settings: SsdSettings,
) -> Candidates:
    """Return the candidates of a model that includes non-maximum suppression."""
    length = boxes.array.shape[1]
    classes = checks.choose_output(
        outputs,
        settings.classes_output,
        setting="classes_output",
        expected=f"class numbers [1, {length}]",
        fits=lambda array: array.shape == (1, length),
        keywords=("class", "label"),
        excluded=(boxes.name, scores.name),
    )
    checks.expect_shape(classes, (1, length), "correct classes_output in model.yaml")
    checks.expect_shape(scores, (1, length), "correct scores_output in model.yaml")
    count = _read_count(outputs, length, settings)
    values = checks.to_probabilities(scores.name, checks.to_floats(scores)[0, :count])
    ids = classes.array[0, :count].astype(np.float64) - int(settings.background)
    indices = np.flatnonzero((values >= settings.confidence) & (ids != -1))
    whole = checks.expect_class_ids(classes, ids[indices], context.labels)
    corners = _read_corners(boxes, context, settings)[indices]
    return Candidates(corners, values[indices], whole, boxes.name)


def _read_count(outputs: Mapping[str, NDArray[Any]], length: int, settings: SsdSettings) -> int:
    """Return the number of valid boxes: all of them where the model has no count."""
    if settings.count_output:
        count = checks.output_by_name(outputs, settings.count_output, "count_output")
    else:
        single = [name for name, array in outputs.items() if array.shape in ((1,), (1, 1))]
        single = [name for name in single if "num" in name.lower() or length != 1]
        if len(single) != 1:
            return length
        count = checks.Output(single[0], outputs[single[0]])
    if count.array.size != 1 or not 0 <= count.array.item() <= length:
        raise TensorError(
            f"output {count.name!r}: expected one number from 0 to {length}, got "
            f"{count.array.ravel()[:5].tolist()}; correct count_output in model.yaml"
        )
    return int(count.array.item())


def _read_corners(
    boxes: checks.Output, context: DecodeContext, settings: SsdSettings
) -> NDArray[np.float32]:
    """Return x1, y1, x2, y2 in input pixels."""
    values = checks.to_floats(boxes)[0]
    values = values[:, _ORDERS[settings.box_order]]
    size = np.tile(input_size(context), 2)
    return np.asarray(values * size) if settings.normalized else values
