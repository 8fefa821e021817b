"""The depth of every pixel, the result of a depth model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.results.result_agreement import (
    Leniency,
    ResultAgreement,
    count_agreeing,
    expect_same_shape,
)
from edge_inference.core.results.result_kind import ResultKind

if TYPE_CHECKING:
    from edge_inference.core.images.canvas import Canvas

#: Maximum relative difference of two depths that agree.
DEPTH_TOLERANCE = 0.05
_SAMPLE_STEP = 7
"""Only every n-th pixel is used to find the color range of a depth map."""


@dataclass(frozen=True, eq=False)
class DepthMap:
    """A depth for every pixel: ``depth`` is ``(source_height, source_width)`` float32.

    Pixels outside a model's centre crop are NaN. ``unit`` is "m" for metric models, "relative"
    for depth up to an unknown scale, "inverse" where larger values are nearer.
    """

    depth: NDArray[np.float32]
    unit: str
    model: str = ""
    stamp_ns: int = 0
    frame_id: str = ""


def _to_json(result: DepthMap) -> list[dict[str, Any]]:
    """Return minimum, median and maximum, null where nothing was measured."""
    seen = result.depth[np.isfinite(result.depth)]
    figures: dict[str, Any] = dict.fromkeys(("min", "median", "max"))
    if seen.size:
        figures = {"min": seen.min(), "median": np.median(seen), "max": seen.max()}
        figures = {name: round(float(value), 4) for name, value in figures.items()}
    return [{**figures, "unit": result.unit}]


def _to_lines(result: DepthMap, limit: int) -> list[str]:
    (depth,) = _to_json(result)
    figures = [depth["min"], depth["median"], depth["max"]]
    if None in figures:
        return ["no depth"][:limit]
    range_text = " … ".join(f"{figure:.2f}" for figure in figures)
    return [f"depth {range_text} {result.unit}"][:limit]


def _warning(result: DepthMap) -> str:
    """Return a warning for a depth map that is not in metres, which an Image cannot state."""
    if result.unit == "m":
        return ""
    return (
        f"depth is {result.unit}, but subscribers of a depth Image expect metres "
        "(REP 118): do not use it to keep a distance"
    )


def _draw(canvas: Canvas, result: DepthMap) -> None:
    canvas.expect_size(result.depth.shape[1], result.depth.shape[0])
    is_known = np.isfinite(result.depth)
    if not is_known.any():
        return
    # Percentiles, because a few outliers would compress all other colors.
    low, high = np.percentile(result.depth[is_known][::_SAMPLE_STEP], [2, 98])
    span = max(float(high - low), float(np.finfo(np.float32).tiny))
    fraction = np.clip((np.where(is_known, result.depth, low) - low) / span, 0, 1)
    canvas.paint_values(fraction if result.unit == "inverse" else 1 - fraction, is_known)
    unit = " m" if result.unit == "m" else f" ({result.unit})"
    canvas.write_list([f"{low:.3g} to {high:.3g}{unit}"])


def _agree(
    reference: DepthMap, candidate: DepthMap, leniency: Leniency[DepthMap]
) -> ResultAgreement:
    """Count the pixels with a depth on at least one side; they agree within 5 %."""
    del leniency
    expect_same_shape("depth maps", reference.depth, candidate.depth)
    is_known = ~(np.isnan(reference.depth) & np.isnan(candidate.depth))
    expected, actual = reference.depth.astype(np.float64), candidate.depth.astype(np.float64)
    with np.errstate(invalid="ignore"):  # infinite on both sides
        is_near = np.abs(actual - expected) <= DEPTH_TOLERANCE * np.abs(expected)
    return count_agreeing((actual == expected) | (is_near & np.isfinite(actual)), is_known)


DEPTH = ResultKind(
    name="depth",
    result_type=DepthMap,
    topic="depth",
    adapters=("edge_inference.nodes.conversions.results.depth:DepthAdapter",),
    to_json=_to_json,
    to_lines=_to_lines,
    scores_by_label=None,
    top_score=None,
    warning=_warning,
    draw=_draw,
    golden=None,
    agree=_agree,
)
