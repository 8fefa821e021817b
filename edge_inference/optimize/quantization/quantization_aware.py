"""Quantization-aware training: a training that sees how the deployed network rounds.

The batch normalizations are merged, rounding is put where int8 rounds on the robot, and the
module is trained on. Then the rounded weights become the weights (they are "baked"), and the
ranges become a calibration: ``quantized_export.py`` writes both as a model folder, from which
each engine derives its own int8 network. A file with the pairs of PyTorch in it would suit one
engine at best: ONNX Runtime needs unsigned numbers, TensorRT signed ones.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.engines.cache.artifacts import Cancelled, Progress
from edge_inference.engines.precision.int8 import QDQ_STYLES, TARGETS
from edge_inference.engines.precision.ranges import METHODS, Range
from edge_inference.engines.precision.scales import WEIGHT_RANGES
from edge_inference.errors import CancelledError, ConfigError, ModelError
from edge_inference.optimize.calibrate import DEFAULT_METHOD, calibrate
from edge_inference.optimize.comparison import MeasuredAccuracy
from edge_inference.optimize.export.onnx_export import export_onnx
from edge_inference.optimize.images.calibration_images import pick_evenly
from edge_inference.optimize.quantization.batch_norm_folding import fold_batch_norm
from edge_inference.optimize.quantization.fake_quantization import (
    bake,
    insert_fake_quantization,
    round_ranges,
    set_frozen,
)
from edge_inference.optimize.quantization.quantized_places import QuantizedPlaces, find_places
from edge_inference.optimize.training.evaluate import evaluate
from edge_inference.optimize.training.labeled_dataset import DatasetSplit, LabeledDataset
from edge_inference.optimize.training.torch_model import TorchModel
from edge_inference.optimize.training.train import (
    EpochReport,
    LossFunction,
    TrainingSettings,
    train,
)

if TYPE_CHECKING:
    from torch import nn

OBSERVERS = ("moving_average", "fixed")
WEIGHT_BITS = (8, 7, 4, 3)
ACTIVATION_BITS = (8, 4, 3)
DEFAULT_CALIBRATION_IMAGES = 512
#: Digits of a range in a calibration file.
RANGE_DIGITS = 6
_CALIBRATION_BATCH = 16
_MATCHED_IMAGES = 4
#: The ranges stand still in the rest of the training, so that the weights settle with them.
_MOVING_SHARE = 2 / 3
# Progress, as a fraction of the whole.
_PREPARED, _TRAINED = 0.15, 0.95


@dataclass(frozen=True)
class QuantizedTraining:
    """How to round, and how to train with it.

    ``weight_bits`` are 8, 7 (for CPUs that add two products in 16 bits), or for study 4 and 3;
    ``activation_bits`` are 8, or for study 4 and 3. ``per_channel`` gives each channel of the
    weights its own scale. ``method`` estimates the ranges on ``calibration_images`` of the
    training part; with the ``observer`` "moving_average" they follow the values in the first two
    thirds of the training, with "fixed" they do not. ``target`` is the engine whose places and
    kind of numbers are used. Raises ConfigError.
    """

    weight_bits: int = 8
    activation_bits: int = 8
    per_channel: bool = True
    training: TrainingSettings = field(
        default_factory=lambda: TrainingSettings(epochs=3, learning_rate=5e-4)
    )
    observer: str = "moving_average"
    method: str = DEFAULT_METHOD
    calibration_images: int = DEFAULT_CALIBRATION_IMAGES
    target: str = "onnxruntime"

    def __post_init__(self) -> None:
        choices: tuple[tuple[str, tuple[object, ...]], ...] = (
            ("weight_bits", WEIGHT_BITS),
            ("activation_bits", ACTIVATION_BITS),
            ("observer", OBSERVERS),
            ("method", METHODS),
            ("target", TARGETS),
        )
        for name, known in choices:
            value = getattr(self, name)
            if value not in known:
                raise ConfigError(
                    f"{name}: expected one of {', '.join(map(str, known))}, got {value!r}"
                )
        if self.calibration_images < 1:
            raise ConfigError(
                f"calibration_images: expected at least 1, got {self.calibration_images}"
            )

    @property
    def is_deployable(self) -> bool:
        """Tell whether an engine can compute with these numbers: the other forms are for study."""
        return self.weight_bits in WEIGHT_RANGES and self.activation_bits == 8 and self.per_channel

    def describe(self) -> str:
        """Return the numbers as text, such as "8-bit weights per channel, 8-bit activations"."""
        scale = "per channel" if self.per_channel else "per tensor"
        return f"{self.weight_bits}-bit weights {scale}, {self.activation_bits}-bit activations"


@dataclass(frozen=True)
class QuantizedTrainingReport:
    """A model with rounded weights, and what the rounding costs.

    ``model`` is a plain float32 module whose weights are the rounded ones. ``fake_quantized``
    rounds the activations, too: it computes what the deployed int8 network computes.
    ``activation_ranges`` are the ranges of ``fake_quantized`` by the node of ``model.module``.
    The accuracies are those on the test part: of the model before, rounded without training
    (``post_training``), and of ``fake_quantized``. ``epochs`` is empty without a training.
    ``unmatched`` are places where int8 rounds and the training did not, ``in_fp32`` the layers
    that int8 leaves in fp32.
    """

    settings: QuantizedTraining
    model: TorchModel
    fake_quantized: TorchModel
    activation_ranges: Mapping[str, Range]
    fp32: MeasuredAccuracy
    post_training: MeasuredAccuracy
    quantized: MeasuredAccuracy
    epochs: tuple[EpochReport, ...]
    unmatched: tuple[str, ...] = ()
    in_fp32: tuple[str, ...] = ()

    @property
    def recovered(self) -> float | None:
        """Return the share of the loss of post-training quantization that training recovered.

        None without a training or without a loss.
        """
        lost = self.fp32.share - self.post_training.share
        if not self.epochs or lost <= 0:
            return None
        return (self.quantized.share - self.post_training.share) / lost

    def summary(self) -> str:
        """Return the figures in a few sentences."""
        parts = [
            f"model {self.model.name}, {self.settings.describe()}: top-1 fp32 "
            f"{self.fp32.share:.1%}, quantized without training {self.post_training.share:.1%}"
        ]
        if self.epochs:
            parts[0] += (
                f", with {len(self.epochs)} epochs of training {self.quantized.share:.1%}, "
                f"on {self.fp32.total} test images"
            )
        if not self.settings.is_deployable:
            parts.append(
                "this form is for study: ONNX Runtime and TensorRT have no faster kernels for less "
                "than 8 bits, and their int8 weights have a scale for each channel"
            )
        if self.unmatched:
            parts.append(
                "places inside modules of PyTorch that only the deployed network rounds: "
                f"{len(self.unmatched)}, the first is {self.unmatched[0]}"
            )
        if self.in_fp32:
            parts.append(f"layers that stay in fp32: {len(self.in_fp32)}")
        return "; ".join(parts)

    def to_json(self) -> dict[str, Any]:
        """Return the object for ``--json``."""
        settings = self.settings
        return {
            "model": self.model.name,
            "weight_bits": settings.weight_bits,
            "activation_bits": settings.activation_bits,
            "per_channel": settings.per_channel,
            "target": settings.target,
            "is_deployable": settings.is_deployable,
            "test_images": self.fp32.total,
            "fp32_accuracy": self.fp32.share,
            "post_training_accuracy": self.post_training.share,
            "quantized_accuracy": self.quantized.share,
            "recovered": self.recovered,
            "epochs": [{"epoch": each.epoch, "loss": each.loss} for each in self.epochs],
            "unmatched": list(self.unmatched),
            "in_fp32": list(self.in_fp32),
        }


def train_quantized(
    model: TorchModel,
    split: DatasetSplit,
    settings: QuantizedTraining = QuantizedTraining(),
    progress: Progress = lambda phase, fraction: None,
    cancelled: Cancelled = lambda: False,
    *,
    loss: LossFunction | None = None,
) -> QuantizedTrainingReport:
    """Round a trained model and train it on, on the training part.

    ``loss`` is the cross-entropy by default; the module that it gets rounds. Raises ModelError for
    a module that cannot be traced or exported or in which no layer can compute in int8, and what
    ``train`` raises.
    """
    prepared = _Prepared(model, split, settings, progress, cancelled)
    training = settings.training
    moving_steps = int(_MOVING_SHARE * training.epochs * -(-len(split.train) // training.batch))
    steps = 0

    def after_step(module: nn.Module) -> None:
        nonlocal steps
        steps += 1
        if steps == moving_steps:
            set_frozen(module, True)

    def report_training(phase: str, fraction: float | None) -> None:
        whole = None if fraction is None else _PREPARED + (_TRAINED - _PREPARED) * fraction
        progress(phase, whole)

    set_frozen(prepared.fake_quantized.module, settings.observer == "fixed" or not moving_steps)
    trained = train(
        prepared.fake_quantized,
        split.train,
        training,
        report_training,
        cancelled,
        loss=loss,
        after_step=after_step,
    )
    progress("measuring the accuracy", _TRAINED)
    return prepared.report(trained.model, trained.epochs)


def quantize_post_training(
    model: TorchModel,
    split: DatasetSplit,
    settings: QuantizedTraining = QuantizedTraining(),
    progress: Progress = lambda phase, fraction: None,
    cancelled: Cancelled = lambda: False,
) -> QuantizedTrainingReport:
    """Round a trained model with the same settings, without training; for comparison.

    The ranges come from the training part. Raises what ``train_quantized`` raises.
    """
    prepared = _Prepared(model, split, settings, progress, cancelled)
    return prepared.report(prepared.fake_quantized, ())


class _Prepared:
    """A model that rounds with calibrated ranges, before a training."""

    fake_quantized: TorchModel

    def __init__(
        self,
        model: TorchModel,
        split: DatasetSplit,
        settings: QuantizedTraining,
        progress: Progress,
        cancelled: Cancelled,
    ) -> None:
        progress("merging batch normalizations", 0.0)
        self._settings = settings
        self._split = split
        self._stop: Callable[[], None] = lambda: _stop_if(cancelled, model)
        folded = self._folded = fold_batch_norm(model)
        progress("calibrating", _PREPARED / 3)
        self._places = self._find_places(folded, cancelled)
        module = insert_fake_quantization(
            folded.module,
            self._places.tensors,
            self._places.layers,
            weight_bits=settings.weight_bits,
            activation_bits=settings.activation_bits,
            per_channel=settings.per_channel,
            signed=QDQ_STYLES[settings.target].signed_activations,
        )
        round_ranges(module, RANGE_DIGITS)
        self.fake_quantized = model.with_module(module)
        progress("measuring the accuracy", _PREPARED * 2 / 3)
        self._fp32 = evaluate(model, split.test)
        self._stop()
        self._post_training = evaluate(self.fake_quantized, split.test)
        self._stop()

    def _find_places(self, folded: TorchModel, cancelled: Cancelled) -> QuantizedPlaces:
        settings = self._settings
        with tempfile.TemporaryDirectory(prefix="edge_inference_") as folder:
            file = Path(folder, "folded.onnx")
            export_onnx(folded, file)
            train_part = self._split.train
            chosen = pick_evenly(len(train_part), settings.calibration_images)
            calibration = calibrate(
                file,
                folded.input.name,
                (images for images, _ in train_part.batches(_CALIBRATION_BATCH, chosen)),
                settings.method,
                cancelled=cancelled,
                images=train_part.name,
            )
            places = find_places(
                folded,
                file,
                calibration,
                matching_images(train_part),
                settings.target,
                per_channel=settings.per_channel,
            )
        if not places.layers:
            raise ModelError(
                f"model {folded.name}: no layer whose weights int8 rounds is a Conv or Linear of "
                "its own, so there is nothing to train; weights inside attention and recurrent "
                "modules of PyTorch are not trained"
            )
        return places

    def report(
        self, trained: TorchModel, epochs: tuple[EpochReport, ...]
    ) -> QuantizedTrainingReport:
        settings = self._settings
        ranges = round_ranges(trained.module, RANGE_DIGITS)
        return QuantizedTrainingReport(
            settings=settings,
            model=self._folded.with_module(bake(trained.module, self._folded.module)),
            fake_quantized=trained,
            activation_ranges=ranges,
            fp32=self._fp32,
            post_training=self._post_training,
            quantized=evaluate(trained, self._split.test) if epochs else self._post_training,
            epochs=epochs,
            unmatched=self._places.unmatched,
            in_fp32=self._places.in_fp32,
        )


def matching_images(dataset: LabeledDataset) -> NDArray[np.float32]:
    """Return the images by which tensors of a module and of its export are recognized."""
    images, _ = dataset.load(pick_evenly(len(dataset), _MATCHED_IMAGES))
    return images


def _stop_if(cancelled: Cancelled, model: TorchModel) -> None:
    if cancelled():
        raise CancelledError(f"model {model.name}: the quantization was cancelled")
