"""NanoDet and NanoDet-Plus: boxes as four distances, each a distribution over bins.

Algorithm: Li et al., Generalized Focal Loss, 2020; NanoDet by RangiLyu.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.decoders import checks
from edge_inference.core.decoders.activations import are_probabilities, sigmoid, softmax
from edge_inference.core.decoders.detection import (
    Candidates,
    OverlapSettings,
    select_non_overlapping,
    to_detections,
)
from edge_inference.core.decoders.grid import grid
from edge_inference.core.decoders.registry import DecodeContext, register
from edge_inference.core.results import Detections
from edge_inference.core.settings import setting
from edge_inference.errors import TensorError

_OUTPUTS_HINT = "correct strides, scores_outputs or distances_outputs in model.yaml"


@dataclass(frozen=True)
class NanoDetSettings(OverlapSettings):
    """The layout of NanoDet's outputs, and which objects are reported."""

    strides: tuple[int, ...] = setting(
        (8, 16, 32), "size of a grid cell for each scale", unit="pixels", minimum=1, read_only=True
    )
    sigmoid_scores: bool = setting(
        True,
        "true: the model applies the sigmoid itself; false: it is applied to logits",
        read_only=True,
    )
    cell_offset: float = setting(
        0.5,
        "reference point inside a cell: 0.5 for NanoDet, 0 for NanoDet-Plus",
        unit="cells",
        minimum=0.0,
        maximum=1.0,
        read_only=True,
    )
    scores_outputs: tuple[str, ...] = setting(
        (), "outputs with the class scores, one per stride; empty: automatic", read_only=True
    )
    distances_outputs: tuple[str, ...] = setting(
        (), "outputs with the distances, one per stride; empty: automatic", read_only=True
    )

    def check(self) -> str | None:
        """Refuse lists that do not match the strides."""
        if not self.strides:
            return "strides: expected at least one"
        for name in ("scores_outputs", "distances_outputs"):
            given = len(getattr(self, name))
            if given not in (0, len(self.strides)):
                return f"{name}: expected {len(self.strides)} names, one per stride, got {given}"
        return None


@register("nanodet", NanoDetSettings)
def decode(
    outputs: Mapping[str, NDArray[Any]], context: DecodeContext, settings: NanoDetSettings
) -> Detections:
    """Decode scores and distances, as a pair of outputs per stride or in one output.

    Pairs: scores ``[1, N, C]`` and distances ``[1, N, 4 * bins]``. One output:
    ``[1, N, C + 4 * bins]`` with the strides one after the other; it needs
    labels, which determine C. Left, top, right and bottom distances are the mean of
    their distribution over the bins, in cells.
    """
    if len(outputs) == 1 and not settings.scores_outputs:
        levels = [_split(outputs, context, settings)]
        strides = [settings.strides]
    else:
        levels = [_pair(outputs, context, settings, i) for i in range(len(settings.strides))]
        strides = [(stride,) for stride in settings.strides]
    parts = [
        _level(scores, distances, of, context, settings)
        for (scores, distances), of in zip(levels, strides, strict=True)
    ]
    found = Candidates(
        np.concatenate([level.boxes for level in parts]),
        np.concatenate([level.scores for level in parts]),
        np.concatenate([level.class_ids for level in parts]),
        parts[0].source,
    )
    return to_detections(select_non_overlapping(found, context, settings), context)


def _split(
    outputs: Mapping[str, NDArray[Any]], context: DecodeContext, settings: NanoDetSettings
) -> tuple[checks.Output, checks.Output]:
    """Split the single output into scores and distances."""
    output = checks.Output(*next(iter(outputs.items())))
    count = len(grid(context.input_width, context.input_height, settings.strides).cells)
    checks.expect_shape(output, (1, count, "C + 4 * bins"), "correct strides in model.yaml")
    classes = len(context.labels)
    if not classes or output.array.shape[2] <= classes:
        raise TensorError(
            f"output {output.name!r}: expected {classes} class scores and 4 * bins distances in a "
            f"row, got {output.array.shape[2]} values; correct labels in model.yaml"
        )
    scores, distances = output.array[..., :classes], output.array[..., classes:]
    return checks.Output(output.name, scores), checks.Output(output.name, distances)


def _pair(
    outputs: Mapping[str, NDArray[Any]],
    context: DecodeContext,
    settings: NanoDetSettings,
    index: int,
) -> tuple[checks.Output, checks.Output]:
    """Find the scores and the distances of one stride by name, or by shape."""
    strides = settings.strides[index : index + 1]
    count = len(grid(context.input_width, context.input_height, strides).cells)
    classes = len(context.labels)
    names = settings.scores_outputs[index : index + 1]
    scores = checks.choose_output(
        outputs,
        names[0] if names else "",
        setting="scores_outputs",
        expected=f"the class scores of stride {strides[0]}, [1, {count}, {classes or 'C'}]",
        fits=lambda array: (
            array.shape[:2] == (1, count)
            and array.shape[2:] == ((classes,) if classes else array.shape[2:3])
        ),
        keywords=("cls", "class", "score"),
    )
    names = settings.distances_outputs[index : index + 1]
    distances = checks.choose_output(
        outputs,
        names[0] if names else "",
        setting="distances_outputs",
        expected=f"the distances of stride {strides[0]}, [1, {count}, 4 * bins]",
        fits=lambda array: array.ndim == 3 and array.shape[:2] == (1, count),
        keywords=("dis", "reg", "box"),
        excluded=(scores.name,),
    )
    return scores, distances


def _level(
    scores_output: checks.Output,
    distances_output: checks.Output,
    strides: tuple[int, ...],
    context: DecodeContext,
    settings: NanoDetSettings,
) -> Candidates:
    """Decode the cells above the confidence; the softmax is computed only for these."""
    cells, sizes = grid(context.input_width, context.input_height, strides)
    checks.expect_shape(scores_output, (1, len(cells), "C"), _OUTPUTS_HINT)
    checks.expect_classes(scores_output, scores_output.array.shape[2], context.labels)
    checks.expect_shape(distances_output, (1, len(cells), "4 * bins"), _OUTPUTS_HINT)
    if distances_output.array.shape[2] % 4 or distances_output.array.shape[2] < 8:
        raise TensorError(
            f"output {distances_output.name!r}: expected 4 distances of at least 2 bins each, got "
            f"{distances_output.array.shape[2]} values; correct labels or distances_outputs "
            "in model.yaml"
        )
    scores = checks.to_floats(scores_output)[0]
    distances = checks.to_floats(distances_output)[0]
    best = scores.max(axis=1)
    if not settings.sigmoid_scores and not are_probabilities(scores):
        best = sigmoid(best)
    best = checks.to_probabilities(
        scores_output.name, best, "set sigmoid_scores to false in model.yaml if these are logits"
    )
    indices = np.flatnonzero(best >= settings.confidence)
    bins = softmax(distances[indices].reshape(len(indices), 4, distances.shape[1] // 4))
    reach = bins @ np.arange(bins.shape[2], dtype=np.float32) * sizes[indices]
    centers = (cells[indices] + np.float32(settings.cell_offset)) * sizes[indices]
    boxes = np.concatenate([centers - reach[:, :2], centers + reach[:, 2:]], axis=1)
    return Candidates(boxes, best[indices], scores[indices].argmax(axis=1), distances_output.name)
