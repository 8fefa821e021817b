"""A kind of result: the keypoints of people, and the decoder of YOLOv8-pose that finds them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.decoders import (
    Candidates,
    DecodeContext,
    OverlapSettings,
    checks,
    corners,
    register,
    select_non_overlapping,
)
from edge_inference.core.results import (
    GoldenComparison,
    GoldenForm,
    Leniency,
    ResultAgreement,
    ResultKind,
)
from edge_inference.core.settings import setting

if TYPE_CHECKING:  # the kind itself needs no OpenCV
    from edge_inference.core.images.canvas import Canvas

LABEL = "person"
#: The keypoints of COCO, in its order.
NAMES = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)
#: The keypoints that a line connects.
LIMBS = (
    *((0, 1), (0, 2), (1, 3), (2, 4)),
    *((5, 6), (5, 7), (7, 9), (6, 8), (8, 10)),
    *((5, 11), (6, 12), (11, 12), (11, 13), (13, 15), (12, 14), (14, 16)),
)
#: Keypoints with a lower score are hidden or outside the image; they are not drawn or counted.
MIN_POINT_SCORE = 0.5
#: Distance of two keypoints that agree, as a share of the larger side of the person.
MATCH_DISTANCE = 0.1
#: Share of the keypoints that must agree if two people are the same.
MATCH_SHARE = 0.5


@dataclass(frozen=True, eq=False)
class Keypoints:
    """People in one image, best score first.

    ``points`` is ``(N, 17, 2)`` float32 x, y in source pixels in the order of ``NAMES``, and
    ``point_scores`` ``(N, 17)`` float32 in 0..1: how likely each is visible. ``scores`` is
    ``(N,)`` float32 in 0..1. ``source_width`` and ``source_height`` are None where a message from
    outside lacks them.
    """

    points: NDArray[np.float32]
    point_scores: NDArray[np.float32]
    scores: NDArray[np.float32]
    source_width: int | None
    source_height: int | None
    model: str = ""
    stamp_ns: int = 0
    frame_id: str = ""

    def __len__(self) -> int:
        return len(self.scores)


# Decoder ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PoseSettings(OverlapSettings):
    """Which output contains the people, and which of them are reported."""

    pose_output: str = setting("", "output with the people; empty: automatic", read_only=True)


@register("yolov8_pose", PoseSettings)
def decode(
    outputs: Mapping[str, NDArray[Any]], context: DecodeContext, settings: PoseSettings
) -> Keypoints:
    """Decode ``[1, 56, N]``: centre x, y, width, height, score, and x, y, score of 17 keypoints."""
    output = checks.choose_output(
        outputs,
        settings.pose_output,
        setting="pose_output",
        expected="people [1, 56, N]",
        fits=lambda array: array.ndim == 3,
    )
    shape = (1, 5 + 3 * len(NAMES), "N")
    checks.expect_shape(output, shape, "name it with pose_output in model.yaml")
    rows = checks.to_floats(output)[0].T
    rows = rows[checks.to_probabilities(output.name, rows[:, 4]) >= settings.confidence]
    people = Candidates(
        corners(rows[:, :2], rows[:, 2:4]),
        np.minimum(rows[:, 4], 1),
        np.zeros(len(rows), np.int32),
        output.name,
        beside={"keypoints": rows[:, 5:].reshape(-1, len(NAMES), 3)},
    )
    people = select_non_overlapping(people, context, settings)
    found = people.beside["keypoints"]
    return Keypoints(
        points=context.geometry.points_to_source(found[..., :2]).astype(np.float32),
        point_scores=checks.to_probabilities(output.name, found[..., 2]),
        scores=people.scores.astype(np.float32),
        source_width=context.geometry.source_width,
        source_height=context.geometry.source_height,
    )


# For people: JSON, text, drawing ------------------------------------------------------------------


def to_json(result: Keypoints) -> list[dict[str, Any]]:
    """Return label, score and keypoints of each person."""
    return [
        {
            "label": LABEL,
            "score": round(float(result.scores[person]), 4),
            "keypoints": [
                {"name": name, "x": round(x, 1), "y": round(y, 1), "score": round(score, 4)}
                for name, (x, y), score in zip(
                    NAMES,
                    result.points[person].tolist(),
                    result.point_scores[person].tolist(),
                    strict=True,
                )
            ],
        }
        for person in range(len(result))
    ]


def to_lines(result: Keypoints, limit: int) -> list[str]:
    """Return score and number of visible keypoints of each person."""
    visible = (result.point_scores >= MIN_POINT_SCORE).sum(axis=1)
    return [
        f"{LABEL} {score:.2f}, {count} of {len(NAMES)} keypoints"
        for score, count in zip(result.scores[:limit], visible, strict=False)
    ]


def scores_by_label(result: Keypoints) -> list[tuple[str, float]]:
    """Return each person's score."""
    return [(LABEL, float(score)) for score in result.scores]


