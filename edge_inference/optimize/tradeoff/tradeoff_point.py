"""What was measured of the operating points of one or several models on one machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_inference.core.measured_costs import Spread
from edge_inference.engines.precision.int8_mode import FAST
from edge_inference.optimize.comparison import REFERENCE, MeasuredAccuracy

#: Accuracy is the share of labeled images whose class is named first …
TOP1 = "top-1"
#: … or, without labels, the share of results that are those of the same model in fp32.
AGREEMENT = "agreement with fp32"
ACCURACY_KINDS = (TOP1, AGREEMENT)


@dataclass(frozen=True)
class TradeoffPoint:
    """One model in one engine, precision, input size and batch; None for what was not measured.

    ``width`` and ``height`` are those of the input in pixels. ``accuracy`` counts images, or
    results by agreement. ``latency`` has seconds of one inference of ``batch`` images;
    ``is_cpu_time`` tells whether it is the CPU time of its only thread. ``sparsity`` is the share
    of zeros among the weights in fp32, ``energy_j`` the energy of the whole machine for one image.
    ``problem`` says why the point cannot be used: its engine does not run here, or its results
    differ too much from those in fp32.
    """

    model: str
    backend: str
    precision: str
    width: int
    height: int
    int8_mode: str | None = None
    batch: int = 1
    accuracy: MeasuredAccuracy | None = None
    latency: Spread | None = None
    is_cpu_time: bool = False
    file_bytes: int | None = None
    sparsity: float | None = None
    energy_j: float | None = None
    problem: str = ""

    @property
    def name(self) -> str:
        """Return a name that no other point of the same trade-off has."""
        fast = " fast" if self.int8_mode == FAST else ""
        batch = f", batch {self.batch}" if self.batch > 1 else ""
        size = f"{self.width}x{self.height}"
        return f"{self.model} {size} {self.backend} {self.precision}{fast}{batch}"

    @property
    def is_reference(self) -> bool:
        """Tell whether agreement is measured against this very engine."""
        return (self.backend, self.precision) == REFERENCE

    @property
    def image_s(self) -> float | None:
        """The seconds for one image: the median of an inference over the images in it."""
        return None if self.latency is None else self.latency.median_s / self.batch


@dataclass(frozen=True)
class Tradeoff:
    """The points, and how they were measured.

    ``images`` describes the images of each model by its name. ``machine`` is everything that
    changes an inference's time, ``taken_s`` the time in seconds since the epoch. ``problems`` are
    sentences about costs that could not be stored, and about what was not measured.
    """

    points: tuple[TradeoffPoint, ...]
    accuracy_kind: str
    images: Mapping[str, str]
    runs: int
    threads: int
    machine: Mapping[str, str]
    taken_s: float
    problems: tuple[str, ...] = ()

    def usable(self) -> tuple[TradeoffPoint, ...]:
        """Return the points without a problem whose accuracy and latency are known."""
        return tuple(
            point
            for point in self.points
            if not point.problem and point.accuracy is not None and point.latency is not None
        )

    def point(self, name: str) -> TradeoffPoint | None:
        """Return the point of this name, None if there is none."""
        return next((point for point in self.points if point.name == name), None)

    def summary(self) -> str:
        """Return the number of points and their range in one sentence."""
        usable = self.usable()
        if not usable:
            return f"none of {len(self.points)} points has both an accuracy and a latency"
        shares = [point.accuracy.share for point in usable if point.accuracy is not None]
        times = [1e3 * point.image_s for point in usable if point.image_s is not None]
        return (
            f"{len(usable)} of {len(self.points)} points can be used: {self.accuracy_kind} "
            f"{min(shares):.1%} to {max(shares):.1%}, {min(times):.3g} to {max(times):.3g} ms for "
            "one image"
        )

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values; a figure that was not measured is None."""
        return {
            "accuracy_kind": self.accuracy_kind,
            "images": dict(self.images),
            "runs": self.runs,
            "threads": self.threads,
            "machine": dict(self.machine),
            "taken_s": self.taken_s,
            "problems": list(self.problems),
            "points": [point_as_json(point) for point in self.points],
        }


def point_as_json(point: TradeoffPoint) -> dict[str, Any]:
    """Return one point as plain values."""
    return {
        "model": point.model,
        "backend": point.backend,
        "precision": point.precision,
        "int8_mode": point.int8_mode,
        "batch": point.batch,
        "width": point.width,
        "height": point.height,
        "correct": None if point.accuracy is None else point.accuracy.correct,
        "total": None if point.accuracy is None else point.accuracy.total,
        "median_s": None if point.latency is None else point.latency.median_s,
        "p95_s": None if point.latency is None else point.latency.p95_s,
        "is_cpu_time": point.is_cpu_time,
        "file_bytes": point.file_bytes,
        "sparsity": point.sparsity,
        "energy_j": point.energy_j,
        "problem": point.problem,
    }
