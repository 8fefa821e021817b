"""What a distillation did and what was measured of student and teacher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edge_inference.core.measured_costs import Spread
from edge_inference.optimize.comparison import MeasuredAccuracy
from edge_inference.optimize.training.torch_model import TorchModel


@dataclass(frozen=True)
class StageReport:
    """One stage: its images, the loss of its last epoch, and the student's accuracy after it."""

    number: int
    epochs: int
    labeled: int
    unlabeled: int
    temperature: float
    alpha: float
    features: float
    loss: float
    accuracy: MeasuredAccuracy | None


@dataclass(frozen=True)
class DistillationReport:
    """A student and what was measured of it and its teacher; None was not measured.

    ``before`` and ``after`` are the student's accuracies, ``alone`` that of the same student
    trained as long, in the same stages, with the labels only. Latencies are CPU seconds of one
    inference in ONNX Runtime on one thread, measured interleaved; ``note`` says why one is missing.
    """

    model: TorchModel
    teacher_name: str
    stages: tuple[StageReport, ...]
    parameters: int
    teacher_parameters: int
    teacher: MeasuredAccuracy | None = None
    before: MeasuredAccuracy | None = None
    after: MeasuredAccuracy | None = None
    alone: MeasuredAccuracy | None = None
    latency: Spread | None = None
    teacher_latency: Spread | None = None
    note: str = ""

    @property
    def speedup(self) -> float | None:
        """Return the student's speed over the teacher's, by the medians."""
        if self.latency is None or self.teacher_latency is None:
            return None
        return self.teacher_latency.median_s / self.latency.median_s

    def summary(self) -> str:
        """Return some sentences for people."""
        share = self.parameters / max(self.teacher_parameters, 1)
        sentences = [
            f"the student {self.model.name} has {self.parameters} weights, {share:.1%} of those of "
            f"the teacher {self.teacher_name}"
        ]
        if self.after is not None:
            known = {"before": self.before, "trained alone": self.alone, "teacher": self.teacher}
            others = ", ".join(
                f"{name} {each.share:.1%}" for name, each in known.items() if each is not None
            )
            sentences.append(
                f"it is right for {self.after.share:.1%} of {self.after.total} images ({others})"
            )
            if self.alone is not None and self.after.correct <= self.alone.correct:
                sentences.append("the teacher did not help")
            if self.teacher is not None and self.teacher.correct <= self.after.correct:
                sentences.append("the teacher is not better than the student: choose another one")
        if self.latency is not None and self.teacher_latency is not None:
            faster = self.teacher_latency.median_s / self.latency.median_s
            sentences.append(
                f"it takes {self.latency.median_s * 1e3:.3g} ms instead of "
                f"{self.teacher_latency.median_s * 1e3:.3g} ms ({faster:.2f} times as fast)"
            )
        if self.note:
            sentences.append(self.note)
        return "; ".join(sentences)

    def to_json(self) -> dict[str, Any]:
        """Return all figures as plain values, shares from 0 to 1 and times in milliseconds."""
        return {
            "student": self.model.name,
            "teacher": self.teacher_name,
            "parameters": self.parameters,
            "teacher_parameters": self.teacher_parameters,
            "accuracy": {
                name: None if each is None else {"share": each.share, "images": each.total}
                for name, each in (
                    ("teacher", self.teacher),
                    ("before", self.before),
                    ("after", self.after),
                    ("alone", self.alone),
                )
            },
            "latency_ms": _milliseconds(self.latency),
            "teacher_latency_ms": _milliseconds(self.teacher_latency),
            "speedup": self.speedup,
            "stages": [
                {
                    "epochs": each.epochs,
                    "labeled": each.labeled,
                    "unlabeled": each.unlabeled,
                    "temperature": each.temperature,
                    "alpha": each.alpha,
                    "features": each.features,
                    "loss": each.loss,
                    "accuracy": None if each.accuracy is None else each.accuracy.share,
                }
                for each in self.stages
            ],
            "summary": self.summary(),
        }


def _milliseconds(spread: Spread | None) -> dict[str, float] | None:
    if spread is None:
        return None
    return {"median": spread.median_s * 1e3, "p95": spread.p95_s * 1e3}
