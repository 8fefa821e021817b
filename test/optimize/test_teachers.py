"""Teachers: PyTorch and ONNX give the same logits, and those that do not fit are refused."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edge_inference.core.models.model import ModelDescription, load_model
from edge_inference.errors import (
    ConfigError,
    EdgeInferenceError,
    ModelError,
)
from edge_inference.optimize.distillation.distill import (
    Distillation,
    distill,
)
from edge_inference.optimize.distillation.teacher_logits import match_classes
from edge_inference.optimize.distillation.teachers import OnnxTeacher, Teacher, TorchTeacher
from edge_inference.optimize.export.onnx_export import export_onnx
from edge_inference.optimize.training.evaluate import evaluate
from edge_inference.optimize.training.labeled_dataset import (
    LabeledDataset,
)
from edge_inference.optimize.training.train import TrainingSettings, train
from optimize_kit import DIGIT_LABELS, digit_spec, digits, small_model

TRAINING = TrainingSettings(epochs=1, learning_rate=1e-2, batch=32)


@pytest.fixture(scope="module")
def few() -> LabeledDataset:
    return digits(100)


@pytest.fixture(scope="module")
def teacher(few: LabeledDataset) -> TorchTeacher:
    settings = TrainingSettings(epochs=2, learning_rate=2e-2, batch=16)
    return TorchTeacher(train(small_model(16), few, settings).model)


MODEL_YAML = """\
task: classification
license: Apache-2.0
input: {{name: image, width: 28, height: 28, color: GRAY, layout: {layout}, batch: {batch}, \
mean: [0], std: [255]}}
decoder: {{name: classification, activation: {activation}}}
labels: labels.txt
variants: {{fp32: {{file: model.onnx, sha256: {sha256}}}}}
"""


class Rearranged(nn.Module):
    """A classifier with images in another layout, and probabilities as its output."""

    def __init__(self, module: nn.Module, *, softmax: bool, channels_last: bool) -> None:
        super().__init__()
        self.module, self.softmax, self.channels_last = module, softmax, channels_last

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        planar = images.permute(0, 3, 1, 2) if self.channels_last else images
        logits: torch.Tensor = self.module(planar)
        return logits.softmax(1) if self.softmax else logits


def make_folder(
    folder: Path,
    module: nn.Module,
    *,
    batch: int | None = None,
    layout: str = "NCHW",
    activation: str = "softmax",
) -> ModelDescription:
    folder.mkdir()
    shape = [batch or 1, 28, 28]
    example = torch.zeros([*shape, 1] if layout == "NHWC" else [shape[0], 1, *shape[1:]])
    torch.onnx.export(
        module.eval(),
        (example,),
        str(folder / "model.onnx"),
        input_names=["image"],
        output_names=["scores"],
        dynamic_axes=None if batch else {"image": {0: "n"}, "scores": {0: "n"}},
        dynamo=False,
    )
    (folder / "labels.txt").write_text("\n".join(DIGIT_LABELS) + "\n")
    sha256 = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    settings = {"layout": layout, "batch": batch or 1, "activation": activation}
    (folder / "model.yaml").write_text(MODEL_YAML.format(sha256=sha256, **settings))
    return load_model(folder)


@pytest.mark.parametrize("batch", [None, 1, 3])
@pytest.mark.parametrize("changed", [False, True])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_teacher_in_onnx_gives_the_logits_of_pytorch(
    tmp_path: Path, few: LabeledDataset, teacher: TorchTeacher, batch: int | None, changed: bool
) -> None:
    module = Rearranged(teacher.model.module, softmax=changed, channels_last=changed)
    layout = "NHWC" if changed else "NCHW"
    images, _ = few.load(range(10))
    expected = teacher.logits(images)
    with OnnxTeacher(make_folder(tmp_path / "m", module, batch=batch, layout=layout)) as found:
        logits = found.logits(images)
        assert found.parameter_count() == pytest.approx(teacher.parameter_count(), rel=0.05)
    if changed:  # equal up to a constant
        logits -= (logits - expected).mean(1, keepdims=True)
        # Probabilities of almost 0 have lost their digits.
        assert np.abs(logits - expected)[expected > expected.max(1, keepdims=True) - 8].max() < 0.02
    else:
        np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_student_of_a_file_learns_as_from_pytorch(
    tmp_path: Path, few: LabeledDataset, teacher: TorchTeacher
) -> None:
    file = export_onnx(teacher.model, tmp_path / "teacher.onnx").file
    settings = Distillation(training=TRAINING)
    with OnnxTeacher.from_file(file, digit_spec(), DIGIT_LABELS) as in_onnx:
        report = distill(
            small_model(8),
            in_onnx,
            few,
            settings,
            measured_on=few,
            compare_alone=True,
            latency_runs=10,
        )
        with pytest.raises(ConfigError, match="feature_layers: expected a teacher in PyTorch"):
            features = replace(settings, features=1.0, feature_layers=(("5", "5"),))
            distill(small_model(8), in_onnx, few, features)
    other = distill(small_model(8), teacher, few, settings, measured_on=few)
    assert report.teacher == other.teacher and report.after is not None
    assert report.stages[0].loss == pytest.approx(other.stages[0].loss, rel=1e-3)
    alone = train(small_model(8), few, TRAINING).model
    assert report.alone == evaluate(alone, few)
    assert report.before == evaluate(small_model(8), few)
    assert report.latency is not None and report.speedup is not None
    assert report.to_json()["accuracy"]["after"]["share"] == report.after.share
    assert other.latency is None and other.to_json()["latency_ms"] is None


class Unexportable(nn.Module):
    """A classifier with an operator that ONNX has not."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.module(images)
        return logits + torch.special.i1(logits) * 0


