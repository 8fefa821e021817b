"""YOLOX: anchor-free boxes as offsets from grid cells. Algorithm: Ge et al., YOLOX, 2021."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.decoders import checks
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
from edge_inference.core.settings import setting
from edge_inference.errors import TensorError

_LARGEST_LOGARITHM = 12.0
"""exp(12) cells are more than a million pixels."""


@dataclass(frozen=True)
class YoloxSettings(OverlapSettings):
    """The layout of the output, and which objects are reported."""

    strides: tuple[int, ...] = setting(
        (8, 16, 32), "size of a grid cell for each scale", unit="pixels", minimum=1, read_only=True
    )
    decoded: bool = setting(
        False, "true: boxes in input pixels; false: grid offsets", read_only=True
    )
    boxes_output: str = setting(
        "", "output with boxes and scores; empty: automatic", read_only=True
    )

    def check(self) -> str | None:
        """Refuse an empty list of strides."""
        return None if self.strides else "strides: expected at least one"


@register("yolox", YoloxSettings)
def decode(
    outputs: Mapping[str, NDArray[Any]], context: DecodeContext, settings: YoloxSettings
) -> Detections:
    """Decode ``[1, N, 5 + C]``: box, objectness, class scores (the model applies the sigmoid).

    A raw box is (x, y) + cell, exp(width, height), all times the stride.
    """
    output = checks.choose_output(
        outputs,
        settings.boxes_output,
        setting="boxes_output",
        expected="boxes and scores [1, N, 5 + C]",
        fits=lambda array: array.ndim == 3,
    )
    cells, sizes = grid(context.input_width, context.input_height, settings.strides)
    count = "N" if settings.decoded else len(cells)
    checks.expect_shape(
        output, (1, count, "5 + C"), "correct strides, decoded or boxes_output in model.yaml"
    )
    checks.expect_classes(output, output.array.shape[2] - 5, context.labels)
    rows = checks.to_floats(output)[0]
    objectness = checks.to_probabilities(output.name, rows[:, 4], checks.SIGMOID_HINT)
    # Class scores are at most 1, so objectness alone excludes most rows.
    indices = np.flatnonzero(objectness >= settings.confidence)
    scores = checks.to_probabilities(output.name, rows[indices, 5:], checks.SIGMOID_HINT)
    scores = scores * objectness[indices, None]
    above, best, class_ids = best_classes(scores, settings.confidence)
    indices = indices[above]
    centers, lengths = rows[indices, :2], rows[indices, 2:4]
    if settings.decoded and 0 < np.abs(rows[indices, :4]).max(initial=0) < min(settings.strides):
        raise TensorError(
            f"output {output.name!r}: expected boxes in input pixels, got values up to "
            f"{rows[indices, :4].max():.4g}; set decoded to false in model.yaml if these are "
            "offsets from grid cells"
        )
    if not settings.decoded:
        centers = (centers + cells[indices]) * sizes[indices]
        if lengths.max(initial=0) > _LARGEST_LOGARITHM:
            raise TensorError(
                f"output {output.name!r}: expected logarithms of sizes in cells, got "
                f"{lengths.max():.4g}; set decoded to true in model.yaml if these are pixels"
            )
        lengths = np.exp(lengths) * sizes[indices]
    boxes = corners(centers, lengths)
    found = Candidates(boxes, best, class_ids, output.name)
    return to_detections(select_non_overlapping(found, context, settings), context)
