"""A student with a teacher against the same student alone, on 300 labeled digits.

Both train for the same epochs with the same schedule and the same seed, from the same weights; the
settings were chosen on other seeds. The teacher has learned from more labeled images, as the large
models that one distills have. Accuracy is measured on images that neither has seen.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from benchmarks.report import Report
from edge_inference.optimize.distillation.distill import Distillation, DistillationStage, distill
from edge_inference.optimize.distillation.students import make_student
from edge_inference.optimize.distillation.teachers import TorchTeacher
from edge_inference.optimize.training.dataset_sources import open_dataset
from edge_inference.optimize.training.evaluate import evaluate
from edge_inference.optimize.training.labeled_dataset import LabeledDataset
from edge_inference.optimize.training.torch_model import TorchModel, import_torch
from edge_inference.optimize.training.train import TrainingSettings, deterministic, train

_LABELED, _SEEN_BY_TEACHER = 300, 3500
_SEEDS, _QUICK_SEEDS = 5, 2
_CNN_RATIO, _VIT_RATIO = 0.05, 0.5
_TRAINING = TrainingSettings(epochs=60, learning_rate=2e-2, batch=32)
#: A transformer diverges at the rate of the CNN.
_VIT_RATE = 3e-3
_SETTINGS = Distillation(temperature=4.0, alpha=0.9, training=_TRAINING)
_LATENCY_RUNS = 200


def measure(report: Report) -> None:
    """Measure all seeds, and add the figures and claims."""
    digits = open_dataset("digits", None)
    order = np.random.default_rng(0).permutation(len(digits))
    few = digits.subset(order[:_LABELED])
    unlabeled = digits.subset(order[_LABELED:_SEEN_BY_TEACHER])
    unseen = digits.subset(order[_SEEN_BY_TEACHER:])
    teacher = TorchTeacher(_train_teacher(digits.subset(order[:_SEEN_BY_TEACHER])))
    report.figure("distillation: accuracy of the teacher", evaluate(teacher.model, unseen).share)
    ways = _ways(unlabeled)
    found: dict[str, list[float]] = {name: [] for name in ("alone", "with the teacher", *ways)}
    for seed in range(_QUICK_SEEDS if report.quick else _SEEDS):
        student = make_student(teacher, _CNN_RATIO, seed=seed)
        both = distill(
            student,
            teacher,
            few,
            _seeded(_SETTINGS, seed),
            measured_on=unseen,
            compare_alone=True,
            latency_runs=_LATENCY_RUNS if seed == 0 else 0,
        )
        if seed == 0:
            report.figure("distillation: with the teacher, seed 0", both.summary())
        for name, accuracy in (("alone", both.alone), ("with the teacher", both.after)):
            found[name].append(accuracy.share if accuracy else np.nan)
        for name, settings in ways.items():
            result = distill(student, teacher, few, _seeded(settings, seed), measured_on=unseen)
            found[name].append(result.after.share if result.after else np.nan)
    for name, shares in found.items():
        report.figure(f"distillation: accuracy {name}, mean", float(np.mean(shares)))
        report.figure(f"distillation: accuracy {name}, spread", float(np.std(shares, ddof=1)))
    gains = np.subtract(found["with the teacher"], found["alone"])
    report.figure("distillation: mean gain in points", 100 * float(gains.mean()))
    report.claim(
        "distillation-gain-in-points-of-the-worst-seed", 100 * float(gains.min()), at_least=0.01
    )
    _measure_transformer(report, teacher, few, unlabeled, unseen)


def _ways(unlabeled: LabeledDataset) -> dict[str, Distillation]:
    """Return other settings; with unlabeled images an epoch is longer, so that there are fewer."""
    epochs = _TRAINING.epochs * _LABELED // _SEEN_BY_TEACHER
    longer = replace(_SETTINGS, unlabeled=unlabeled, training=replace(_TRAINING, epochs=epochs))
    stages = (
        DistillationStage(epochs, alpha=1.0),
        DistillationStage(
            _TRAINING.epochs // 4, alpha=0.5, uses_unlabeled=False, learning_rate=5e-3
        ),
    )
    return {
        "with soft targets only": replace(_SETTINGS, alpha=1.0),
        "plus unlabeled images, as many steps": longer,
        "plus unlabeled images, then labeled ones only": replace(longer, stages=stages),
    }


def _measure_transformer(
    report: Report,
    teacher: TorchTeacher,
    few: LabeledDataset,
    unlabeled: LabeledDataset,
    unseen: LabeledDataset,
) -> None:
    """Report a transformer that needs more images than there are labels."""
    student = make_student(teacher, _VIT_RATIO, "vit")
    epochs = 2 if report.quick else 10
    training = replace(_TRAINING, learning_rate=_VIT_RATE, epochs=epochs)
    result = distill(
        student,
        teacher,
        few,
        replace(_SETTINGS, unlabeled=unlabeled, training=training),
        measured_on=unseen,
        latency_runs=_LATENCY_RUNS,
    )
    report.figure("distillation: transformer, plus unlabeled images", result.summary())
    as_many_steps = replace(training, epochs=epochs * _SEEN_BY_TEACHER // _LABELED)
    alone = train(student, few, as_many_steps).model
    report.figure(
        "distillation: accuracy of it alone, as many steps", evaluate(alone, unseen).share
    )


def _seeded(settings: Distillation, seed: int) -> Distillation:
    return replace(settings, training=replace(settings.training, seed=seed))


def _train_teacher(dataset: LabeledDataset) -> TorchModel:
    """Return a CNN of ordinary convolutions, 94186 weights."""
    nn = import_torch().nn
    layers = []
    with deterministic(0):
        for inputs, outputs in ((1, 32), (32, 64), (64, 128)):
            layers += [
                nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            ]
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, len(dataset.labels))]
        module = nn.Sequential(*layers).eval()
    model = TorchModel(module, dataset.input, dataset.labels, "teacher")
    return train(model, dataset, TrainingSettings(epochs=10, learning_rate=5e-3)).model
