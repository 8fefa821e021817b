"""DETR and related models: a fixed set of queries, each with one object or none.

They need no non-maximum suppression. Algorithm: Carion et al., DETR, 2020; sigmoid scores as in
RT-DETR, Zhao et al., 2023.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from edge_inference.core.decoders import checks
from edge_inference.core.decoders.activations import activate_once
from edge_inference.core.decoders.box_formats import corners, to_pixels
from edge_inference.core.decoders.detection import (
    Candidates,
    SelectionSettings,
    best_classes,
    select_best,
    to_detections,
)
from edge_inference.core.decoders.registry import DecodeContext, register
from edge_inference.core.results import Detections
from edge_inference.core.settings import setting
from edge_inference.errors import TensorError


@dataclass(frozen=True)
class DetrSettings(SelectionSettings):
    """The layout of the outputs, and which objects are reported."""

    activation: str = setting(
        "softmax",
        "softmax for DETR, whose last class is 'no object'; sigmoid for RT-DETR and "
        "Deformable DETR, which have no such class; not applied to probabilities",
        choices=("softmax", "sigmoid"),
        read_only=True,
    )
    logits_output: str = setting("", "output with class logits; empty: automatic", read_only=True)
    boxes_output: str = setting("", "output with the boxes; empty: automatic", read_only=True)


@register("detr", DetrSettings)
def decode(
    outputs: Mapping[str, NDArray[Any]], context: DecodeContext, settings: DetrSettings
) -> Detections:
    """Decode logits ``[1, Q, C + 1]`` (sigmoid: ``[1, Q, C]``) and boxes ``[1, Q, 4]``.

    Boxes are centre x, y, width, height from 0 to 1. Each query yields its best class. Scores
    that are probabilities already are taken as they are.
    """
    boxes = checks.choose_output(
        outputs,
        settings.boxes_output,
        setting="boxes_output",
        expected="boxes [1, Q, 4]",
        fits=lambda array: array.ndim == 3 and array.shape[2] == 4,
        keywords=("box",),
    )
    checks.expect_shape(boxes, (1, "Q", 4), "name it with boxes_output in model.yaml")
    queries = boxes.array.shape[1]
    logits = checks.choose_output(
        outputs,
        settings.logits_output,
        setting="logits_output",
        expected=f"class logits [1, {queries}, C]",
        fits=lambda array: array.ndim == 3 and array.shape[1] == queries,
        keywords=("logit", "class", "score"),
        excluded=(boxes.name,),
    )
    checks.expect_shape(logits, (1, queries, "C"), "correct logits_output in model.yaml")
    classes = logits.array.shape[2] - int(settings.activation == "softmax")
    checks.expect_classes(logits, classes, context.labels, "set activation to match")
    if classes < 1:
        raise TensorError(
            f"output {logits.name!r}: expected a class besides 'no object', got "
            f"{list(logits.array.shape)}; set activation to sigmoid in model.yaml"
        )
    scores = activate_once(settings.activation, checks.to_floats(logits)[0])[:, :classes]
    indices, best, class_ids = best_classes(scores, settings.confidence)
    rows = checks.to_floats(boxes)[0]
    rows = to_pixels(
        rows[indices],
        context,
        True,
        boxes.name,
        "export the model without its postprocessor, or use decoder detection_lists in model.yaml",
    )
    found = Candidates(corners(rows[:, :2], rows[:, 2:]), best, class_ids, boxes.name)
    return to_detections(select_best(found, context, settings), context)
