"""The most likely classes of an image, the result of a classifier."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.results.golden_form import GoldenComparison, GoldenForm, Tolerance
from edge_inference.core.results.result import label_of
from edge_inference.core.results.result_agreement import Leniency, ResultAgreement
from edge_inference.core.results.result_kind import ResultKind
from edge_inference.core.settings import setting

if TYPE_CHECKING:
    from edge_inference.core.images.canvas import Canvas


@dataclass(frozen=True, eq=False)
class Classification:
    """The most likely classes of one image, best first; scores are probabilities."""

    class_ids: NDArray[np.int32]
    scores: NDArray[np.float32]
    labels: tuple[str, ...]
    model: str = ""
    stamp_ns: int = 0
    frame_id: str = ""

    def __len__(self) -> int:
        return len(self.scores)

    def label(self, index: int) -> str:
        """Return the class name of one entry."""
        return label_of(self.labels, int(self.class_ids[index]))


@dataclass(frozen=True)
class ExpectedClass:
    """A class that a classifier must report; the first of a list must be the best."""

    label: str = setting(description="the class")
    score: float = setting(description="its probability", minimum=0.0, maximum=1.0)


def _to_json(result: Classification) -> list[dict[str, Any]]:
    """Return label and score of each class."""
    return [
        {"label": result.label(index), "score": round(float(result.scores[index]), 4)}
        for index in range(len(result))
    ]


def _to_lines(result: Classification, limit: int) -> list[str]:
    return [f"{entry['label']} {entry['score']:.2f}" for entry in _to_json(result)[:limit]]


def _scores_by_label(result: Classification) -> list[tuple[str, float]]:
    """Return only the best class: the others were not found, but less likely."""
    return [(result.label(0), float(result.scores[0]))] if len(result) else []


def _top_score(result: Classification) -> float:
    return float(result.scores[0]) if len(result) else math.nan


def _draw(canvas: Canvas, result: Classification) -> None:
    canvas.write_list(
        f"{result.label(index)} {result.scores[index]:.2f}" for index in range(len(result))
    )


def _compare_golden(
    expected: Sequence[ExpectedClass], result: Classification, tolerance: Tolerance
) -> GoldenComparison:
    comparison = GoldenComparison()
    scores = {result.label(index): float(result.scores[index]) for index in range(len(result))}
    best = result.label(0) if len(result) else "nothing"
    if expected and best != expected[0].label:
        comparison.reasons.append(f"expected {expected[0].label} first, got {best}")
    for item in expected:
        if item.label in scores:
            actual = scores[item.label]
            comparison.compare_scores(item.label, item.score, actual, tolerance.score)
        else:
            comparison.reasons.append(f"{item.label} is not among the first {len(result)}")
    return comparison


def _agree(
    reference: Classification, candidate: Classification, leniency: Leniency[Classification]
) -> ResultAgreement:
    """Count one image: both name the same class first. An image without a class is not counted.

    The candidate may also name a class whose score in the reference is at most the margin below
    the first: a tie, which any rounding error can decide.
    """
    if not (len(reference) and len(candidate)):
        return ResultAgreement(0, int(len(reference) != len(candidate)))
    ranks = np.flatnonzero(reference.class_ids == candidate.class_ids[0])
    is_same = bool(ranks.size) and bool(
        ranks[0] == 0 or reference.scores[0] - reference.scores[ranks[0]] <= leniency.margin
    )
    return ResultAgreement(int(is_same), 1)


CLASSIFICATION = ResultKind(
    name="classification",
    result_type=Classification,
    topic="classification",
    adapters=(
        "edge_inference.nodes.conversions.results.vision:VisionClassificationAdapter",
        "edge_inference.nodes.conversions.results.classification:ClassificationAdapter",
    ),
    to_json=_to_json,
    to_lines=_to_lines,
    scores_by_label=_scores_by_label,
    top_score=_top_score,
    warning=None,
    draw=_draw,
    golden=GoldenForm("classes", ExpectedClass, _compare_golden),
    agree=_agree,
)
