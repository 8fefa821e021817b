"""FOMO (Edge Impulse): a grid of class probabilities; a cell with an object becomes a box."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.decoders import (
    Candidates,
    DecodeContext,
    SelectionSettings,
    checks,
    input_size,
    register,
    select_best,
    to_detections,
)
from edge_inference.core.results import Detections
from edge_inference.core.settings import setting


@dataclass(frozen=True)
class FomoSettings(SelectionSettings):
    """The name of the output, and which objects are reported."""

    output: str = setting("", "output with the grid; empty: the only one", read_only=True)


@register("fomo", FomoSettings)
def decode(
    outputs: Mapping[str, NDArray[Any]], context: DecodeContext, settings: FomoSettings
) -> Detections:
    """Decode probabilities ``[1, rows, columns, 1 + C]``; the first class is the background."""
    grid = checks.choose_output(
        outputs,
        settings.output,
        setting="output",
        expected="a grid [1, rows, columns, 1 + C]",
        fits=lambda array: array.ndim == 4,
    )
    checks.expect_shape(grid, (1, "rows", "columns", "1 + C"), "name it with output in model.yaml")
    checks.expect_classes(grid, grid.array.shape[3] - 1, context.labels)
    scores = checks.to_floats(grid)[0, :, :, 1:]
    rows, columns = np.nonzero(scores.max(axis=2) >= settings.confidence)
    cell = input_size(context) / (scores.shape[1], scores.shape[0])
    corners = np.stack([columns, rows], axis=1).astype(np.float32) * cell
    found = scores[rows, columns]
    boxes = np.concatenate([corners, corners + cell], axis=1).astype(np.float32)
    objects = Candidates(boxes, found.max(axis=1), found.argmax(axis=1), grid.name)
    return to_detections(select_best(objects, context, settings), context)