def top_score(result: Keypoints) -> float:
    """Return the best score, NaN without anybody."""
    return float(result.scores[0]) if len(result) else math.nan


def draw(canvas: Canvas, result: Keypoints) -> None:
    """Draw the limbs, and a dot for each visible keypoint."""
    import cv2

    from edge_inference.core.images.canvas import class_color

    canvas.expect_size(result.source_width, result.source_height)
    width = canvas.line_width
    for points, scores in zip(np.rint(result.points), result.point_scores, strict=True):
        places = [tuple(point) for point in points.astype(int).tolist()]
        is_visible = (scores >= MIN_POINT_SCORE).tolist()
        for limb, (start, end) in enumerate(LIMBS):
            if is_visible[start] and is_visible[end]:
                cv2.line(canvas.pixels, places[start], places[end], class_color(limb), width)
        for place in (place for place, visible in zip(places, is_visible, strict=True) if visible):
            cv2.circle(canvas.pixels, place, 2 * width, (255, 255, 255), cv2.FILLED)


# For checks: golden images, agreement -------------------------------------------------------------


@dataclass(frozen=True)
class ExpectedPerson:
    """A person that the model must find."""

    score: float = setting(description="the score", minimum=0.0, maximum=1.0)
    points: tuple[float, ...] = setting(
        description="x, y of all keypoints, in order", unit="source px"
    )

    def check(self) -> str | None:
        """Return why the points are invalid, None if they are valid."""
        if len(self.points) != 2 * len(NAMES):
            return f"points: expected {2 * len(NAMES)} numbers, got {len(self.points)}"
        return None


@dataclass(frozen=True)
class KeypointTolerance:
    """How far the people found may differ from the expected ones and still pass."""

    distance: float = setting(
        MATCH_DISTANCE, "maximum distance of a keypoint, as a share of the person", minimum=0.0
    )
    correct: float = setting(
        0.8, "minimum share of the keypoints within that distance", minimum=0.0, maximum=1.0
    )
    score: float = setting(0.1, "maximum difference of a score", minimum=0.0, maximum=1.0)
    extra: float = setting(
        0.6, "minimum score of an unlisted person that fails the check", minimum=0.0, maximum=1.0
    )


def share_correct(
    points: NDArray[np.floating[Any]], others: NDArray[np.floating[Any]], distance: float
) -> NDArray[np.float64]:
    """Return for each of ``(M, 17, 2)`` others the share of keypoints that are near ``(17, 2)``."""
    near = distance * np.ptp(points, axis=0).max()
    return np.asarray((np.linalg.norm(others - points, axis=2) <= near).mean(axis=1))


def compare_golden(
    expected: Sequence[ExpectedPerson], result: Keypoints, tolerance: KeypointTolerance
) -> GoldenComparison:
    """Match each expected person with the most similar one that is left."""
    comparison = GoldenComparison()
    free = list(range(len(result)))
    for person in expected:
        points = np.array(person.points).reshape(-1, 2)
        shares = share_correct(points, result.points[free], tolerance.distance)
        if shares.max(initial=0.0) < tolerance.correct:
            comparison.reasons.append(
                f"expected a {LABEL} with the {NAMES[0]} at {list(person.points[:2])}, at most "
                f"{shares.max(initial=0.0):.0%} of the keypoints are near, {tolerance.correct:.0%} "
                "are needed"
            )
            continue
        found = free.pop(int(shares.argmax()))
        score = float(result.scores[found])
        comparison.compare_scores(LABEL, person.score, score, tolerance.score)
    for index in free:
        if result.scores[index] >= tolerance.extra:
            comparison.reasons.append(f"unexpected {LABEL} with score {result.scores[index]:.2f}")
    return comparison


def agree(
    reference: Keypoints, candidate: Keypoints, leniency: Leniency[Keypoints]
) -> ResultAgreement:
    """Count the people of both sides: one agrees if the other side's lenient result has it too."""
    matches = _count_matches(reference, leniency.candidate)
    matches += _count_matches(candidate, leniency.reference)
    return ResultAgreement(matches, len(reference) + len(candidate))


def _count_matches(people: Keypoints, others: Keypoints) -> int:
    free = list(range(len(others)))
    for points in people.points:
        shares = share_correct(points, others.points[free], MATCH_DISTANCE)
        if shares.max(initial=0.0) >= MATCH_SHARE:
            free.pop(int(shares.argmax()))
    return len(others) - len(free)


KEYPOINTS = ResultKind(
    name="keypoints",
    result_type=Keypoints,
    topic="keypoints",
    adapters=("my_robot.keypoints_message:KeypointsAdapter",),
    to_json=to_json,
    to_lines=to_lines,
    scores_by_label=scores_by_label,
    top_score=top_score,
    warning=None,
    draw=draw,
    golden=GoldenForm(
        "people",
        ExpectedPerson,
        compare_golden,
        may_be_empty=True,
        tolerance_class=KeypointTolerance,
    ),
    agree=agree,
)
