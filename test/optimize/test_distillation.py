"""Distillation: its loss, its teachers, what a student learns from, and what it refuses."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from edge_inference.core.measured_costs import Spread
from edge_inference.errors import (
    CancelledError,
    ConfigError,
    SourceError,
)
from edge_inference.optimize.comparison import MeasuredAccuracy
from edge_inference.optimize.distillation.distill import (
    Distillation,
    DistillationStage,
    distill,
)
from edge_inference.optimize.distillation.distillation_loss import (
    NumberedImages,
    make_loss,
    soft_target_loss,
)
from edge_inference.optimize.distillation.distillation_report import DistillationReport
from edge_inference.optimize.distillation.teacher_logits import TeacherLogits
from edge_inference.optimize.distillation.teachers import TorchTeacher
from edge_inference.optimize.training.labeled_dataset import (
    ArrayDataset,
    Batch,
    LabeledDataset,
)
from edge_inference.optimize.training.torch_model import TorchModel
from edge_inference.optimize.training.train import TrainingSettings, train
from optimize_kit import DIGIT_LABELS, digit_spec, digits, small_model

TRAINING = TrainingSettings(epochs=2, learning_rate=1e-2, batch=32)


class CountingTeacher(TorchTeacher):
    """Counts the images that it sees."""

    images = 0

    def logits(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        self.images += len(images)
        return super().logits(images)


@pytest.fixture(scope="module")
def data() -> LabeledDataset:
    return digits(700)


@pytest.fixture(scope="module")
def few(data: LabeledDataset) -> LabeledDataset:
    return data.subset(range(100))


@pytest.fixture(scope="module")
def teacher(data: LabeledDataset) -> TorchTeacher:
    settings = TrainingSettings(epochs=3, learning_rate=2e-2, batch=16)
    return TorchTeacher(train(small_model(16), data, settings).model)


def weights_of(model: TorchModel) -> str:
    digest = hashlib.sha256()
    for name, value in model.module.state_dict().items():
        digest.update(name.encode() + value.numpy().tobytes())
    return digest.hexdigest()


def test_the_soft_loss_is_the_divergence_at_a_temperature() -> None:
    logits = torch.tensor([[1.0, 0.0], [0.0, 3.0]])
    targets = torch.tensor([[2.0, 0.0], [0.0, 0.0]])
    expected = 0.0
    for own, other in zip(logits.tolist(), targets.tolist(), strict=True):
        powers = [np.exp(np.array(each) / 2.0) for each in (own, other)]
        student, teacher = (each / each.sum() for each in powers)
        expected += float((teacher * np.log(teacher / student)).sum())
    assert float(soft_target_loss(logits, targets, 2.0)) == pytest.approx(expected / 2 * 4)
    assert float(soft_target_loss(logits, logits + 5, 3.0)) == pytest.approx(0, abs=1e-6)
    # The factor T squared: gradients at a high temperature are those of the logits' difference.
    assert float(soft_target_loss(logits, targets, 100.0)) == pytest.approx(
        float(((logits - logits.mean(1, True)) - (targets - targets.mean(1, True))).pow(2).mean())
        / 2,
        rel=2e-2,
    )


def test_alpha_is_the_share_of_the_soft_targets(few: LabeledDataset, teacher: TorchTeacher) -> None:
    student = small_model(4).module
    images = NumberedImages(few, None)
    logits = TeacherLogits(teacher, images.parts, np.arange(10))
    loss = make_loss(images, logits, None, temperature=2.0, alpha=0.3, feature_weight=0.0)
    batch, numbers = (torch.from_numpy(each) for each in images.load(range(20)))
    with torch.no_grad():
        output = student(batch)
        classes = torch.from_numpy(few.class_ids[:20])
        soft = soft_target_loss(output, torch.from_numpy(teacher.logits(batch.numpy())), 2.0)
        hard = torch.nn.functional.cross_entropy(output, classes)
        found = float(loss(student, batch, numbers))
    assert abs(float(soft) - float(hard)) > 0.1
    assert found == pytest.approx(0.3 * float(soft) + 0.7 * float(hard), rel=1e-5)


def test_alpha_0_is_plain_training(few: LabeledDataset, teacher: TorchTeacher) -> None:
    student = small_model(8)
    before = weights_of(student)
    plain = train(student, few, TRAINING).model
    counting = CountingTeacher(teacher.model)
    same = distill(student, counting, few, Distillation(alpha=0.0, training=TRAINING))
    assert weights_of(same.model) == weights_of(plain)
    assert counting.images == 1  # only to count its classes
    helped = distill(student, teacher, few, Distillation(training=TRAINING))
    assert weights_of(helped.model) != weights_of(plain)
    assert weights_of(student) == before


def test_the_same_seed_gives_the_same_student(few: LabeledDataset, teacher: TorchTeacher) -> None:
    def run(**changed: Any) -> str:
        settings = replace(Distillation(training=TRAINING), **changed)
        torch.manual_seed(hash(str(changed)) % 1000)  # what ran before does not matter
        return weights_of(distill(small_model(8), teacher, few, settings).model)

    first = run()
    assert run() == first
    changes: list[dict[str, Any]] = [
        {"temperature": 2.0},
        {"alpha": 1.0},
        {"training": replace(TRAINING, seed=1)},
    ]
    assert len({first, *(run(**change) for change in changes)}) == 4


def test_the_teacher_runs_once_for_all_epochs(few: LabeledDataset, teacher: TorchTeacher) -> None:
    counting = CountingTeacher(teacher.model)
    stages = (DistillationStage(2), DistillationStage(1, temperature=1.0))
    distill(small_model(8), counting, few, Distillation(training=TRAINING, stages=stages))
    assert counting.images == 1 + len(few)


def test_logits_beyond_the_bound_are_computed_anew(
    few: LabeledDataset, teacher: TorchTeacher
) -> None:
    columns = np.arange(10)
    kept = TeacherLogits(teacher, (few,), columns)
    anew = TeacherLogits(teacher, (few,), columns, max_bytes=100)
    chosen = np.array([7, 3, 50])
    images, _ = few.load(chosen)
    assert kept.are_kept and not anew.are_kept
    np.testing.assert_allclose(
        kept.of(chosen, np.zeros_like(images)), anew.of(chosen, images), rtol=1e-4, atol=1e-5
    )


class NoLabels(LabeledDataset):
    """Images whose classes must not be read."""

    def __init__(self, images: LabeledDataset) -> None:
        self.name, self.labels, self.input = "unlabeled", (), images.input
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    @property
    def class_ids(self) -> NDArray[np.int64]:
        raise AssertionError("the classes of unlabeled images were read")

    def load(self, indices: Sequence[int] | NDArray[np.int64]) -> Batch:
        images, _ = self._images.load(indices)
        return images, np.full(len(images), 1234)


def test_unlabeled_images_help_and_have_no_labels(
    data: LabeledDataset, few: LabeledDataset, teacher: TorchTeacher
) -> None:
    settings = Distillation(training=TRAINING)
    more = replace(settings, unlabeled=NoLabels(data.subset(range(100, 500))))
    held_out = data.subset(range(500, 700))
    alone = distill(small_model(8), teacher, few, settings, measured_on=held_out)
    helped = distill(small_model(8), teacher, few, more, measured_on=held_out)
    assert helped.stages[0].unlabeled == 400 and helped.stages[0].labeled == 100
    assert alone.after is not None and helped.after is not None
    assert helped.after.correct > alone.after.correct + 20
    with pytest.raises(ConfigError, match="alpha: expected more than 0 with unlabeled images"):
        replace(more, alpha=0.0)


def test_stages_have_their_own_images_and_targets(
    data: LabeledDataset, few: LabeledDataset, teacher: TorchTeacher
) -> None:
    stages = (
        DistillationStage(1, temperature=8.0, alpha=1.0),
        DistillationStage(2, alpha=0.0, dataset=data.subset(range(50)), uses_unlabeled=False),
    )
    unlabeled = NoLabels(data.subset(range(100, 200)))
    settings = Distillation(training=TRAINING, stages=stages, unlabeled=unlabeled)
    seen: list[float] = []
    report = distill(
        small_model(8),
        teacher,
        few,
        settings,
        lambda phase, fraction: seen.append(fraction or 0.0),
        measured_on=few,
    )
    first, second = report.stages
    assert (first.labeled, first.unlabeled, first.alpha, first.temperature) == (100, 100, 1.0, 8.0)
    assert (second.labeled, second.unlabeled, second.alpha, second.epochs) == (50, 0, 0.0, 2)
    assert seen == sorted(seen) and seen[-1] == pytest.approx(1)
    # The second stage continues with the student of the first.
    start = distill(small_model(8), teacher, few, replace(settings, stages=stages[:1])).model
    end = train(start, data.subset(range(50)), replace(TRAINING, epochs=2, seed=1)).model
    assert weights_of(end) == weights_of(report.model)


def test_features_are_learned_and_their_adapters_removed(
    few: LabeledDataset, teacher: TorchTeacher
) -> None:
    student = small_model(8)
    before = weights_of(teacher.model)
    pairs = (("5", "5"), ("14", "8"))  # 8 and 16 channels of 7 x 7; 4 x 4 and 7 x 7
    settings = Distillation(features=50.0, feature_layers=pairs, training=TRAINING)
    report = distill(student, teacher, few, settings)
    assert report.model.module.state_dict().keys() == student.module.state_dict().keys()
    assert report.parameters == student.parameter_count()
    assert not report.model.module.training
    assert not any(each._forward_hooks for each in report.model.module.modules())
    assert not any(each._forward_hooks for each in teacher.model.module.modules())
    assert weights_of(teacher.model) == before
    without = distill(student, teacher, few, Distillation(training=TRAINING))
    assert weights_of(report.model) != weights_of(without.model)
    # A layer that has the same channels needs no adapter, and comes close to the teacher's.
    twin = Distillation(
        alpha=0.0,
        features=100.0,
        feature_layers=(("2", "2"),),
        training=replace(TRAINING, epochs=8),
    )
    imitating = distill(small_model(16, seed=9), teacher, few, twin).model
    plain = train(small_model(16, seed=9), few, twin.training).model
    images = torch.from_numpy(few.load(range(100))[0])
    with torch.inference_mode():
        wanted, near, far = (each.module[:3](images) for each in (teacher.model, imitating, plain))
    assert (near - wanted).pow(2).mean() < 0.7 * (far - wanted).pow(2).mean()


def test_it_learns_in_mixed_precision(
    data: LabeledDataset, few: LabeledDataset, teacher: TorchTeacher
) -> None:
    settings = Distillation(
        features=1.0,
        feature_layers=(("5", "5"),),
        training=replace(TRAINING, amp=True),
        unlabeled=NoLabels(data.subset(range(100, 200))),
    )
    mixed = distill(small_model(8), teacher, few, settings)
    full = distill(small_model(8), teacher, few, replace(settings, training=TRAINING))
    assert all(each.dtype == torch.float32 for each in mixed.model.module.parameters())
    assert mixed.stages[0].loss == pytest.approx(full.stages[0].loss, rel=0.05)
    assert mixed.stages[0].loss != full.stages[0].loss


def test_the_summary_says_when_the_teacher_did_not_help() -> None:
    report = DistillationReport(
        small_model(8),
        "big",
        (),
        100,
        400,
        teacher=MeasuredAccuracy(90, 100),
        before=MeasuredAccuracy(10, 100),
        after=MeasuredAccuracy(80, 100),
        alone=MeasuredAccuracy(70, 100),
        latency=Spread(0.002, 0.003),
        teacher_latency=Spread(0.003, 0.004),
    )
    assert report.summary() == (
        "the student digits_cnn has 100 weights, 25.0% of those of the teacher big; it is right "
        "for 80.0% of 100 images (before 10.0%, trained alone 70.0%, teacher 90.0%); it takes 2 ms "
        "instead of 3 ms (1.50 times as fast)"
    )
    useless = replace(report, alone=report.after, teacher=report.after)
    assert "the teacher did not help" in useless.summary()
    assert "the teacher is not better than the student" in useless.summary()


def test_images_that_do_not_fit_are_refused(few: LabeledDataset, teacher: TorchTeacher) -> None:
    settings = Distillation(training=TRAINING)
    images, class_ids = few.load(range(20))
    letters = ArrayDataset("letters", "abcdefghij", digit_spec(), images, class_ids)
    with pytest.raises(SourceError, match="dataset letters: its labels are not those"):
        distill(small_model(8), teacher, letters, settings)
    with pytest.raises(SourceError, match="dataset digits: expected at least one image, got none"):
        distill(small_model(8), teacher, few.subset([]), settings)
    scaled = ArrayDataset(
        "scaled", DIGIT_LABELS, replace(digit_spec(), std=(1.0,)), images, class_ids
    )
    with pytest.raises(ConfigError, match="dataset scaled and student digits_cnn read different"):
        distill(small_model(8), teacher, few, replace(settings, unlabeled=scaled))


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (("55", "5"), "the student has no layer '55'; did you mean"),
        (("5", "body.conv"), "the teacher has no layer 'body.conv'"),
        (("5", "16"), r"layer '5' of the student returns \[1, 8, 7, 7\] and '16' of the teacher"),
    ],
)
def test_layers_that_are_not_there_are_refused(
    few: LabeledDataset, teacher: TorchTeacher, pair: tuple[str, str], message: str
) -> None:
    settings = Distillation(features=1.0, feature_layers=(pair,), training=TRAINING)
    with pytest.raises(ConfigError, match=message):
        distill(small_model(8), teacher, few, settings)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"temperature": 0.0}, "temperature: expected more than 0, got 0.0"),
        ({"temperature": float("nan")}, "temperature: expected more than 0, got nan"),
        ({"alpha": 1.5}, "alpha: expected 0 to 1, got 1.5"),
        ({"features": -1.0}, "features: expected 0 or more, got -1.0"),
        ({"features": 1.0}, "features: expected feature_layers, pairs"),
        ({"feature_layers": (("5", "5"),)}, "feature_layers: they have no effect"),
    ],
)
def test_settings_out_of_range_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Distillation(**values)
    with pytest.raises(ConfigError, match="epochs: expected at least 1, got 0"):
        DistillationStage(0)


def test_it_can_be_cancelled(few: LabeledDataset, teacher: TorchTeacher) -> None:
    calls = iter([False, False, True])
    with pytest.raises(CancelledError):
        distill(
            small_model(8),
            teacher,
            few,
            Distillation(training=TRAINING),
            cancelled=lambda: next(calls),
        )
