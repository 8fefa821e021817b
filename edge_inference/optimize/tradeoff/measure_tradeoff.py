"""Measures the trade-off of models: accuracy, latency, size and energy of every operating point.

Builds on the comparison of engines: the engines of all models, input sizes and batches are open
at once and timed in the same rounds, and the costs go to the cache, where nodes read them.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_inference.backends.ort import OrtBackend
from edge_inference.core.images.frame import Frame
from edge_inference.core.images.media import IMAGE_SUFFIXES
from edge_inference.core.measured_costs import MINIMUM_RUNS
from edge_inference.core.models.graph.tensor_spec import TensorSpec
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.variants import PRECISIONS
from edge_inference.core.onnx_format.onnx_memory import check_memory
from edge_inference.core.settings import change
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.cache.artifacts import Cancelled, Progress
from edge_inference.engines.cache.environment import machine_facts, machine_identity
from edge_inference.engines.precision.int8_mode import INT8_MODES
from edge_inference.engines.precision.onnx_file import import_onnx, read_onnx
from edge_inference.errors import (
    BackendError,
    ConfigError,
    EdgeInferenceError,
    ModelError,
    SourceError,
)
from edge_inference.optimize.compare import (
    DEFAULT_RUNS,
    CompareRequest,
    comparable_backends,
    compare_models,
)
from edge_inference.optimize.comparison import CompareRow, MeasuredAccuracy
from edge_inference.optimize.engine_timing import EnergyMeter
from edge_inference.optimize.images.image_set import ImageSet
from edge_inference.optimize.tradeoff.tradeoff_point import (
    AGREEMENT,
    TOP1,
    Tradeoff,
    TradeoffPoint,
)
from edge_inference.optimize.training.dataset_sources import check_labels
from edge_inference.optimize.training.labeled_dataset import LabeledDataset

Size = tuple[int, int]


@dataclass(frozen=True)
class TradeoffRequest:
    """What to measure.

    ``images`` has the images of each of ``models``: all with labels, for top-1 accuracy, or all
    without, for agreement with fp32. ``sizes`` are input sizes in pixels (width, height) to measure
    besides the model's own, which needs a graph with a dynamic height and width; ``batches`` are
    numbers of images of one inference besides 1. Models of several sparsities are several models.
    The rest is that of CompareRequest. Raises ConfigError for what cannot be measured.
    """

    models: Sequence[ModelDescription]
    images: Sequence[ImageSet]
    backends: Sequence[str] = dataclasses.field(default_factory=comparable_backends)
    precisions: Sequence[str] = PRECISIONS
    int8_modes: Sequence[str] = INT8_MODES
    sizes: Sequence[Size] = ()
    batches: Sequence[int] = (1,)
    runs: int = DEFAULT_RUNS
    threads: int = 1
    gpu: int = 0

    def __post_init__(self) -> None:
        names = [model.name for model in self.models]
        if not names:
            raise ConfigError("models: expected at least one, got none")
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ConfigError(
                f"models: two are named {twice}; points are told apart by that name: rename a "
                "folder, or name the model once"
            )
        if len(self.images) != len(names):
            raise ConfigError(f"images: expected a set for each of {len(names)} models")
        for name, images in zip(names, self.images, strict=True):
            if not len(images):
                raise ConfigError(f"images: there is none for model {name}; give at least one")
        labeled = {images.class_ids is not None for images in self.images}
        if len(labeled) > 1:
            raise ConfigError(
                "images: some have labels and others have none, so that accuracy could not be "
                "compared; give labels for all models or for none"
            )
        if self.runs < MINIMUM_RUNS:
            raise ConfigError(f"runs: expected at least {MINIMUM_RUNS}, got {self.runs}")

    @property
    def accuracy_kind(self) -> str:
        """Return what the accuracy of the points is."""
        return AGREEMENT if self.images[0].class_ids is None else TOP1


def tradeoff_machine() -> dict[str, str]:
    """Return everything that changes an inference's time on this machine, with the GPU."""
    gpu = machine_facts().get("gpu")
    return machine_identity() | ({} if gpu is None else {"gpu": gpu})


def dataset_images(dataset: LabeledDataset, model: ModelDescription) -> ImageSet:
    """Return the images of a dataset, for a model that was trained on it.

    Image files stay on the disk. Raises SourceError for other labels than the model's, and for a
    dataset of tensors without images.
    """
    check_labels(dataset, model.labels)
    images: list[Frame | Path] = []
    for index in range(len(dataset)):
        frame = dataset.frame(index)
        if frame is None:
            raise SourceError(
                f"dataset {dataset.name}: it has tensors and no images, and a model folder does "
                "its own preprocessing; give a folder of images or a built-in dataset"
            )
        file = Path(frame.origin)
        images.append(file if file.suffix.lower() in IMAGE_SUFFIXES else frame)
    class_ids = dataset.class_ids.tolist()
    return ImageSet(images, f"{len(images)} images of {dataset.name}", class_ids)


