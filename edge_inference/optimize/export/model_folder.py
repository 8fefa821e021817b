"""Makes a model folder from a PyTorch model, complete for the robot.

Beside the weights it has what was measured: the accuracy, the ranges for int8, and golden images
with the results that each engine must give.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_inference.backends.base import Backend
from edge_inference.backends.ort import OrtBackend
from edge_inference.core.disk import describe_write_error
from edge_inference.core.exports.proposal import Proposal
from edge_inference.core.images.encodings import to_bgr
from edge_inference.core.images.frame import Frame
from edge_inference.core.images.input_spec import MULTI, InputSpec
from edge_inference.core.images.media import IMAGE_SUFFIXES
from edge_inference.core.images.preprocess import Preprocessor
from edge_inference.core.models.golden_check import read_image, run_golden_check
from edge_inference.core.models.model import ModelDescription, load_model
from edge_inference.core.models.variants import Accuracy
from edge_inference.core.results import Classification
from edge_inference.engines.cache.artifacts import Cancelled, Progress
from edge_inference.errors import CancelledError, ConfigError, ImageError, ModelError
from edge_inference.optimize.calibrate import DEFAULT_METHOD, calibrate
from edge_inference.optimize.export.model_yaml import (
    UNKNOWN_LICENSE,
    GoldenEntry,
    NewDescription,
)
from edge_inference.optimize.export.onnx_export import DEFAULT_OPSET, OUTPUT_NAME, export_onnx
from edge_inference.optimize.export.staged_model import StagedModel
from edge_inference.optimize.images.calibration_images import pick_evenly
from edge_inference.optimize.quantized_folder import CALIBRATION_FILE
from edge_inference.optimize.training.dataset_sources import check_labels, pick_per_class
from edge_inference.optimize.training.labeled_dataset import LabeledDataset
from edge_inference.optimize.training.torch_model import TorchModel, import_torch
from edge_inference.optimize.training.train import evaluate_engine

#: Images for the ranges of int8, unless there are more classes.
CALIBRATION_IMAGES = 128
GOLDEN_IMAGES = 2
GOLDEN_FOLDER = "golden"
_HEADER = "# Written by `edge-inference optimize`. docs/models.md explains all keys.\n"
_COMPARED_IMAGES = 16
_GOLDEN_CANDIDATES = 64
#: Below this lead of the first class over the second, int8 may change the order.
_MIN_LEAD = 0.2
_MAX_GOLDEN_BYTES = 1 << 20
_MAX_GOLDEN_SIDE = 512
#: Keys of ``input`` that are always written; the others where they differ from the default.
_INPUT_KEYS = ("name", "layout", "color", "width", "height", "mean", "std", "resize")
_ENCODINGS = {"GRAY": "mono8", "RGB": "rgb8", "BGR": "bgr8", "RGBA": "rgba8", "BGRA": "bgra8"}
# Progress, as a fraction of the whole.
_EXPORTED, _CALIBRATED = 0.2, 0.6


def export_folder(
    model: TorchModel,
    destination: Path,
    *,
    opset: int = DEFAULT_OPSET,
    dynamic_batch: bool = True,
    calibration: LabeledDataset | None = None,
    evaluation: LabeledDataset | None = None,
    license: str = UNKNOWN_LICENSE,
    description: str = "",
    method: str = DEFAULT_METHOD,
    progress: Progress = lambda phase, fraction: None,
    cancelled: Cancelled = lambda: False,
    before_staging: Callable[[Path], None] = lambda folder: None,
) -> ModelDescription:
    """Export a classifier as a new model folder, and return its description.

    ``calibration`` are images of the training: the ranges of 128 of them, evenly over the classes
    and estimated by ``method``, are written, so that int8 can be derived. On ``evaluation``, which
    nothing was trained or chosen on, the accuracy of the deployed fp32 network is measured. Two of
    its images (else of ``calibration``) that the model is sure of become golden images: the
    source file, or the pixels as PNG. There are none where it is sure of none.
    ``before_staging`` gets the hidden folder before it exists, so that a supervisor can remove it.

    Raises ConfigError for a destination that exists and for datasets with another format of
    images, SourceError for other classes, what ``export_onnx`` and ``calibrate`` raise, ModelError
    for a folder that cannot be written or does not run, and CancelledError soon after
    ``cancelled`` returns True. After any error nothing is left.
    """
    if destination.exists() or destination.is_symlink():
        raise ConfigError(f"output {destination}: it exists already; name a new folder")
    for dataset in (calibration, evaluation):
        if dataset is not None:
            _check_fits(model, dataset)
    staged = StagedModel(destination, before_staging=before_staging)
    plan = _Plan(model, staged, opset, dynamic_batch, license, description, progress, cancelled)
    try:
        staged.make()
        written = plan.write_network(evaluation if calibration is None else calibration)
        if calibration is not None:
            written = plan.add_calibration(written, calibration, method)
        written = plan.add_results(written, evaluation, calibration)
        plan.check()
        _stop_if(cancelled, model)
        staged.keep()
    except OSError as error:
        raise ModelError(
            f"{destination}: cannot be written ({describe_write_error(error)})"
        ) from error
    finally:
        staged.remove()
    progress("done", 1.0)
    return load_model(destination)


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
        export_onnx(
            model,
            self._file,
            opset=self.opset,
            dynamic_batch=self.dynamic_batch,
            images=images,
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

    def add_calibration(
        self, written: NewDescription, images: LabeledDataset, method: str
    ) -> NewDescription:
        """Measure and write the ranges for int8."""
        _stop_if(self.cancelled, self.model)
        classes = len(np.unique(images.class_ids))
        chosen = pick_per_class(images.class_ids, max(CALIBRATION_IMAGES, classes))
        share = (_CALIBRATED - _EXPORTED) / len(chosen)
        calibrate(
            self._file,
            self.model.input.name,
            (batch for batch, _ in images.batches(1, chosen)),
            method,
            lambda count: self.progress("measuring ranges for int8", _EXPORTED + share * count),
            cancelled=self.cancelled,
            images=f"{len(chosen)} images of {images.name}",
            input_settings=dataclasses.asdict(self.model.input),
            model=load_model(self.staged.folder),
        ).save(self.staged.folder / CALIBRATION_FILE)
        written = dataclasses.replace(written, calibration=CALIBRATION_FILE)
        self.staged.write_description(written)
        return written

    def add_results(
        self,
        written: NewDescription,
        evaluation: LabeledDataset | None,
        calibration: LabeledDataset | None,
    ) -> NewDescription:
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
            source = evaluation or calibration
            if source is not None:
                writer = _GoldenWriter(described, backend, self.staged.folder)
                written = dataclasses.replace(written, golden=tuple(writer.write(source)))
        self.staged.write_description(written)
        return written

    def check(self) -> None:
        """Load and run the folder as a robot does. Raises ModelError where that fails."""
        described = load_model(self.staged.folder)
        with OrtBackend(described.variants["fp32"].file).fit_to(described) as backend:
            report = run_golden_check(described, backend.infer)
        if not report.passed:
            raise ModelError(
                f"model {self.model.name}: the exported folder does not run: {report.summary()}"
            )


class _GoldenWriter:
    """Chooses golden images of a dataset, and writes them with the results of an engine."""

    def __init__(self, model: ModelDescription, backend: Backend, folder: Path) -> None:
        self._model = model
        self._backend = backend
        self._folder = folder
        self._preprocess = Preprocessor(model.input)

    def write(self, dataset: LabeledDataset) -> Iterator[GoldenEntry]:
        """Yield the entries of ``golden``, best first, after writing their images."""
        for index in self._choose(dataset):
            frame = _source_frame(dataset, index)
            assert frame is not None
            file = self._write_image(frame, index)
            if file is None:
                continue
            # As the check reads it: a copy may be smaller, or have lost its alpha.
            result = self._classify(read_image(file))
            if result is not None and _lead(result) >= _MIN_LEAD:
                score = round(float(result.scores[0]), 2)
                entry = {"label": result.label(0), "score": score}
                yield GoldenEntry(f"{GOLDEN_FOLDER}/{file.name}", "classes", (entry,))
            else:
                file.unlink()

    def _choose(self, dataset: LabeledDataset) -> list[int]:
        """Return the images of different classes that are recognized with the largest lead."""
        found: dict[int, tuple[float, int]] = {}
        for index in pick_evenly(len(dataset), _GOLDEN_CANDIDATES):
            frame = _source_frame(dataset, index)
            result = None if frame is None else self._classify(frame)
            if result is None or int(result.class_ids[0]) != int(dataset.class_ids[index]):
                continue
            class_id, lead = int(result.class_ids[0]), _lead(result)
            if lead >= _MIN_LEAD and lead > found.get(class_id, (0.0, 0))[0]:
                found[class_id] = lead, index
        best = sorted(found.values(), key=lambda pair: (-pair[0], pair[1]))
        return [index for _, index in best[:GOLDEN_IMAGES]]

    def _classify(self, frame: Frame) -> Classification | None:
        try:
            tensor, geometry = self._preprocess(frame)
        except ImageError:  # its colors or numbers are not those of the model
            return None
        outputs = self._backend.infer({self._model.input.name: tensor})
        result = self._model.decode(outputs, geometry)
        assert isinstance(result, Classification)
        return result if len(result) > 1 else None

    def _write_image(self, frame: Frame, index: int) -> Path | None:
        """Copy a small file, else write the pixels as PNG; None for numbers that are no pixels."""
        folder = self._folder / GOLDEN_FOLDER
        folder.mkdir(exist_ok=True)
        origin = Path(frame.origin)
        if origin.suffix.lower() in IMAGE_SUFFIXES and origin.stat().st_size <= _MAX_GOLDEN_BYTES:
            copy = folder / f"{index}{origin.suffix.lower()}"
            copy.write_bytes(origin.read_bytes())
            return copy
        try:
            pixels = to_bgr(frame)
        except ImageError:
            return None
        scale = _MAX_GOLDEN_SIDE / max(pixels.shape[:2])
        if scale < 1:
            pixels = np.asarray(
                cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8
            )
        file = folder / f"{index}.png"
        file.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
        return file


def _lead(result: Classification) -> float:
    return float(result.scores[0] - result.scores[1])


def _source_frame(dataset: LabeledDataset, index: int) -> Frame | None:
    """Return the source of an image, else the pixels that its tensor stands for."""
    frame = dataset.frame(index)
    spec = dataset.input
    if frame is not None or spec.color == MULTI:
        return frame
    tensor, _ = dataset.load([index])
    values = tensor[0].transpose(1, 2, 0) * np.array(spec.std) + np.array(spec.mean)
    pixels: NDArray[np.uint8] = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return Frame.from_array(pixels, _ENCODINGS[spec.color])


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
