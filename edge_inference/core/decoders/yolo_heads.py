"""YOLOv3, YOLOv5 and YOLOv7 exported without their last layer: one tensor of logits per stride.

Algorithm: Redmon and Farhadi, YOLOv3, 2018; the bounded form of YOLOv5 by Jocher, 2020, which
YOLOv7 has, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.decoders import checks
from edge_inference.core.decoders.activations import are_probabilities, sigmoid
from edge_inference.core.decoders.box_formats import corners
from edge_inference.core.decoders.detection import (
    Candidates,
    OverlapSettings,
    best_classes,
    select_non_overlapping,
    to_detections,
)
from edge_inference.core.decoders.grid import grid
from edge_inference.core.decoders.registry import DecodeContext, register
from edge_inference.core.results import Detections
from edge_inference.core.settings import setting, with_default
from edge_inference.errors import TensorError

_HINT = "correct strides, anchors or heads_outputs in model.yaml"
# The anchors of the published models, which were found on COCO.
_YOLOV3_ANCHORS = (10, 13, 16, 30, 33, 23, 30, 61, 62, 45, 59, 119, 116, 90, 156, 198, 373, 326)
_YOLOV7_ANCHORS = (12, 16, 19, 36, 40, 28, 36, 75, 76, 55, 72, 146, 142, 110, 192, 243, 459, 401)


@dataclass(frozen=True)
class YoloHeadsSettings(OverlapSettings):
    """YOLOv5 and YOLOv7-tiny without their last layer: one tensor of logits for each stride."""

    strides: tuple[int, ...] = setting(
        (8, 16, 32), "size of a grid cell for each scale", unit="pixels", minimum=1, read_only=True
    )
    anchors: tuple[float, ...] = setting(
        tuple(map(float, _YOLOV3_ANCHORS)),
        "width, height of each anchor: those of the first stride, then those of the next",
        unit="pixels",
        minimum=0.01,
        read_only=True,
    )
    box_formula: str = setting(
        "yolov5",
        "yolov5: size (2 sigmoid(t))^2 times the anchor; yolov3: exp(t) times the anchor",
        choices=("yolov5", "yolov3"),
        read_only=True,
    )
    heads_outputs: tuple[str, ...] = setting(
        (), "outputs, one per stride; empty: automatic, by their height and width", read_only=True
    )

    def check(self) -> str | None:
        """Refuse anchors and names that do not match the strides."""
        if not self.strides:
            return "strides: expected at least one"
        pairs = 2 * len(self.strides)
        if not self.anchors or len(self.anchors) % pairs:
            return (
                f"anchors: expected a multiple of {pairs} numbers, width and height of as many "
                f"anchors for each of {len(self.strides)} strides, got {len(self.anchors)}"
            )
        if len(self.heads_outputs) not in (0, len(self.strides)):
            return f"heads_outputs: expected {len(self.strides)} names, one per stride"
        return None


@dataclass(frozen=True)
class Yolov7HeadsSettings(YoloHeadsSettings):
    """YOLOv7 without its last layer: one tensor of logits for each stride."""

    anchors: tuple[float, ...] = with_default(
        YoloHeadsSettings, "anchors", tuple(map(float, _YOLOV7_ANCHORS))
    )


@dataclass(frozen=True)
class Yolov3HeadsSettings(YoloHeadsSettings):
    """YOLOv3 without its last layer: one tensor of logits for each stride."""

    box_formula: str = with_default(YoloHeadsSettings, "box_formula", "yolov3")


@register("yolov5_heads", YoloHeadsSettings)
@register("yolov7_heads", Yolov7HeadsSettings)
@register("yolov3_heads", Yolov3HeadsSettings)
def decode(
    outputs: Mapping[str, NDArray[Any]], context: DecodeContext, settings: YoloHeadsSettings
) -> Detections:
    """Decode a tensor per stride: ``[1, A, h, w, 5 + C]`` with A anchors of each cell.

    Also ``[1, A * (5 + C), h, w]``, ``[1, h, w, A, 5 + C]`` and ``[1, h, w, A * (5 + C)]``.
    Values are x, y, width, height, objectness and class scores, all logits; the sigmoid is left
    out where the model applies it.
    """
    anchors = np.array(settings.anchors, np.float32).reshape(len(settings.strides), -1, 2)
    heads = [
        _choose_head(outputs, context, settings, index, len(anchors[0]))
        for index in range(len(settings.strides))
    ]
    values = [checks.to_floats(head) for head in heads]
    # The objectness of all heads together, since a head of few cells tells less.
    is_activated = are_probabilities(
        np.concatenate([value[..., 4].reshape(-1) for value in values])
    )
    parts = [
        _read_head(*part, is_activated, context, settings)
        for part in zip(heads, values, anchors, settings.strides, strict=True)
    ]
    found = Candidates(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.class_ids for part in parts]),
        heads[0].name,
    )
    return to_detections(select_non_overlapping(found, context, settings), context)


def _choose_head(
    outputs: Mapping[str, NDArray[Any]],
    context: DecodeContext,
    settings: YoloHeadsSettings,
    index: int,
    anchor_count: int,
) -> checks.Output:
    """Return the output of a stride as ``(A, h, w, 5 + C)``."""
    stride = settings.strides[index]
    height, width = -(-context.input_height // stride), -(-context.input_width // stride)

    def by_anchor(array: NDArray[Any]) -> NDArray[Any] | None:
        shape = array.shape
        if array.ndim == 5 and shape[:4] == (1, anchor_count, height, width):
            return np.asarray(array[0])
        if array.ndim == 5 and shape[:4] == (1, height, width, anchor_count):
            return np.moveaxis(array[0], 2, 0)
        if array.ndim == 4 and shape[2:] == (height, width) and shape[1] % anchor_count == 0:
            split = array.reshape(anchor_count, -1, height, width)
            return np.moveaxis(split, 1, 3)
        if array.ndim == 4 and shape[:3] == (1, height, width) and shape[3] % anchor_count == 0:
            return np.moveaxis(array.reshape(height, width, anchor_count, -1), 2, 0)
        return None

    expected = f"[1, {anchor_count}, {height}, {width}, 5 + C] for stride {stride}"
    output = checks.choose_output(
        outputs,
        settings.heads_outputs[index] if settings.heads_outputs else "",
        setting="heads_outputs",
        expected=f"logits {expected}",
        fits=lambda array: array.shape[:1] == (1,) and by_anchor(array) is not None,
    )
    head = by_anchor(output.array) if output.array.shape[:1] == (1,) else None
    if head is None:
        raise TensorError(
            f"output {output.name!r}: expected {expected} and {anchor_count} anchors, got "
            f"{list(output.array.shape)}; {_HINT}"
        )
    checks.expect_classes(
        output, head.shape[3] - 5, context.labels, "correct anchors or heads_outputs"
    )
    return checks.Output(output.name, head)


def _read_head(
    head: checks.Output,
    values: NDArray[np.float32],
    anchors: NDArray[np.float32],
    stride: int,
    is_activated: bool,
    context: DecodeContext,
    settings: YoloHeadsSettings,
) -> Candidates:
    """Return the candidates of one stride above the confidence."""
    cells, _ = grid(context.input_width, context.input_height, (stride,))
    grid_rows = values.reshape(len(anchors), len(cells), -1)

    def apply(logits: NDArray[np.float32]) -> NDArray[np.float32]:
        return logits if is_activated else sigmoid(logits)

    objectness = apply(grid_rows[..., 4])
    # Class scores are at most 1, so objectness alone excludes most rows.
    which, where = np.nonzero(objectness >= settings.confidence)
    rows: NDArray[np.float32] = grid_rows[which, where]
    scores = apply(rows[:, 5:]) * objectness[which, where, None]
    above, best, class_ids = best_classes(scores, settings.confidence)
    rows, which, where = rows[above], which[above], where[above]
    offsets, lengths = apply(rows[:, :2]), rows[:, 2:4]
    if settings.box_formula == "yolov5":
        offsets = 2 * offsets - 0.5
        lengths = (2 * apply(lengths)) ** 2
    else:
        with np.errstate(over="ignore"):  # the check of the boxes rejects an infinite size
            lengths = np.exp(lengths)
    boxes = corners((offsets + cells[where]) * stride, lengths * anchors[which])
    return Candidates(boxes, np.clip(best, 0, 1), class_ids, head.name)
