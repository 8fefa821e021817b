"""DETR and its kin: a fixed set of queries, each one object or none. No suppression needed.

Algorithm: Carion et al., DETR, 2020; sigmoid scores as in RT-DETR, Zhao et al., 2023.
"""

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
    SelectionSettings,
    corners,
    input_size,
    select_best,
)
from edge_inference.core.decoders.registry import DecodeContext, register
from edge_inference.core.results import Detections
from edge_inference.core.settings import setting
from edge_inference.errors import TensorError


@dataclass(frozen=True)
class DetrSettings(SelectionSettings):
    """How the outputs are laid out, and which objects are reported."""

    activation: str = setting(
        "softmax",
        "softmax for DETR, whose last class is 'no object'; sigmoid for RT-DETR and "
        "Deformable DETR, which have no such class",
        choices=("softmax", "sigmoid"),
        read_only=True,
    )
    logits_output: str = setting("", "output with class logits; empty finds it", read_only=True)
    boxes_output: str = setting("", "output with the boxes; empty finds it", read_only=True)


@register("detr", DetrSettings)
def decode(
    outputs: Mapping[str, NDArray[Any]], context: DecodeContext, settings: DetrSettings
) -> Detections:
    """Decode logits ``[1, Q, C + 1]`` (sigmoid: ``[1, Q, C]``) and boxes ``[1, Q, 4]``.

    Boxes are centre x, y, width, height from 0 to 1. Each query gives its best class.
    """
    boxes = checks.choose_output(
        outputs,
        settings.boxes_output,
        setting="boxes_output",
        wanted="boxes [1, Q, 4]",
        fits=lambda array: array.ndim == 3 and array.shape[2] == 4,
        words=("box",),
    )
    checks.expect_shape(boxes, (1, "Q", 4), "name it with boxes_output in model.yaml")
    queries = boxes.array.shape[1]
    logits = checks.choose_output(
        outputs,
        settings.logits_output,
        setting="logits_output",
        wanted=f"class logits [1, {queries}, C]",
        fits=lambda array: array.ndim == 3 and array.shape[1] == queries,
        words=("logit", "class", "score"),
        taken=(boxes.name,),
    )
    checks.expect_shape(logits, (1, queries, "C"), "correct logits_output in model.yaml")
    classes = logits.array.shape[2] - int(settings.activation == "softmax")
    checks.expect_classes(logits, classes, context.labels, "set activation to match")
    if classes < 1:
        raise TensorError(
            f"output {logits.name!r}: expected a class besides 'no object', got "
            f"{list(logits.array.shape)}; set activation to sigmoid in model.yaml"
        )
    scores = activate(settings.activation, checks.to_floats(logits)[0])[:, :classes]
    best = scores.max(axis=1)
    rows = checks.to_floats(boxes)[0]
    places = np.flatnonzero(best >= settings.confidence)
    size = input_size(context)
    found = corners(rows[places, :2] * size, rows[places, 2:] * size)
    return select_best(
        Candidates(found, best[places], scores[places].argmax(axis=1), boxes.name),
        context,
        settings,
    )
