"""The summary of a run, as figures and as JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from edge_inference.cli.perception.frame_tracker import STAGES
from edge_inference.core.results import Result, kind_of
from edge_inference.core.runtime.latency import LatencyReport, Percentiles, StageLatency


@dataclass(frozen=True)
class EngineSummary:
    """The engine that actually runs the model."""

    model: str
    task: str
    backend: str
    precision: str

    def __str__(self) -> str:
        return f"{self.model} {self.precision} ({self.task}) on {self.backend}"


@dataclass(frozen=True)
class RunSummary:
    """The figures of a run that has ended.

    ``read`` is None for topics, whose images are not counted before the first
    stage. With ``is_lossless``, images waited in a queue instead of being
    dropped, so that ages include the waiting. ``first_result_s`` and
    ``rate_hz`` are None where too few results came.
    """

    source: str
    engine: EngineSummary
    ended: str
    read: int | None
    results: int
    unreadable: int
    drops: dict[str, int]
    wall_s: float
    first_result_s: float | None
    rate_hz: float | None
    stages: tuple[StageLatency, ...]
    found: ResultCounts
    is_lossless: bool
    overlay_folder: str = ""
    overlays_written: int = 0
    overlays_failed: int = 0

    @property
    def end_to_end(self) -> Percentiles:
        """Return the age of the results: milliseconds from capture to the end of decode."""
        ages = [stage.age for stage in self.stages if stage.stage == STAGES[-1]]
        return ages[0] if ages else Percentiles()

    def as_json(self) -> dict[str, Any]:
        """Return the object of the last line of ``--json``."""
        summary: dict[str, Any] = {
            "source": self.source,
            **asdict(self.engine),
            "ended": self.ended,
            "lossless": self.is_lossless,
            "frames": {
                "read": self.read,
                "results": self.results,
                "unreadable": self.unreadable,
                "dropped": self.drops,
            },
            "wall_s": round(self.wall_s, 3),
            "first_result_s": _rounded(self.first_result_s),
            "rate_hz": _rounded(self.rate_hz),
            "stages": {stage.stage: _stage_to_json(stage) for stage in self.stages},
            "end_to_end_ms": _percentiles_to_json(self.end_to_end),
        }
        if self.overlay_folder:
            summary["overlays"] = {
                "folder": self.overlay_folder,
                "written": self.overlays_written,
                "failed": self.overlays_failed,
            }
        return {"summary": summary}


class ResultCounts:
    """Counts in how many images each label was found, and its best score."""

    def __init__(self) -> None:
        self.images: Counter[str] = Counter()
        self.best_score: dict[str, float] = {}

    def add(self, result: Result) -> None:
        """Count a result; of a kind without labels to count, nothing."""
        kind = kind_of(result)
        if kind.scores_by_label is None:
            return
        found = kind.scores_by_label(result)
        self.images.update({label for label, _ in found})
        for label, score in found:
            self.best_score[label] = max(score, self.best_score.get(label, score))


def sort_stages(report: LatencyReport) -> tuple[StageLatency, ...]:
    """Return a report's stages in the order in which an image passes them, then other stages."""
    place = {name: index for index, name in enumerate(STAGES)}
    return tuple(sorted(report.stages, key=lambda stage: place.get(stage.stage, len(STAGES))))


def _stage_to_json(stage: StageLatency) -> dict[str, Any]:
    return {
        "count": stage.count,
        "rate_hz": _rounded(stage.rate_hz),
        "process_ms": _percentiles_to_json(stage.process),
        "queue_ms": _percentiles_to_json(stage.queue),
        "age_ms": _percentiles_to_json(stage.age),
        "dropped": stage.drops,
    }


def _percentiles_to_json(figures: Percentiles) -> dict[str, float | None]:
    return {name: _rounded(value) for name, value in asdict(figures).items()}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
