"""The class of every pixel, the result of a semantic segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.results.golden_form import GoldenComparison, GoldenForm, Tolerance
from edge_inference.core.results.result import label_of
from edge_inference.core.results.result_agreement import (
    Leniency,
    ResultAgreement,
    count_agreeing,
    expect_same_shape,
)
from edge_inference.core.results.result_kind import ResultKind
from edge_inference.core.settings import setting

if TYPE_CHECKING:
    from edge_inference.core.images.canvas import Canvas

_MAX_LABELS = 5
"""Labels that are written on an image, those of the largest areas."""
_BACKGROUND = frozenset({"background", "__background__", "_background_"})


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The class of every pixel: ``mask`` is ``(source_height, source_width)`` uint8 or uint16.

    ``score`` is the mean probability of the winning class over all pixels.
    Pixels outside a model's centre crop hold ``unknown_id``.
    """

    mask: NDArray[np.unsignedinteger[Any]]
    labels: tuple[str, ...]
    score: float
    model: str = ""
    stamp_ns: int = 0
    frame_id: str = ""
    unknown_id: int = field(default=255)


@dataclass(frozen=True)
class ExpectedArea:
    """The share of the image that a class must cover."""

    label: str = setting(description="the class")
    share: float = setting(description="its share of all pixels", minimum=0.0, maximum=1.0)


def _to_json(result: Segmentation) -> list[dict[str, Any]]:
    """Return label and share of the image for each class, largest first."""
    counts = np.bincount(result.mask.reshape(-1))
    total = result.mask.size
    order = sorted(np.flatnonzero(counts), key=lambda class_id: -counts[class_id])
    return [
        {
            "label": label_of(result.labels, int(class_id)),
            "share": round(float(counts[class_id]) / total, 4),
        }
        for class_id in order
        if class_id != result.unknown_id
    ]


def _to_lines(result: Segmentation, limit: int) -> list[str]:
    return [f"{entry['label']} {entry['share']:.0%}" for entry in _to_json(result)[:limit]]


def _top_score(result: Segmentation) -> float:
    return result.score


def _draw(canvas: Canvas, result: Segmentation) -> None:
    canvas.expect_size(result.mask.shape[1], result.mask.shape[0])
    counts = np.bincount(result.mask.ravel(), minlength=len(result.labels))
    counts[result.unknown_id :] = 0
    is_tinted = counts > 0
    for class_id, label in enumerate(result.labels):
        is_tinted[class_id] &= label.lower() not in _BACKGROUND
    canvas.tint_classes(result.mask, is_tinted)
    order = np.argsort(-counts, kind="stable")
    largest = order[is_tinted[order]][:_MAX_LABELS]
    canvas.write_list(
        (f"{label_of(result.labels, int(i))} {counts[i] / result.mask.size:.0%}" for i in largest),
        class_ids=[int(i) for i in largest],
    )


def _compare_golden(
    expected: Sequence[ExpectedArea], result: Segmentation, tolerance: Tolerance
) -> GoldenComparison:
    comparison = GoldenComparison()
    for item in expected:
        has_label = item.label in result.labels
        class_id = result.labels.index(item.label) if has_label else int(item.label)
        share = float(np.mean(result.mask == class_id))
        comparison.compare_scores(item.label, item.share, share, tolerance.score)
    return comparison


def _agree(
    reference: Segmentation, candidate: Segmentation, leniency: Leniency[Segmentation]
) -> ResultAgreement:
    """Count the pixels that are not unknown on both sides; equal classes agree."""
    del leniency
    expect_same_shape("masks", reference.mask, candidate.mask)
    is_known = (reference.mask != reference.unknown_id) | (candidate.mask != candidate.unknown_id)
    return count_agreeing(reference.mask == candidate.mask, is_known)


SEGMENTATION = ResultKind(
    name="segmentation",
    result_type=Segmentation,
    topic="segmentation",
    adapters=("edge_inference.nodes.conversions.results.segmentation:SegmentationAdapter",),
    to_json=_to_json,
    to_lines=_to_lines,
    scores_by_label=None,
    top_score=_top_score,
    warning=None,
    draw=_draw,
    golden=GoldenForm("areas", ExpectedArea, _compare_golden),
    agree=_agree,
)
