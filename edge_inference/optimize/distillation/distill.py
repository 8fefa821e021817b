"""Trains a student with the outputs of a teacher as targets, in one stage or several."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from edge_inference.backends.base import Backend
from edge_inference.backends.ort import OrtBackend
from edge_inference.core.measured_costs import Spread
from edge_inference.engines.cache.artifacts import Cancelled, Progress
from edge_inference.engines.interleaved_timing import time_interleaved
from edge_inference.errors import (
    BackendError,
    CancelledError,
    ConfigError,
    ModelError,
    SourceError,
)
from edge_inference.optimize.distillation.distillation_loss import (
    FeatureMatching,
    LayerPair,
    NumberedImages,
    make_loss,
)
from edge_inference.optimize.distillation.distillation_report import (
    DistillationReport,
    StageReport,
)
from edge_inference.optimize.distillation.teacher_logits import (
    TeacherLogits,
    check_same_input,
    evaluate_teacher,
    match_classes,
)
from edge_inference.optimize.distillation.teachers import Teacher, TorchTeacher
from edge_inference.optimize.export.onnx_export import export_onnx
from edge_inference.optimize.training.dataset_sources import check_labels
from edge_inference.optimize.training.evaluate import evaluate
from edge_inference.optimize.training.labeled_dataset import LabeledDataset
from edge_inference.optimize.training.torch_model import TorchModel
from edge_inference.optimize.training.train import MAX_SEED, TrainingSettings, deterministic, train


@dataclass(frozen=True)
class DistillationStage:
    """One stage of a progressive distillation; None takes the value of :class:`Distillation`.

    ``dataset`` are its labeled images, by default those of the whole distillation.
    ``uses_unlabeled`` tells whether the unlabeled images are among its images. Raises ConfigError.
    """

    epochs: int
    temperature: float | None = None
    alpha: float | None = None
    features: float | None = None
    learning_rate: float | None = None
    dataset: LabeledDataset | None = None
    uses_unlabeled: bool = True

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ConfigError(f"epochs: expected at least 1, got {self.epochs}")
        _check_weights(self.temperature, self.alpha, self.features)


@dataclass(frozen=True)
class Distillation:
    """How a student learns from its teacher.

    The loss is ``alpha`` times that of the soft targets at ``temperature`` (arXiv 1503.02531) plus
    ``1 - alpha`` times the cross-entropy with the true classes plus ``features`` times that of the
    ``feature_layers`` (arXiv 1412.6550), pairs of paths in the student and in a teacher in
    PyTorch. With alpha 1 no label is used, with alpha 0 and no features no teacher. ``unlabeled``
    are further images, which have soft targets only. ``stages`` replace the epochs of
    ``training``: each continues with the student of the one before, with a learning rate that falls
    to zero again. Raises ConfigError.
    """

    temperature: float = 4.0
    alpha: float = 0.7
    features: float = 0.0
    feature_layers: tuple[LayerPair, ...] = ()
    training: TrainingSettings = field(default_factory=TrainingSettings)
    unlabeled: LabeledDataset | None = None
    stages: tuple[DistillationStage, ...] = ()

    def __post_init__(self) -> None:
        _check_weights(self.temperature, self.alpha, self.features)
        for number, stage in enumerate(self.resolved_stages(), 1):
            where = f"stage {number}: " if self.stages else ""
            if stage.features and not self.feature_layers:
                raise ConfigError(
                    f"{where}features: expected feature_layers, pairs of a layer of the student "
                    "and one of the teacher, got none"
                )
            if stage.uses_unlabeled and self.unlabeled is not None and not stage.alpha:
                raise ConfigError(
                    f"{where}alpha: expected more than 0 with unlabeled images, which have no "
                    "other targets than the teacher's, got 0"
                )
        if self.feature_layers and not any(each.features for each in self.resolved_stages()):
            raise ConfigError(
                "feature_layers: they have no effect with a weight of 0; set features to more "
                "than 0"
            )

    def resolved_stages(self) -> tuple[DistillationStage, ...]:
        """Return the stages with all values but the dataset; one if none are given."""
        training = self.training
        return tuple(
            replace(
                stage,
                temperature=self.temperature if stage.temperature is None else stage.temperature,
                alpha=self.alpha if stage.alpha is None else stage.alpha,
                features=self.features if stage.features is None else stage.features,
                learning_rate=stage.learning_rate or training.learning_rate,
            )
            for stage in self.stages or (DistillationStage(training.epochs),)
        )


def distill(
    student: TorchModel,
    teacher: Teacher,
    dataset: LabeledDataset,
    settings: Distillation | None = None,
    progress: Progress = lambda phase, fraction: None,
    cancelled: Cancelled = lambda: False,
    *,
    measured_on: LabeledDataset | None = None,
    compare_alone: bool = False,
    latency_runs: int = 0,
) -> DistillationReport:
    """Train a copy of a student on ``dataset`` with the teacher's outputs as targets.

    ``measured_on`` are other labeled images, on which accuracies are measured. ``compare_alone``
    also trains the student without the teacher. With ``latency_runs`` both models are timed,
    before the training, as their times do not depend on the values of the weights. To learn by way
    of a model of a size between (arXiv 1902.03393), distill twice: a TorchTeacher of the first
    report's model is the second teacher. The same seed, threads and machine give the same weights.

    Raises ConfigError for different preprocessing and for layers that are not there, ModelError
    for a teacher of other classes or without logits, SourceError for a dataset without images,
    CancelledError, and what ``train`` raises.
    """
    settings = settings or Distillation()
    stages = settings.resolved_stages()
    _check_datasets(student, dataset, settings, measured_on)
    check_same_input(
        f"teacher {teacher.name}", teacher.input, f"student {student.name}", student.input
    )
    columns = match_classes(teacher, student)
    latency, teacher_latency, note = (
        _measure_latency(student, teacher, latency_runs, cancelled)
        if latency_runs
        else (None, None, "")
    )
    plan = _Progress(progress, stages, alone=compare_alone)
    with deterministic(settings.training.seed, settings.training.threads):
        features = _match_features(student, teacher, settings)
    trained = student if features is None else student.with_module(features.module)
    logits: dict[tuple[int, ...], TeacherLogits] = {}
    reports = []
    for index, stage in enumerate(stages):
        images = _images_of(stage, dataset, settings.unlabeled)
        key = tuple(map(id, images.parts))
        if stage.alpha and key not in logits:
            with deterministic(settings.training.seed, settings.training.threads):
                logits[key] = TeacherLogits(
                    teacher,
                    images.parts,
                    columns,
                    progress=plan.teacher_part(index),
                    cancelled=cancelled,
                )
        loss = make_loss(
            images,
            logits[key] if stage.alpha else None,
            features if stage.features else None,
            temperature=float(stage.temperature or 0),
            alpha=float(stage.alpha or 0),
            feature_weight=float(stage.features or 0),
        )
        result = train(
            trained,
            images,
            _training_of(settings.training, stage, index),
            plan.stage_part(index),
            cancelled,
            loss=loss,
        )
        trained = result.model
        module = trained.module if features is None else features.student_of(trained.module)
        own = student.with_module(module)
        reports.append(
            StageReport(
                index + 1,
                stage.epochs,
                len(images.parts[0]),
                len(images) - len(images.parts[0]),
                float(stage.temperature or 0),
                float(stage.alpha or 0),
                float(stage.features or 0),
                result.epochs[-1].loss,
                None if measured_on is None else evaluate(own, measured_on, cancelled=cancelled),
            )
        )
    alone = None
    if compare_alone and measured_on is not None:
        baseline = _train_alone(student, dataset, settings, plan, cancelled)
        alone = evaluate(baseline, measured_on, cancelled=cancelled)
    return DistillationReport(
        own,
        teacher.name,
        tuple(reports),
        student.parameter_count(),
        teacher.parameter_count(),
        None if measured_on is None else evaluate_teacher(teacher, measured_on, columns, cancelled),
        None if measured_on is None else evaluate(student, measured_on, cancelled=cancelled),
        reports[-1].accuracy,
        alone,
        latency,
        teacher_latency,
        note,
    )


def _train_alone(
    student: TorchModel,
    dataset: LabeledDataset,
    settings: Distillation,
    plan: _Progress,
    cancelled: Cancelled,
) -> TorchModel:
    """Train the student as long with the labels only."""
    stages = settings.resolved_stages()
    for index, stage in enumerate(stages):
        student = train(
            student,
            stage.dataset or dataset,
            _training_of(settings.training, stage, index),
            plan.stage_part(len(stages) + index),
            cancelled,
        ).model
    return student


def _training_of(
    training: TrainingSettings, stage: DistillationStage, index: int
) -> TrainingSettings:
    return replace(
        training,
        epochs=stage.epochs,
        learning_rate=stage.learning_rate or training.learning_rate,
        seed=(training.seed + index) & MAX_SEED,
    )


def _images_of(
    stage: DistillationStage, dataset: LabeledDataset, unlabeled: LabeledDataset | None
) -> NumberedImages:
    return NumberedImages(
        dataset if stage.dataset is None else stage.dataset,
        unlabeled if stage.uses_unlabeled else None,
    )


def _match_features(
    student: TorchModel, teacher: Teacher, settings: Distillation
) -> FeatureMatching | None:
    if not settings.feature_layers:
        return None
    if not isinstance(teacher, TorchTeacher):
        raise ConfigError(
            f"feature_layers: expected a teacher in PyTorch, whose layers can be read, got "
            f"{teacher.name} in ONNX; give its module, or learn from its outputs only"
        )
    return FeatureMatching(
        student.module, teacher, settings.feature_layers, student.example_input()
    )


def _check_datasets(
    student: TorchModel,
    dataset: LabeledDataset,
    settings: Distillation,
    measured_on: LabeledDataset | None,
) -> None:
    """Raise SourceError or ConfigError for images that the student does not take."""
    labeled = [dataset, *(each.dataset for each in settings.stages), measured_on]
    for each in labeled:
        if each is not None:
            check_labels(each, student.labels)
    for each in (*labeled, settings.unlabeled):
        if each is None:
            continue
        if not len(each):
            raise SourceError(f"dataset {each.name}: expected at least one image, got none")
        check_same_input(
            f"dataset {each.name}", each.input, f"student {student.name}", student.input
        )


def _measure_latency(
    student: TorchModel, teacher: Teacher, runs: int, cancelled: Cancelled
) -> tuple[Spread, Spread | None, str]:
    """Return the CPU time of one image in the student and in the teacher, interleaved.

    A teacher that cannot be exported has no time; the text says why.
    """

    def stop(fraction: float) -> None:
        if cancelled():
            raise CancelledError(f"student {student.name}: the timing was cancelled")

    with tempfile.TemporaryDirectory(prefix="edge_inference_") as name, ExitStack() as stack:
        folder = Path(name)
        file = export_onnx(student, folder / "student.onnx").file
        sides = {"student": _run_of(stack.enter_context(OrtBackend(file)))}
        note = ""
        try:
            sides["teacher"] = _run_of(stack.enter_context(teacher.engine(folder)))
        except (ModelError, BackendError) as error:
            note = f"the teacher was not timed: {error}"
        found = time_interleaved(sides, runs, now_ns=time.thread_time_ns, after_round=stop)
    spreads = {name: Spread.of([each / 1e3 for each in times]) for name, times in found.items()}
    return spreads["student"], spreads.get("teacher"), note


def _run_of(engine: Backend) -> Callable[[int], object]:
    (spec,) = engine.inputs
    images = {spec.name: np.zeros([length or 1 for length in spec.shape], dtype=spec.dtype)}
    return lambda turn: engine.infer(images)


class _Progress:
    """The fraction of the whole: each stage counts by its epochs, the teacher by one of them."""

    def __init__(
        self, progress: Progress, stages: Sequence[DistillationStage], *, alone: bool
    ) -> None:
        self._progress = progress
        self._parts = [float(stage.epochs) for stage in stages] * (2 if alone else 1)
        self._total = sum(self._parts) + len(stages)
        self._teacher_runs = len(stages)

    def teacher_part(self, stage: int) -> Progress:
        return self._scaled(sum(self._parts[:stage]) + stage, 1.0)

    def stage_part(self, stage: int) -> Progress:
        runs = min(stage + 1, self._teacher_runs)
        return self._scaled(sum(self._parts[:stage]) + runs, self._parts[stage])

    def _scaled(self, start: float, length: float) -> Progress:
        def report(phase: str, fraction: float | None) -> None:
            self._progress(phase, (start + length * (fraction or 0.0)) / self._total)

        return report


def _check_weights(temperature: float | None, alpha: float | None, features: float | None) -> None:
    if temperature is not None and not 0 < temperature < math.inf:
        raise ConfigError(f"temperature: expected more than 0, got {temperature}")
    if alpha is not None and not 0 <= alpha <= 1:
        raise ConfigError(f"alpha: expected 0 to 1, got {alpha}")
    if features is not None and not 0 <= features < math.inf:
        raise ConfigError(f"features: expected 0 or more, got {features}")
