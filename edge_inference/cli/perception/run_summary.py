"""The summary of a run, as figures and as JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from edge_inference.cli.perception.frame_tracker import STAGES
from edge_inference.cli.sessions.latency_format import (
    count_lost,
    percentiles_to_json,
    rounded,
    sort_stages,
    stage_to_json,
)
from edge_inference.core.results import Result, kind_of
from edge_inference.core.runtime.latency import (
    EndToEndLatency,
    LatencyReport,
    Percentiles,
    StageLatency,
)
from edge_inference.observe.clock_faults import count_clock_faults
from edge_inference.observe.recording.mcap_recorder import RecordingSummary


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
    ``rate_hz`` are None where too few results came. ``latency`` covers the whole run.
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
    latency: LatencyReport
    found: ResultCounts
    is_lossless: bool
    overlay_folder: str = ""
    overlays_written: int = 0
    overlays_failed: int = 0
    recording: RecordingSummary | None = None

    @property
    def stages(self) -> tuple[StageLatency, ...]:
        """Return the figures of the stages in their order."""
        return sort_stages(self.latency)

    @property
    def end_to_end(self) -> Percentiles:
        """Return the milliseconds from capture to the end of publishing the results."""
        end = result_end(self.latency)
        return Percentiles() if end is None else end.recent

    @property
    def deadline_misses(self) -> int:
        """Return how many results came after the deadline."""
        end = result_end(self.latency)
        return 0 if end is None else end.deadline_misses

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
            "first_result_s": rounded(self.first_result_s),
            "rate_hz": rounded(self.rate_hz),
            "stages": {stage.stage: stage_to_json(stage) for stage in self.stages},
            "end_to_end_ms": percentiles_to_json(self.end_to_end),
            "lost": count_lost(self.stages),
            "deadline_ms": self.latency.deadline_ms,
            "deadline_misses": self.deadline_misses,
            "clock_faults": count_clock_faults(self.latency),
        }
        if self.overlay_folder:
            summary["overlays"] = {
                "folder": self.overlay_folder,
                "written": self.overlays_written,
                "failed": self.overlays_failed,
            }
        if self.recording is not None:
            summary["recording"] = self.recording.to_json()
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


def result_end(report: LatencyReport) -> EndToEndLatency | None:
    """Return the figures from end to end of the stage that publishes the results."""
    return next((end for end in report.ends if end.stage == STAGES[-1]), None)
