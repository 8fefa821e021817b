"""Students made from the shape of a teacher: how large they are, and that they work."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from edge_inference.core.models.model_search import find_model
from edge_inference.errors import ConfigError
from edge_inference.optimize.distillation.architecture import read_architecture
from edge_inference.optimize.distillation.distill import Distillation, distill
from edge_inference.optimize.distillation.students import (
    make_student,
    plan_student,
    vision_transformer,
)
from edge_inference.optimize.distillation.teachers import OnnxTeacher, TorchTeacher
from edge_inference.optimize.export.onnx_export import export_onnx
from edge_inference.optimize.training.labeled_dataset import LabeledDataset
from edge_inference.optimize.training.torch_model import TorchModel, load_module
from edge_inference.optimize.training.train import TrainingSettings
from optimize_kit import DIGIT_LABELS, digit_spec, digits, small_model


@pytest.fixture(scope="module")
def images() -> LabeledDataset:
    return digits(256)


class Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.body(images) + self.shortcut(images))


def as_model(module: nn.Module, size: int = 32) -> TorchModel:
    return TorchModel(module.eval(), digit_spec(size), DIGIT_LABELS, "big")


def residual_network() -> TorchModel:
    stages = [Residual(16, 32, 2), Residual(32, 32, 1), Residual(32, 64, 2), Residual(64, 64, 1)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)]
    return as_model(nn.Sequential(nn.Conv2d(1, 16, 3, 1, 1), nn.ReLU(), *stages, *head))


def transformer() -> TorchModel:
    torch.manual_seed(0)
    return as_model(vision_transformer(1, 10, 32, 32, 4, 64, 4, 4))


def perceptron() -> TorchModel:
    layers = [nn.Flatten(), nn.Linear(32 * 32, 64), nn.ReLU(), nn.Linear(64, 10)]
    return as_model(nn.Sequential(*layers))


def arguments_of(teacher: TorchModel, ratio: float, kind: str = "auto") -> dict[str, Any]:
    return dict(plan_student(TorchTeacher(teacher), 10, ratio, kind).arguments)


@pytest.mark.parametrize("make", [residual_network, transformer, perceptron])
@pytest.mark.parametrize("kind", ["cnn", "vit"])
def test_a_student_keeps_its_ratio_and_can_be_exported(
    tmp_path: Path, make: Callable[[], TorchModel], kind: str
) -> None:
    ratio = 0.2
    teacher = make()
    student = make_student(teacher, ratio, kind)
    assert student.parameter_count() <= ratio * teacher.parameter_count()
    assert student.name == "big_student" and student.labels == DIGIT_LABELS
    assert student.module(student.example_input(3)).shape == (3, 10)
    report = export_onnx(student, tmp_path / "student.onnx")
    assert report.relative_difference < 1e-3


def test_a_cnn_follows_the_stages_of_its_teacher() -> None:
    teacher = residual_network()
    found = read_architecture(TorchTeacher(teacher))
    assert [(each.channels, each.depth, each.height) for each in found.stages] == [
        (16, 1, 32),
        (32, 4, 16),
        (64, 4, 8),
    ]
    large, small = (arguments_of(teacher, ratio)["stages"] for ratio in (0.25, 0.05))
    assert [stride for _, _, stride in large] == [1, 2, 2]
    for (channels, depth, _), stage in zip(large, found.stages, strict=True):
        assert channels % 8 == 0 and channels <= stage.channels and depth <= stage.depth
    assert sum(channels for channels, _, _ in small) < sum(channels for channels, _, _ in large)
    assert make_student(teacher, 0.05).parameter_count() > 0.035 * teacher.parameter_count()


def test_a_transformer_has_fewer_layers_and_heads_than_its_teacher() -> None:
    teacher = transformer()
    found = read_architecture(TorchTeacher(teacher))
    assert (found.attentions, found.heads, found.patch, found.width) == (4, 4, 4, 64)
    arguments = arguments_of(teacher, 0.25)
    assert arguments["depth"] == 2 and arguments["patch"] == 4 and arguments["dim"] <= 64
    assert arguments["heads"] <= 4 and arguments["dim"] % arguments["heads"] == 0
    assert arguments_of(teacher, 0.25, "cnn")["stages"]
    # The patch comes from the input where the teacher has none.
    assert arguments_of(residual_network(), 0.25, "vit")["patch"] == 4


def test_the_kind_is_chosen_by_the_teacher() -> None:
    names = {
        make: plan_student(TorchTeacher(make()), 10, 0.5).function.rpartition(":")[2]
        for make in (residual_network, transformer, perceptron)
    }
    assert list(names.values()) == ["separable_cnn", "vision_transformer", "separable_cnn"]


@pytest.mark.parametrize("kind", ["cnn", "vit"])
def test_the_same_seed_gives_the_same_weights(kind: str) -> None:
    teacher = residual_network()

    def weights(seed: int) -> list[bytes]:
        student = make_student(teacher, 0.25, kind, seed)
        return [each.detach().numpy().tobytes() for each in student.module.parameters()]

    state = torch.random.get_rng_state()
    assert weights(1) == weights(1) != weights(2)
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_student_comes_from_a_function_with_arguments_and_can_be_pickled() -> None:
    student = make_student(transformer(), 0.25)
    source = plan_student(TorchTeacher(transformer()), 10, 0.25)
    again = load_module(source)
    again.load_state_dict(student.module.state_dict())
    images = torch.randn(2, 1, 32, 32)
    assert torch.equal(again(images), student.module(images))
    stream = io.BytesIO()
    torch.save(student.module, stream)
    stream.seek(0)
    assert torch.equal(torch.load(stream, weights_only=False)(images), student.module(images))


def test_a_student_of_a_shipped_model(tmp_path: Path) -> None:
    with OnnxTeacher(find_model("efficientnet_lite0")) as teacher:
        student = make_student(teacher, 0.25)
        count = teacher.parameter_count()
        assert 4.5e6 < count < 4.8e6
        assert 0.2 * count < student.parameter_count() <= 0.25 * count
        assert student.input.width == 224 and len(student.labels) == 1000
        assert student.module(student.example_input()).shape == (1, 1000)
        with pytest.raises(ConfigError, match=r"the smallest student \(cnn\) of efficientnet_"):
            make_student(teacher, 0.001)


def test_a_student_in_onnx_and_one_in_pytorch_have_the_same_plan(tmp_path: Path) -> None:
    model = small_model(16)
    file = export_onnx(model, tmp_path / "teacher.onnx").file
    with OnnxTeacher.from_file(file, digit_spec(), DIGIT_LABELS) as teacher:
        found, expected = (read_architecture(each) for each in (teacher, TorchTeacher(model)))
        assert found.parameters < expected.parameters  # the export folds BatchNorm
        assert found == replace(expected, parameters=found.parameters)


@pytest.mark.parametrize("kind", ["cnn", "vit"])
def test_a_student_learns(images: LabeledDataset, kind: str) -> None:
    teacher = TorchTeacher(small_model(32))
    student = make_student(teacher, 0.9, kind)
    training = TrainingSettings(epochs=6, learning_rate=1e-2, batch=16)
    settings = Distillation(alpha=0.1, training=training)
    report = distill(student, teacher, images, settings, measured_on=images)
    assert report.before is not None and report.after is not None
    assert report.after.correct > report.before.correct + 40


@pytest.mark.parametrize(
    ("ratio", "kind", "labels", "message"),
    [
        (0.0, "auto", DIGIT_LABELS, "ratio: expected more than 0 and less than 1, got 0.0"),
        (1.0, "auto", DIGIT_LABELS, "ratio: expected more than 0 and less than 1, got 1.0"),
        (float("nan"), "cnn", DIGIT_LABELS, "ratio: expected more than 0 and less than 1, got nan"),
        (0.25, "rnn", DIGIT_LABELS, "kind: expected one of auto, cnn, vit, got 'rnn'"),
        (0.001, "vit", DIGIT_LABELS, r"ratio: the smallest student \(vit\) of big has"),
        (0.25, "cnn", (), "teacher big: its classes have no names; give the labels"),
    ],
)
def test_bad_requests_are_refused(
    ratio: float, kind: str, labels: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        make_student(replace(residual_network(), labels=labels), ratio, kind)
