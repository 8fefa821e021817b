"""Quantization-aware training: what PyTorch computes is what the deployed network computes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import gpu_kit
from edge_inference.backends.trt.layers import main_precision
from edge_inference.cli.command_line import run
from edge_inference.core.models.model import load_model
from edge_inference.engines.build.build_options import BuildOptions
from edge_inference.engines.build.builder import build_engine
from edge_inference.engines.precision.calibration import Calibration
from edge_inference.engines.precision.derive import derive
from edge_inference.errors import CancelledError, ConfigError, ModelError, SourceError
from edge_inference.optimize.quantization.quantization_aware import (
    QuantizedTraining,
    QuantizedTrainingReport,
    quantize_post_training,
    train_quantized,
)
from edge_inference.optimize.quantization.quantized_export import check_deployed, export_quantized
from edge_inference.optimize.training.labeled_dataset import DatasetSplit, split_dataset
from edge_inference.optimize.training.torch_model import TorchModel
from edge_inference.optimize.training.train import TrainingSettings, train
from optimize_kit import DIGIT_LABELS, digit_spec, digits, small_model

SHORT = TrainingSettings(epochs=1, learning_rate=1e-3)


class Residual(nn.Module):
    """A residual network with what int8 meets: Add, Concat, SiLU, pooling, Dropout, Linear."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.SiLU())
        self.left = nn.Sequential(nn.Conv2d(16, 16, 3, 1, 1), nn.BatchNorm2d(16))
        self.right = nn.Sequential(nn.Conv2d(16, 8, 1), nn.Hardswish())
        self.dropout = nn.Dropout(0.1)
        self.last = nn.Linear(24 * 49, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        values = self.first(images)
        values = torch.relu(values + self.left(values))
        values = torch.cat([values, self.right(values)], 1)
        values = nn.functional.max_pool2d(values, 2)
        return self.last(self.dropout(values.flatten(1)))


@pytest.fixture(scope="module")
def split() -> DatasetSplit:
    return split_dataset(digits(1500), shares=(0.6, 0.1, 0.3))


@pytest.fixture(scope="module")
def model(split: DatasetSplit) -> TorchModel:
    settings = TrainingSettings(epochs=5, learning_rate=2e-2, batch=16)
    return train(small_model(), split.train, settings).model


@pytest.fixture(scope="module")
def residual(split: DatasetSplit) -> TorchModel:
    torch.manual_seed(0)
    untrained = TorchModel(Residual().eval(), digit_spec(), DIGIT_LABELS, "residual")
    return train(untrained, split.train, TrainingSettings(epochs=2, learning_rate=5e-3)).model


@pytest.fixture(scope="module")
def report(model: TorchModel, split: DatasetSplit) -> QuantizedTrainingReport:
    return train_quantized(model, split, QuantizedTraining(training=SHORT))


def assert_same(report: QuantizedTrainingReport, folder: Path, split: DatasetSplit) -> None:
    described = export_quantized(report, split, folder)
    in_7_bits = ("Conv", "Gemm") if report.settings.weight_bits == 7 else ()
    assert described.derive.int8_reduce_range == in_7_bits
    check = check_deployed(report, described, split.test)
    assert check.torch == report.quantized
    assert check.agreement >= 0.985
    assert abs(check.torch.share - check.deployed.share) <= 0.005


@pytest.mark.parametrize(
    "changes",
    [{}, {"weight_bits": 7}, {"target": "tensorrt"}],
    ids=["onnxruntime", "7 bits", "tensorrt"],
)
def test_the_deployed_network_computes_what_was_trained(
    changes: dict[str, object], model: TorchModel, split: DatasetSplit, tmp_path: Path
) -> None:
    settings = QuantizedTraining(training=SHORT, **changes)  # type: ignore[arg-type]
    report = train_quantized(model, split, settings)
    assert not report.unmatched and not report.in_fp32
    rounding = [each for each in report.fake_quantized.module.modules() if hasattr(each, "low")]
    least = -128 if settings.target == "tensorrt" else 0
    assert rounding and {each.least for each in rounding} == {least}
    assert report.quantized.share > report.fp32.share - 0.03
    assert_same(report, tmp_path / "net", split)


def test_a_residual_network_is_rounded_at_the_same_places(
    residual: TorchModel, split: DatasetSplit, tmp_path: Path
) -> None:
    report = train_quantized(residual, split, QuantizedTraining(training=SHORT))
    assert not report.unmatched
    rounded = set(report.activation_ranges)
    assert {"add", "relu", "cat", "sigmoid", "mul"} & rounded == {"relu", "cat", "sigmoid", "mul"}
    assert_same(report, tmp_path / "net", split)


def test_the_folder_has_the_ranges_of_the_training(
    report: QuantizedTrainingReport, split: DatasetSplit, tmp_path: Path
) -> None:
    described = export_quantized(report, split, tmp_path / "net")
    assert described.name == "net" and described.golden
    calibration = Calibration.load(tmp_path / "net" / "calibration.json")
    assert calibration.ranges["image"] == report.activation_ranges["input_1"]
    assert calibration.ranges["logits"] == report.activation_ranges["_17"]
    assert set(report.activation_ranges.values()) <= set(calibration.ranges.values())
    assert [path.name for path in tmp_path.iterdir()] == ["net"]


def test_tensorrt_builds_what_was_trained(
    report: QuantizedTrainingReport, split: DatasetSplit, tmp_path: Path
) -> None:
    described = export_quantized(report, split, tmp_path / "net")
    assert described.calibration is not None
    vendor = gpu_kit.tensorrt_rtx()
    file = tmp_path / "int8.onnx"
    derive(
        described.variants["fp32"].file,
        "int8",
        "tensorrt",
        file,
        calibration=Calibration.load(described.calibration),
    )
    options = BuildOptions(precision="int8", batch=(1, 1, 1))
    built = build_engine(file, options, vendor=vendor)
    assert main_precision(built.layers) == "int8"


def test_a_training_recovers_what_few_bits_lose(model: TorchModel, split: DatasetSplit) -> None:
    settings = QuantizedTraining(
        weight_bits=3, training=TrainingSettings(epochs=3, learning_rate=5e-3)
    )
    rounded = quantize_post_training(model, split, settings)
    trained = train_quantized(model, split, settings)
    assert rounded.quantized == rounded.post_training == trained.post_training
    assert rounded.epochs == () and rounded.recovered is None
    assert rounded.quantized.share < rounded.fp32.share - 0.03
    assert trained.recovered is not None and trained.recovered > 0.5
    assert "for study" in trained.summary()
    assert json.loads(json.dumps(trained.to_json()))["weight_bits"] == 3


def test_the_same_seed_gives_the_same_bytes(
    report: QuantizedTrainingReport, model: TorchModel, split: DatasetSplit
) -> None:
    torch.manual_seed(9)
    again = train_quantized(model, split, QuantizedTraining(training=SHORT))
    states = [each.model.module.state_dict() for each in (report, again)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert again.activation_ranges == report.activation_ranges


def test_mixed_precision_trains_the_same_rounding(
    report: QuantizedTrainingReport, model: TorchModel, split: DatasetSplit
) -> None:
    settings = QuantizedTraining(training=replace(SHORT, amp=True))
    mixed = train_quantized(model, split, settings)
    assert all(value.dtype == torch.float32 for value in mixed.model.module.state_dict().values())
    assert abs(mixed.quantized.share - report.quantized.share) < 0.03
    assert set(mixed.activation_ranges) == set(report.activation_ranges)


@pytest.mark.parametrize(
    "changes", [{"weight_bits": 4}, {"activation_bits": 4}, {"per_channel": False}]
)
def test_numbers_that_no_engine_has_are_not_exported(
    changes: dict[str, object],
    report: QuantizedTrainingReport,
    split: DatasetSplit,
    tmp_path: Path,
) -> None:
    study = replace(report, settings=replace(report.settings, **changes))
    with pytest.raises(ConfigError, match="cannot be deployed"):
        export_quantized(study, split, tmp_path / "net")
    assert not list(tmp_path.iterdir())


def test_a_cancelled_or_failed_export_leaves_nothing(
    report: QuantizedTrainingReport, split: DatasetSplit, tmp_path: Path
) -> None:
    with pytest.raises(CancelledError):
        export_quantized(report, split, tmp_path / "net", cancelled=lambda: True)
    other = replace(report, activation_ranges={**report.activation_ranges, "gone": (0.0, 1.0)})
    with pytest.raises(ModelError, match=r"1 ranges of the training have no tensor .* gone"):
        export_quantized(other, split, tmp_path / "net")
    assert not list(tmp_path.iterdir())
    (tmp_path / "net").mkdir()
    with pytest.raises(ConfigError, match="it exists already"):
        export_quantized(report, split, tmp_path / "net")


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(28, 10, batch_first=True)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.lstm(images.squeeze(1))[0].mean(1)


def test_a_recurrent_layer_stays_in_fp32_and_is_told(split: DatasetSplit) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(Recurrent(), nn.Linear(10, 10)).eval()
    model = TorchModel(module, digit_spec(), DIGIT_LABELS, "net")
    report = quantize_post_training(model, split, QuantizedTraining())
    assert len(report.in_fp32) == 1 and "LSTM" in report.in_fp32[0]
    assert "layers that stay in fp32: 1" in report.summary()


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Recurrent(), "no layer of the network can compute in int8"),
        (nn.Sequential(nn.AvgPool2d(28, 28), nn.Flatten()), "no layer of the network can compute"),
        (nn.Sequential(nn.Flatten(), nn.Linear(784, 3)), r"expected logits of the shape \[1, 10\]"),
    ],
)
def test_models_that_int8_cannot_train_are_refused(
    module: nn.Module, message: str, split: DatasetSplit
) -> None:
    model = TorchModel(module.eval(), digit_spec(), DIGIT_LABELS, "net")
    with pytest.raises(ModelError, match=message):
        train_quantized(model, split, QuantizedTraining(training=SHORT))


