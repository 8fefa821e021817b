"""Makes a model folder from a PyTorch model, complete for the robot.

Beside the weights it has what was measured: the accuracy, the ranges for int8, and golden images
with the results that each engine must give.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_inference.backends.ort import OrtBackend
from edge_inference.core.disk import describe_write_error
from edge_inference.core.exports.proposal import Proposal
from edge_inference.core.images.input_spec import InputSpec
from edge_inference.core.models.golden_check import run_golden_check
from edge_inference.core.models.model import ModelDescription, load_model
from edge_inference.core.models.variants import Accuracy
from edge_inference.engines.cache.artifacts import Cancelled, Progress
from edge_inference.engines.precision.calibration import Calibration
from edge_inference.engines.precision.exclude import WEIGHTED
from edge_inference.engines.precision.folding import fold
from edge_inference.engines.precision.int8_mode import FULL_BITS
from edge_inference.errors import CancelledError, ConfigError, EdgeInferenceError, ModelError
from edge_inference.optimize.calibrate import DEFAULT_METHOD, calibrate
from edge_inference.optimize.export.golden_images import GoldenWriter
from edge_inference.optimize.export.model_yaml import UNKNOWN_LICENSE, NewDescription
from edge_inference.optimize.export.onnx_export import DEFAULT_OPSET, OUTPUT_NAME, export_onnx
from edge_inference.optimize.export.staged_model import StagedModel
from edge_inference.optimize.images.calibration_images import pick_evenly
from edge_inference.optimize.quantized_folder import CALIBRATION_FILE
from edge_inference.optimize.training.dataset_sources import check_labels, pick_per_class
from edge_inference.optimize.training.evaluate import evaluate_engine
from edge_inference.optimize.training.labeled_dataset import LabeledDataset
from edge_inference.optimize.training.torch_model import TorchModel, import_torch

#: Images for the ranges of int8, unless there are more classes.
CALIBRATION_IMAGES = 128
#: Returns the ranges of the network that was written as the fp32 variant of a folder.
FindRanges = Callable[[ModelDescription], Calibration]
_HEADER = "# Written by `edge-inference optimize`. docs/models.md explains all keys.\n"
_COMPARED_IMAGES = 16
#: Keys of ``input`` that are always written; the others where they differ from the default.
_INPUT_KEYS = ("name", "layout", "color", "width", "height", "mean", "std", "resize")
# Progress, as a fraction of the whole.
_EXPORTED, _CALIBRATED = 0.2, 0.6


def export_folder(
    model: TorchModel,
    destination: Path,
    *,
    opset: int = DEFAULT_OPSET,
    dynamic_batch: bool = True,
    calibration: LabeledDataset | FindRanges | None = None,
    evaluation: LabeledDataset | None = None,
    golden: LabeledDataset | None = None,
    license: str = UNKNOWN_LICENSE,
    description: str = "",
    method: str = DEFAULT_METHOD,
    weight_bits: int = FULL_BITS,
    progress: Progress = lambda phase, fraction: None,
    cancelled: Cancelled = lambda: False,
    before_staging: Callable[[Path], None] = lambda folder: None,
) -> ModelDescription:
    """Export a classifier as a new model folder, and return its description.

    ``calibration`` are images of the training: the ranges of 128 of them, evenly over the classes
    and estimated by ``method``, are written, so that int8 can be derived. It may also be a
    function that returns the ranges of the exported network. With 7 ``weight_bits`` all int8
    weights have 7 bits in every engine. On ``evaluation``, which nothing was
    trained or chosen on, the accuracy of the deployed fp32 network is measured. Two images of
    ``golden`` (else of ``evaluation``, else of ``calibration``) that the model is sure of become
    golden images: the source file, or the pixels as PNG. There are none where it is sure of none.
    ``before_staging`` gets the hidden folder before it exists, so that a supervisor can remove it.

    Raises ConfigError for a destination that exists and for datasets with another format of
    images, SourceError for other classes, what ``export_onnx`` and ``calibrate`` raise, ModelError
    for a folder that cannot be written or does not run, and CancelledError soon after
    ``cancelled`` returns True. After any error nothing is left.
    """
    if destination.exists() or destination.is_symlink():
        raise ConfigError(f"output {destination}: it exists already; name a new folder")
    images = None if callable(calibration) else calibration
    golden = golden or evaluation or images
    for dataset in (images, evaluation, golden):
        if dataset is not None:
            _check_fits(model, dataset)
    staged = StagedModel(destination, before_staging=before_staging)
    plan = _Plan(model, staged, opset, dynamic_batch, license, description, progress, cancelled)
    try:
        staged.make()
        written = plan.write_network(golden)
        if calibration is not None:
            if not callable(calibration):
                calibration = ranges_on(calibration, method, plan.tell_calibrated, cancelled)
            written = plan.add_calibration(written, calibration, weight_bits)
        plan.add_results(written, evaluation, golden)
        plan.check()
        _stop_if(cancelled, model)
        staged.keep()
    except OSError as error:
        raise ModelError(
            f"{destination}: cannot be written ({describe_write_error(error)})"
        ) from error
    except EdgeInferenceError as error:
        text = str(error)
        if str(staged.folder) not in text:
            raise
        raise type(error)(text.replace(str(staged.folder), str(destination))) from error
    finally:
        staged.remove()
    progress("done", 1.0)
    return load_model(destination)


def ranges_on(
    images: LabeledDataset,
    method: str = DEFAULT_METHOD,
    progress: Progress = lambda phase, fraction: None,
    cancelled: Cancelled = lambda: False,
) -> FindRanges:
    """Return a function that measures the ranges of a network on some images of a dataset.

    They are 128, evenly over the classes. The function raises what ``calibrate`` raises.
    """
    classes = len(np.unique(images.class_ids))
    chosen = pick_per_class(images.class_ids, max(CALIBRATION_IMAGES, classes))

    def find_ranges(written: ModelDescription) -> Calibration:
        return calibrate(
            written.variants["fp32"].file,
            written.input.name,
            (batch for batch, _ in images.batches(1, chosen)),
            method,
            lambda count: progress("measuring ranges", count / len(chosen)),
            cancelled=cancelled,
            images=f"{len(chosen)} images of {images.name}",
            input_settings=dataclasses.asdict(written.input),
            model=written,
        )

    return find_ranges


@dataclass(frozen=True)
class _Plan:
    """The steps of one export; each writes model.yaml anew, so that the next can open it."""

    model: TorchModel
    staged: StagedModel
    opset: int
    dynamic_batch: bool
    license: str
    description: str
    progress: Progress
    cancelled: Cancelled

    @property
    def _file(self) -> Path:
        return self.staged.folder / f"{self.staged.folder.name}.onnx"

    def write_network(self, compared: LabeledDataset | None) -> NewDescription:
        """Write weights, labels and description."""
        self.progress("exporting to ONNX", 0.0)
        images = None
        if compared is not None and len(compared):
            images, _ = compared.load(pick_evenly(len(compared), _COMPARED_IMAGES))
        model = self.model
        exported = export_onnx(
            model,
            self._file,
            opset=self.opset,
            dynamic_batch=self.dynamic_batch,
            images=images,
        )
        if model.labels and len(model.labels) != exported.classes:
            raise ModelError(
                f"model {model.name}: it has logits for {exported.classes} classes and "
                f"{len(model.labels)} labels; give data of as many classes as the network has"
            )
        weights, _ = self.staged.checksum_weights([self._file.name])
        settings = {"activation": "softmax", "scores_output": OUTPUT_NAME}
        written = NewDescription(
            proposal=Proposal("PyTorch", "classification", "classification", settings),
            input=_describe_input(model.input),
            description=self.description or f"{model.name}, {len(model.labels)} classes",
            license=self.license,
            source=f"PyTorch {import_torch().__version__}, exported to ONNX opset {self.opset}",
            labels=self.staged.write_labels(model.labels),
            extra_inputs={},
            precision="fp32",
            weights=weights,
            external={},
            header=_HEADER,
        )
        self.staged.write_description(written)
        self.progress("exporting to ONNX", _EXPORTED)
        return written

    def tell_calibrated(self, phase: str, fraction: float | None) -> None:
        """Report how far the calibration is."""
        share = (_CALIBRATED - _EXPORTED) * (fraction or 0.0)
        self.progress(phase, _EXPORTED + share)

    def add_calibration(
        self, written: NewDescription, find_ranges: FindRanges, weight_bits: int
    ) -> NewDescription:
        """Write the ranges for int8, and which weights have 7 bits."""
        _stop_if(self.cancelled, self.model)
        ranges = find_ranges(load_model(self.staged.folder))
        ranges.save(self.staged.folder / CALIBRATION_FILE)
        used = {node.op_type for node in fold(self._file).graph.node}
        reduced = [each for each in WEIGHTED if each in used] if weight_bits < FULL_BITS else []
        written = dataclasses.replace(
            written, calibration=CALIBRATION_FILE, reduce_range=tuple(reduced)
        )
        self.staged.write_description(written)
        return written

    def add_results(
        self,
        written: NewDescription,
        evaluation: LabeledDataset | None,
        golden: LabeledDataset | None,
    ) -> None:
        """Measure the accuracy, and write it with golden images."""
        described = load_model(self.staged.folder)
        with OrtBackend(self._file).fit_to(described) as backend:
            if evaluation is not None:
                measured = evaluate_engine(
                    backend.infer,
                    self.model.input.name,
                    evaluation,
                    lambda phase, fraction: self.progress(
                        phase, _CALIBRATED + (1 - _CALIBRATED) * (fraction or 0.0)
                    ),
                    self.cancelled,
                )
                share = round(measured.share, 4)
                accuracy = Accuracy(
                    evaluation.name, "top-1", share, measured.total, "ONNX Runtime CPU"
                )
                written = dataclasses.replace(written, accuracy=(accuracy,))
            if golden is not None:
                writer = GoldenWriter(described, backend, self.staged.folder)
                written = dataclasses.replace(written, golden=tuple(writer.write(golden)))
        self.staged.write_description(written)

    def check(self) -> None:
        """Load and run the folder as a robot does. Raises ModelError where that fails."""
        described = load_model(self.staged.folder)
        with OrtBackend(described.variants["fp32"].file).fit_to(described) as backend:
            report = run_golden_check(described, backend.infer)
        if not report.passed:
            raise ModelError(
                f"model {self.model.name}: the exported folder does not run: {report.summary()}"
            )


def _describe_input(spec: InputSpec) -> Mapping[str, Any]:
    """Return the section ``input``."""
    values = {}
    for each in dataclasses.fields(spec):
        value = getattr(spec, each.name)
        if each.name in _INPUT_KEYS or value != each.default:
            values[each.name] = list(value) if isinstance(value, tuple) else value
    return values


def _check_fits(model: TorchModel, dataset: LabeledDataset) -> None:
    check_labels(dataset, model.labels)
    if dataclasses.replace(dataset.input, name=model.input.name) != model.input:
        different = [
            f"{each.name} {getattr(dataset.input, each.name)} instead of "
            f"{getattr(model.input, each.name)}"
            for each in dataclasses.fields(InputSpec)
            if each.name != "name"
            and getattr(dataset.input, each.name) != getattr(model.input, each.name)
        ]
        raise ConfigError(
            f"dataset {dataset.name}: its images have another format than model {model.name} "
            f"takes: {', '.join(different)}; open it with the model's input"
        )


def _stop_if(cancelled: Cancelled, model: TorchModel) -> None:
    if cancelled():
        raise CancelledError(f"model {model.name}: the export was cancelled")