def measure_tradeoff(
    request: TradeoffRequest,
    cache: ArtifactCache | None = None,
    progress: Progress = lambda phase, fraction: None,
    cancelled: Cancelled = lambda: False,
    energy_meter: EnergyMeter | None = None,
) -> Tradeoff:
    """Measure every point, and store the costs in the cache.

    What cannot run here, in this input size or in this batch is a point with the problem. Energy
    is measured with ``energy_meter`` only, and is None where that gives none. Raises BackendError
    or ModelError for a model that cannot run in ONNX Runtime in fp32, and CancelledError.
    """
    points: list[TradeoffPoint] = []
    compared: list[CompareRequest] = []
    for model, images in zip(request.models, request.images, strict=True):
        for size in dict.fromkeys([_size_of(model), *request.sizes]):
            resized = _resize(model, size)
            is_own = size == _size_of(model)
            problem = "" if is_own else _find_size_problem(resized)
            if problem:
                points.append(TradeoffPoint(model.name, "ort", "fp32", *size, problem=problem))
            else:
                compared.append(_compare_request(request, resized, images, is_own))
    comparisons = compare_models(compared, cache, progress, cancelled, energy_meter)
    problems: list[str] = []
    measured: list[TradeoffPoint] = []
    sparsity = {model.name: _weight_sparsity(model) for model in request.models}
    for comparison in comparisons:
        problems += comparison.problems
        for row in comparison.rows:
            point = _point(comparison.model, row, request.accuracy_kind)
            measured.append(dataclasses.replace(point, sparsity=sparsity[point.model]))
    if request.accuracy_kind == AGREEMENT and len(request.models) > 1:
        problems.append(
            "agreement compares each model with itself, and does not say which of two models is "
            "the better one; give labeled images for that"
        )
    if all(point.energy_j is None for point in measured):
        problems.append("energy was not measured: this machine shows no power sensor")
    return Tradeoff(
        points=(*measured, *points),
        accuracy_kind=request.accuracy_kind,
        images={
            model.name: images.description
            for model, images in zip(request.models, request.images, strict=True)
        },
        runs=request.runs,
        threads=request.threads,
        machine=tradeoff_machine(),
        taken_s=time.time(),
        problems=tuple(dict.fromkeys(problems)),
    )


def _compare_request(
    request: TradeoffRequest, model: ModelDescription, images: ImageSet, records_costs: bool
) -> CompareRequest:
    return CompareRequest(
        model,
        images,
        request.backends,
        request.precisions,
        request.runs,
        request.threads,
        request.gpu,
        request.int8_modes,
        request.batches,
        records_costs,
    )


def _size_of(model: ModelDescription) -> Size:
    return model.input.width, model.input.height


def _resize(model: ModelDescription, size: Size) -> ModelDescription:
    width, height = size
    return dataclasses.replace(model, input=change(model.input, {"width": width, "height": height}))


def _find_size_problem(model: ModelDescription) -> str:
    """Return why a model cannot run in the input size of this description; empty if it can."""
    variant = model.variants.get("fp32")
    if variant is None:  # the comparison reports it
        return ""
    width, height = _size_of(model)
    problem = f"the graph cannot run in {width}x{height}"
    hint = "export it with a dynamic height and width, or export a model for each size"
    blank = np.zeros((1, *model.input.shape[1:]), np.dtype(model.input.dtype))
    try:
        check_memory(variant.file)
        with OrtBackend(variant.file) as backend:
            inputs = {spec.name: spec for spec in backend.inputs}
        own = inputs.get(model.input.name)
        if own is not None and not _takes(own, model.input.graph_shape):
            return f"{problem}: its input is {own.axes}; {hint}"
        with OrtBackend(variant.file).fit_to(model) as backend:
            backend.infer({model.input.name: blank})
    except EdgeInferenceError as error:
        return f"{problem}: {error}; {hint}"
    return ""


def _takes(spec: TensorSpec, shape: Sequence[int]) -> bool:
    """Tell whether an input takes a size; the batch and the channels are checked later."""
    pairs = list(zip(spec.shape, shape, strict=False))
    return all(own in (None, wanted) for own, wanted in pairs[1:])


def _point(model: ModelDescription, row: CompareRow, kind: str) -> TradeoffPoint:
    problem = row.failure
    if not problem and not row.passed and row.check is not None:
        problem = "; ".join(row.check.reasons)
    return TradeoffPoint(
        model.name,
        row.backend,
        row.precision,
        *_size_of(model),
        int8_mode=row.int8_mode,
        batch=row.batch,
        accuracy=None if row.failure else _accuracy(row, kind),
        latency=row.duration,
        is_cpu_time=row.is_cpu_time,
        file_bytes=row.file_bytes,
        energy_j=None if row.energy_j is None else row.energy_j / row.batch,
        problem=problem,
    )


def _accuracy(row: CompareRow, kind: str) -> MeasuredAccuracy | None:
    if kind == TOP1:
        return row.accuracy
    if row.check is None or row.check.results is None or not row.check.results.compared:
        return None
    return MeasuredAccuracy(row.check.results.agreeing, row.check.results.compared)


def _weight_sparsity(model: ModelDescription) -> float | None:
    """Return the share of zeros among the weights in fp32; None where they cannot be read."""
    if "fp32" not in model.variants:
        return None
    try:
        network, _ = read_onnx(model.variants["fp32"].file)
    except (BackendError, ModelError):  # a file that only ONNX Runtime reads, or no package onnx
        return None
    onnx = import_onnx()
    zeros = total = 0
    for tensor in network.graph.initializer:
        is_float = tensor.data_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
        if is_float and len(tensor.dims) > 1:
            weights = onnx.numpy_helper.to_array(tensor)
            zeros += int(weights.size - np.count_nonzero(weights))
            total += weights.size
    return zeros / total if total else None