def test_an_empty_dataset_is_refused(model: TorchModel, split: DatasetSplit) -> None:
    empty = replace(split, train=split.train.subset(np.array([], np.int64)))
    with pytest.raises(SourceError, match="at least one image"):
        train_quantized(model, empty, QuantizedTraining(training=SHORT))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight_bits": 5}, "weight_bits: expected one of 8, 7, 4, 3, got 5"),
        ({"activation_bits": 7}, "activation_bits: expected one of"),
        ({"observer": "none"}, "observer: expected one of moving_average, fixed, got 'none'"),
        ({"method": "max"}, "method: expected one of"),
        ({"target": "tpu"}, "target: expected one of"),
        ({"calibration_images": 0}, "calibration_images: expected at least 1, got 0"),
    ],
)
def test_wrong_settings_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        QuantizedTraining(**changes)  # type: ignore[arg-type]
    assert str(caught.value).startswith(message)


def write_module(folder: Path) -> str:
    (folder / "tiny_net.py").write_text(
        "from torch import nn\n"
        "def make(width=4):\n"
        "    first = nn.Conv2d(1, width, 5, 3)\n"
        "    return nn.Sequential(first, nn.ReLU(), nn.Flatten(), nn.Linear(64 * width, 10))\n"
    )
    return f"{folder / 'tiny_net.py'}:make"


def test_the_command_writes_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["optimize", "quantize-aware", write_module(tmp_path), "--data", "digits"]
    command += ["--images", "300", "--epochs", "1", "--json"]
    assert run([*command, "--output", str(tmp_path / "net")]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])["summary"]
    assert summary["deployed"]["images"] == summary["test_images"] == 40
    assert summary["deployed"]["agreement"] > 0.9 and summary["is_deployable"]
    assert load_model(tmp_path / "net").calibration is not None
    assert run([*command, "--weight-bits", "4", "--per-tensor"]) == 0
    assert not json.loads(capsys.readouterr().out.splitlines()[-1])["summary"]["is_deployable"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "--output FOLDER is needed"),
        (["--weight-bits", "4", "--output", "{}/new"], "are for study and not deployed"),
        (["--output", "{}"], "it exists already"),
        (["--weight-bits", "5", "--output", "{}/new"], "invalid choice"),
    ],
)
def test_wrong_options_are_refused_in_one_line(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["optimize", "quantize-aware", write_module(tmp_path), "--data", "digits"]
    assert run([*command, *(option.format(tmp_path) for option in options)]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
