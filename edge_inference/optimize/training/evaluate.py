"""The accuracy of a classifier, in PyTorch or in an engine, on labeled images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.models.golden_check import InferFunction
from edge_inference.engines.cache.artifacts import Cancelled, Progress
from edge_inference.errors import CancelledError, ModelError, SourceError
from edge_inference.optimize.comparison import MeasuredAccuracy
from edge_inference.optimize.training.labeled_dataset import LabeledDataset
from edge_inference.optimize.training.torch_model import TorchModel, import_torch


def evaluate(
    model: TorchModel,
    dataset: LabeledDataset,
    batch: int = 64,
    progress: Progress = lambda phase, fraction: None,
    cancelled: Cancelled = lambda: False,
) -> MeasuredAccuracy:
    """Return how many images a module in evaluation mode classifies correctly.

    Raises SourceError for an empty dataset, ModelError for outputs that are no logits of its
    classes, CancelledError soon after ``cancelled`` returns True.
    """
    if len(dataset):
        check_classes(model, dataset)

    def classify(images: NDArray[np.float32]) -> NDArray[np.int64]:
        found = _forward(model, dataset, images).argmax(1).numpy()
        return np.asarray(found, dtype=np.int64)

    return _count_correct(classify, dataset, batch, progress, cancelled)


def evaluate_engine(
    infer: InferFunction,
    input_name: str,
    dataset: LabeledDataset,
    progress: Progress = lambda phase, fraction: None,
    cancelled: Cancelled = lambda: False,
    *,
    output_name: str | None = None,
) -> MeasuredAccuracy:
    """Return how many images an engine classifies correctly, one image at a time.

    ``infer`` is that of an open backend. The scores are the output ``output_name``, or the only
    one. Raises SourceError for an empty dataset, ModelError for several outputs, TensorError for
    images that the engine does not take, CancelledError soon after ``cancelled`` returns True.
    """

    def classify(images: NDArray[np.float32]) -> NDArray[np.int64]:
        outputs = infer({input_name: images})
        if output_name is None and len(outputs) != 1:
            raise ModelError(f"expected one output, the scores, got {', '.join(outputs)}; name it")
        scores = outputs[output_name] if output_name is not None else next(iter(outputs.values()))
        return np.asarray(scores.reshape(len(images), -1).argmax(1), dtype=np.int64)

    return _count_correct(classify, dataset, 1, progress, cancelled)


def check_classes(model: TorchModel, dataset: LabeledDataset) -> None:
    """Raise ModelError for a model that does not give a logit for each class of a dataset."""
    images, _ = dataset.load([0])
    logits = _forward(model, dataset, images)
    wanted = len(dataset.labels) or int(dataset.class_ids.max()) + 1
    if getattr(logits, "ndim", None) != 2 or logits.shape[1] != wanted:
        shape = list(logits.shape) if hasattr(logits, "shape") else type(logits).__name__
        raise ModelError(
            f"model {model.name}: expected logits of the shape [1, {wanted}], one for "
            f"each class of dataset {dataset.name}, got {shape}"
        )


def describe_forward_error(error: Exception) -> str:
    """Return the first line of an error from a forward(), with its kind where that says more."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    kind = "" if isinstance(error, RuntimeError | ValueError) else f"{type(error).__name__}: "
    return f"{kind}{lines[0]}" if lines else type(error).__name__


def _forward(model: TorchModel, dataset: LabeledDataset, images: NDArray[np.float32]) -> Any:
    torch = import_torch()
    try:
        with torch.inference_mode():
            return model.module(torch.from_numpy(images))
    except Exception as error:  # the user's own forward(): any error may come out of it
        raise ModelError(
            f"model {model.name}: it does not take images of the shape {list(images.shape)} of "
            f"dataset {dataset.name}: {describe_forward_error(error):.500}"
        ) from error


def _count_correct(
    classify: Callable[[NDArray[np.float32]], NDArray[np.int64]],
    dataset: LabeledDataset,
    batch: int,
    progress: Progress,
    cancelled: Cancelled,
) -> MeasuredAccuracy:
    total = len(dataset)
    if not total:
        raise SourceError(f"dataset {dataset.name}: expected at least one image, got none")
    correct = done = 0
    for images, class_ids in dataset.batches(batch):
        if cancelled():
            raise CancelledError(f"dataset {dataset.name}: the evaluation was cancelled")
        correct += int((classify(images) == class_ids).sum())
        done += len(images)
        progress("measuring the accuracy", done / total)
    return MeasuredAccuracy(correct, total)
