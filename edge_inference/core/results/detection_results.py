"""Objects with their boxes, the result of a detector."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.results.boxes import box_ious, box_to_json
from edge_inference.core.results.golden_form import GoldenComparison, GoldenForm, Tolerance
from edge_inference.core.results.result import label_of
from edge_inference.core.results.result_agreement import MATCH_IOU, Leniency, ResultAgreement
from edge_inference.core.results.result_kind import ResultKind
from edge_inference.core.settings import setting

if TYPE_CHECKING:
    from edge_inference.core.images.canvas import Canvas


@dataclass(frozen=True, eq=False)
class Detections:
    """Objects in one image, best score first.

    ``boxes`` is ``(N, 4)`` float32 x1, y1, x2, y2 in source pixels, ``scores``
    ``(N,)`` float32 in 0..1, ``class_ids`` ``(N,)`` int32. ``labels`` names
    every class of the model, so ``labels[class_ids[i]]`` is the i-th name.
    ``source_width`` and ``source_height`` are None where a message from outside lacks them.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int32]
    labels: tuple[str, ...]
    source_width: int | None
    source_height: int | None
    model: str = ""
    stamp_ns: int = 0
    frame_id: str = ""

    def __len__(self) -> int:
        return len(self.scores)

    def label(self, index: int) -> str:
        """Return the class name of one detection."""
        return label_of(self.labels, int(self.class_ids[index]))


@dataclass(frozen=True)
class ExpectedObject:
    """An object that a detector must find."""

    label: str = setting(description="its class")
    score: float = setting(description="its score", minimum=0.0, maximum=1.0)
    box: tuple[float, ...] = setting(description="x, y, width, height", unit="source px")

    def check(self) -> str | None:
        """Return why the box is invalid, None if it is valid."""
        if len(self.box) != 4 or min(self.box[2:]) <= 0:
            return (
                f"box: expected x, y, width, height with both sizes above 0, got {list(self.box)}"
            )
        return None


def _to_json(result: Detections) -> list[dict[str, Any]]:
    """Return label, score and box (x, y, width, height in source pixels) of each object."""
    return [
        {
            "label": result.label(index),
            "score": round(float(result.scores[index]), 4),
            "box": box_to_json(result.boxes[index]),
        }
        for index in range(len(result))
    ]


def _to_lines(result: Detections, limit: int) -> list[str]:
    lines = []
    for entry in _to_json(result)[:limit]:
        box = ", ".join(f"{side:.0f}" for side in entry["box"])
        lines.append(f"{entry['label']} {entry['score']:.2f} [{box}]")
    return lines


def _scores_by_label(result: Detections) -> list[tuple[str, float]]:
    return [(result.label(index), float(score)) for index, score in enumerate(result.scores)]


def _top_score(result: Detections) -> float:
    return float(result.scores[0]) if len(result) else math.nan


def _draw(canvas: Canvas, result: Detections) -> None:
    canvas.expect_size(result.source_width, result.source_height)
    # The detection with the best score is drawn last, on top.
    for index in range(len(result) - 1, -1, -1):
        text = f"{result.label(index)} {result.scores[index]:.2f}"
        canvas.draw_box(result.boxes[index], int(result.class_ids[index]), text)


def _compare_golden(
    expected: Sequence[ExpectedObject], result: Detections, tolerance: Tolerance
) -> GoldenComparison:
    comparison = GoldenComparison()
    unmatched = set(range(len(result)))
    for item in expected:
        x, y, width, height = item.box
        box = np.array([x, y, x + width, y + height])
        ious = box_ious(box, result.boxes.astype(np.float64))
        same_label = [index for index in unmatched if result.label(index) == item.label]
        best = max(same_label, key=lambda index: float(ious[index]), default=None)
        iou = 0.0 if best is None else float(ious[best])
        comparison.ious.append(iou)
        if best is None or iou < tolerance.iou:
            comparison.reasons.append(
                f"expected {item.label} at {list(item.box)}, best overlap "
                f"{iou:.2f}, at least {tolerance.iou:g} is needed"
            )
            continue
        unmatched.remove(best)
        score = float(result.scores[best])
        comparison.compare_scores(item.label, item.score, score, tolerance.score)
    for index in sorted(unmatched):
        score = float(result.scores[index])
        if score >= tolerance.extra:
            comparison.reasons.append(f"unexpected {result.label(index)} with score {score:.2f}")
    return comparison


def _agree(
    reference: Detections, candidate: Detections, leniency: Leniency[Detections]
) -> ResultAgreement:
    """Count the boxes of both sides.

    A box agrees if the other side's lenient result has a box of the same label with an
    intersection over union of at least 0.5. Each box matches once; boxes with higher scores are
    matched first.
    """
    matches = _count_matches(reference, leniency.candidate)
    matches += _count_matches(candidate, leniency.reference)
    return ResultAgreement(matches, len(reference) + len(candidate))


def _count_matches(detections: Detections, others: Detections) -> int:
    """Count the detections that match one of the others."""
    is_free = np.ones(len(others), dtype=np.bool_)
    labels = np.array([others.label(index) for index in range(len(others))], dtype=np.str_)
    boxes = others.boxes.astype(np.float64)
    for index in range(len(detections)):
        same_label = np.flatnonzero(is_free & (labels == detections.label(index)))
        ious = box_ious(detections.boxes[index].astype(np.float64), boxes[same_label])
        if ious.max(initial=0.0) >= MATCH_IOU:
            is_free[same_label[ious.argmax()]] = False
    return int(np.count_nonzero(~is_free))


DETECTION = ResultKind(
    name="detection",
    result_type=Detections,
    topic="detections",
    adapters=(
        "edge_inference.nodes.conversions.results.vision:VisionDetectionAdapter",
        "edge_inference.nodes.conversions.results.detection:DetectionArrayAdapter",
    ),
    to_json=_to_json,
    to_lines=_to_lines,
    scores_by_label=_scores_by_label,
    top_score=_top_score,
    warning=None,
    draw=_draw,
    golden=GoldenForm("objects", ExpectedObject, _compare_golden, may_be_empty=True),
    agree=_agree,
)
