"""Writes a model that was trained with rounding as a model folder, and checks what it computes.

The folder has the rounded weights in fp32 and the ranges of the training as its calibration. Each
engine derives its int8 network from them as from any other model: the weights are on the grid
already, so that the derivation finds the same numbers again.

An int8 file that another tool quantized needs none of this: named in ``variants.int8`` of a
``model.yaml``, engines take it as it is (docs/engines.md). That is how a file of nvidia-modelopt
is used, which pins versions of onnx and ONNX Runtime and so needs an environment of its own.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.backends.ort import OrtBackend
from edge_inference.core.models.model import ModelDescription
from edge_inference.engines.cache.artifacts import Cancelled, Progress
from edge_inference.engines.precision.calibration import Calibration
from edge_inference.engines.precision.derive import derive_model
from edge_inference.engines.precision.folding import fold
from edge_inference.engines.precision.ranges import Range
from edge_inference.errors import CancelledError, ConfigError, ModelError
from edge_inference.optimize.comparison import MeasuredAccuracy
from edge_inference.optimize.export.model_folder import export_folder, ranges_on
from edge_inference.optimize.export.onnx_export import DEFAULT_OPSET
from edge_inference.optimize.quantization.quantization_aware import (
    QuantizedTrainingReport,
    matching_images,
)
from edge_inference.optimize.quantization.quantized_places import match_tensors
from edge_inference.optimize.training.labeled_dataset import DatasetSplit, LabeledDataset
from edge_inference.optimize.training.torch_model import TorchModel, import_torch


@dataclass(frozen=True)
class DeployedCheck:
    """What PyTorch computes with fake quantization, and what the deployed int8 network computes.

    ``same`` counts the images that both give the same class.
    """

    torch: MeasuredAccuracy
    deployed: MeasuredAccuracy
    same: int

    @property
    def agreement(self) -> float:
        """Return the share of images with the same class."""
        return self.same / self.torch.total

    def summary(self) -> str:
        """Return the figures in one sentence."""
        return (
            f"top-1 of the deployed int8 network {self.deployed.share:.1%}, of PyTorch with fake "
            f"quantization {self.torch.share:.1%}, the same class for {self.agreement:.1%} of "
            f"{self.torch.total} images"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the object for ``--json``."""
        return {
            "deployed_accuracy": self.deployed.share,
            "torch_accuracy": self.torch.share,
            "agreement": self.agreement,
            "images": self.torch.total,
        }


def export_quantized(
    report: QuantizedTrainingReport,
    split: DatasetSplit,
    destination: Path,
    progress: Progress = lambda phase, fraction: None,
    cancelled: Cancelled = lambda: False,
    *,
    opset: int = DEFAULT_OPSET,
    before_staging: Callable[[Path], None] = lambda folder: None,
) -> ModelDescription:
    """Write the model folder of a trained model, and return its description.

    Its calibration has the ranges of the training; tensors that were not rounded in it get ranges
    measured on the training part. ``before_staging`` gets the hidden folder before it exists.
    Raises ConfigError for numbers that no engine has, ModelError where a range of the training has
    no tensor in the exported network, and what ``export_folder`` raises.
    """
    settings = report.settings
    if not settings.is_deployable:
        raise ConfigError(
            f"model {report.model.name}: {settings.describe()} cannot be deployed: engines have "
            "8-bit activations, and weights of 8 or 7 bits with a scale for each channel; less is "
            "for study"
        )
    measure = ranges_on(
        split.train, settings.method, lambda phase, fraction: progress(phase, None), cancelled
    )

    def find_ranges(written: ModelDescription) -> Calibration:
        calibration = measure(written)
        trained = _trained_ranges(report, written, matching_images(split.train))
        return dataclasses.replace(calibration, ranges={**calibration.ranges, **trained})

    return export_folder(
        report.model,
        destination,
        opset=opset,
        calibration=find_ranges,
        evaluation=split.test,
        weight_bits=settings.weight_bits,
        progress=progress,
        cancelled=cancelled,
        before_staging=before_staging,
    )


def _trained_ranges(
    report: QuantizedTrainingReport, model: ModelDescription, images: NDArray[np.float32]
) -> Mapping[str, Range]:
    """Return the ranges of the training by the tensors of the exported network."""
    folded = fold(model.variants["fp32"].file)
    trained = report.activation_ranges
    nodes_of = match_tensors(report.model, folded, images, preferred=trained)
    missing = set(trained) - set(nodes_of.values())
    if missing:
        raise ModelError(
            f"model {report.model.name}: {len(missing)} ranges of the training have no tensor in "
            f"the exported network, the first is that of {min(missing)}"
        )
    return {tensor: trained[node] for tensor, node in nodes_of.items() if node in trained}


def check_deployed(
    report: QuantizedTrainingReport,
    model: ModelDescription,
    dataset: LabeledDataset,
    progress: Progress = lambda phase, fraction: None,
    cancelled: Cancelled = lambda: False,
) -> DeployedCheck:
    """Derive int8 from an exported folder, and compare it with PyTorch on labeled images.

    The form is that of the training's target; that of TensorRT runs in ONNX Runtime here, which
    shows its results. Raises what ``derive_model`` raises.
    """
    if model.calibration is None:
        raise ModelError(f"model {model.name}: expected a calibration, got none")
    with tempfile.TemporaryDirectory(prefix="edge_inference_") as folder:
        file = Path(folder, "int8.onnx")
        derive_model(model, "int8", report.settings.target, file)
        with OrtBackend(file, precision="int8").fit_to(model) as backend:
            return _compare(report.fake_quantized, model, backend, dataset, progress, cancelled)


def _compare(
    fake_quantized: TorchModel,
    model: ModelDescription,
    backend: Any,
    dataset: LabeledDataset,
    progress: Progress,
    cancelled: Cancelled,
) -> DeployedCheck:
    torch = import_torch()
    correct = deployed_correct = same = done = 0
    with torch.inference_mode():
        for images, class_ids in dataset.batches(1):
            if cancelled():
                raise CancelledError(f"model {model.name}: the check was cancelled")
            expected = fake_quantized.module(torch.from_numpy(images)).numpy()
            (scores,) = backend.infer({model.input.name: images}).values()
            of_torch = expected.reshape(len(images), -1).argmax(1)
            of_engine = scores.reshape(len(images), -1).argmax(1)
            correct += int((of_torch == class_ids).sum())
            deployed_correct += int((of_engine == class_ids).sum())
            same += int((of_torch == of_engine).sum())
            done += len(images)
            progress("checking the deployed network", done / len(dataset))
    return DeployedCheck(
        MeasuredAccuracy(correct, done), MeasuredAccuracy(deployed_correct, done), same
    )