def test_a_teacher_that_cannot_be_exported_teaches_all_the_same(
    few: LabeledDataset, teacher: TorchTeacher
) -> None:
    module = Unexportable(teacher.model.module).eval()
    odd = TorchTeacher(replace(teacher.model, module=module))
    settings = Distillation(training=TRAINING)
    report = distill(small_model(8), odd, few, settings, latency_runs=10)
    assert report.latency is not None and report.teacher_latency is None
    assert "the teacher was not timed: " in report.summary() and "i1" in report.note
    usual = distill(small_model(8), teacher, few, settings)
    assert report.stages[0].loss == pytest.approx(usual.stages[0].loss, rel=1e-5)


def test_classes_are_matched_by_name(teacher: TorchTeacher) -> None:
    turned = replace(small_model(8), labels=DIGIT_LABELS[::-1])
    assert match_classes(teacher, turned).tolist() == list(range(9, -1, -1))
    unnamed = TorchTeacher(replace(teacher.model, labels=()))
    assert match_classes(unnamed, turned).tolist() == list(range(10))


class Boxes(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)[:, :40].reshape(-1, 10, 4)


def constant(value: float, classes: int = 10) -> nn.Module:
    linear = nn.Linear(28 * 28, classes)
    nn.init.constant_(linear.bias, value)
    return nn.Sequential(nn.Flatten(), linear).eval()


def other_teacher(module: nn.Module | None = None, **changed: Any) -> Teacher:
    model = small_model(8)
    return TorchTeacher(replace(model, module=module or model.module, name="bad", **changed))


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (
            lambda: other_teacher(constant(0, 7), labels=DIGIT_LABELS[:7]),
            ModelError,
            "teacher bad: expected logits of 10 classes like the student digits_cnn, got 7",
        ),
        (
            lambda: other_teacher(labels=("cat", *DIGIT_LABELS[1:])),
            ModelError,
            "teacher bad: it does not have the student's class '0'; it has cat, 1, 2",
        ),
        (
            lambda: other_teacher(input=replace(digit_spec(), std=(1.0,), width=32)),
            ConfigError,
            "teacher bad and student digits_cnn read different images: width 32 and 28, std 1.0 "
            "and 255.0",
        ),
        (
            lambda: other_teacher(Boxes()),
            ModelError,
            r"teacher bad: expected logits of the shape \[1, classes\], got \[1, 10, 4\]; .*boxes",
        ),
        (lambda: other_teacher(constant(np.nan)), ModelError, "its logits are NaN or infinite"),
        (
            lambda: other_teacher(nn.Conv2d(3, 10, 3)),
            ModelError,
            r"teacher bad: it does not take images of the shape \[1, 1, 28, 28\]",
        ),
    ],
)
def test_a_teacher_that_does_not_fit_is_refused(
    few: LabeledDataset,
    make: Callable[[], Teacher],
    kind: type[EdgeInferenceError],
    message: str,
) -> None:
    with pytest.raises(kind, match=message):
        distill(small_model(8), make(), few, Distillation(training=TRAINING))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_onnx_models_that_are_no_classifiers_are_refused(
    tmp_path: Path, teacher: TorchTeacher
) -> None:
    folder = make_folder(tmp_path / "m", teacher.model.module, activation="sigmoid")
    with pytest.raises(ModelError, match="classes are independent of each other"):
        OnnxTeacher(folder)
    with pytest.raises(ModelError, match="its task is detection with the decoder"):
        OnnxTeacher(replace(folder, task="detection"))
    raw = make_folder(tmp_path / "raw", teacher.model.module, activation="none")
    with (
        OnnxTeacher(raw) as found,
        pytest.raises(ModelError, match="no probabilities of one distribution"),
    ):
        found.logits(np.ones((1, 1, 28, 28), np.float32))
    boxes = make_folder(tmp_path / "boxes", Boxes())
    with OnnxTeacher(boxes) as found, pytest.raises(ModelError, match="not from one that returns"):
        found.logits(np.ones((1, 1, 28, 28), np.float32))
    (raw.folder / "model.onnx").write_bytes(b"altered")
    with pytest.raises(ModelError, match=r"model\.onnx"):
        OnnxTeacher(raw)
